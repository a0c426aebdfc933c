/* Topics: create, alter, delete, describe, list; and the object that describes one. */
#include <stdio.h>
#include <stdlib.h>

#include "client/admin.h"
#include "client/handle.h"
#include "client/opt.h"

enum { CONFIG_KEYS = 32, CONFIG_TEXT = 48, LIST_PAGE = 1000 };

struct config_text {
    char key[32];
    char value[CONFIG_TEXT];
};

struct weir_topic {
    char name[LIMIT_TOPIC_NAME + 1];
    uint64_t tid;
    int64_t created_ms;
    int32_t partitions;
    struct config_text config[CONFIG_KEYS];
    size_t n_config;
    weir_partition_info *parts; /* described: `partitions` of them; else NULL */
};

/* ---------------------------------------------------------------- the object */

/* Texts are read back from the wire form, which has every key. */
static bool config_texts(weir_topic *t, const struct topic_config *conf)
{
    struct buf b = {.p = NULL};
    struct mpread r;
    uint32_t n;

    topic_config_put(&b, conf, true);
    mpread_init(&r, b.p, b.len);
    n = b.failed ? 0 : mpread_map(&r);
    for (uint32_t i = 0; i < n && i < CONFIG_KEYS && r.err == WERR_OK; i++) {
        struct config_text *x = &t->config[t->n_config++];
        struct slice s = mpread_str(&r, sizeof x->key - 1);

        snprintf(x->key, sizeof x->key, "%.*s", (int)s.n, (const char *)s.p);
        if (mpread_peek(&r) == MP_STR) {
            s = mpread_str(&r, sizeof x->value - 1);
            snprintf(x->value, sizeof x->value, "%.*s", (int)s.n, (const char *)s.p);
        } else {
            snprintf(x->value, sizeof x->value, "%llu",
                     (unsigned long long)mpread_uint(&r, LIMIT_UINT));
        }
    }
    buf_fini(&b);
    return !b.failed && r.err == WERR_OK;
}

static weir_topic *topic_new(struct slice name, uint64_t tid, const struct topic_config *conf)
{
    weir_topic *t = calloc(1, sizeof *t);

    if (t) {
        snprintf(t->name, sizeof t->name, "%.*s",
                 (int)(name.n < LIMIT_TOPIC_NAME ? name.n : LIMIT_TOPIC_NAME),
                 (const char *)name.p);
        t->tid = tid;
        t->partitions = (int32_t)conf->partitions;
        if (!config_texts(t, conf)) {
            free(t);
            t = NULL;
        }
    }
    return t;
}

void weir_topic_free(weir_topic *t)
{
    if (t) {
        free(t->parts);
        free(t);
    }
}

const char *weir_topic_name(const weir_topic *t)
{
    return t ? t->name : "";
}

uint64_t weir_topic_id(const weir_topic *t)
{
    return t ? t->tid : 0;
}

int64_t weir_topic_created_ms(const weir_topic *t)
{
    return t ? t->created_ms : 0;
}

int32_t weir_topic_partitions(const weir_topic *t)
{
    return t ? t->partitions : 0;
}

int weir_topic_partition(const weir_topic *t, int32_t partition, weir_partition_info *out)
{
    if (!t || !t->parts || !out || partition < 0 || partition >= t->partitions) {
        return -1;
    }
    *out = t->parts[partition];
    return 0;
}

const char *weir_topic_config(const weir_topic *t, const char *key)
{
    for (size_t i = 0; t && key && i < t->n_config; i++) {
        if (strcmp(t->config[i].key, key) == 0) {
            return t->config[i].value;
        }
    }
    return NULL;
}

const char *const *weir_topic_config_keys(void)
{
    return topic_config_keys();
}

/* ---------------------------------------------------------------- requests */

static bool parse_config(const char *text, struct topic_config *conf, weir_error *e)
{
    char key[64], value[128];
    struct werror we = {0};
    int got;

    *conf = (struct topic_config){0};
    while ((got = option_next(&text, ' ', key, sizeof key, value, sizeof value, &we)) > 0) {
        if (topic_config_set(conf, key, value, &we) != WERR_OK) {
            break;
        }
    }
    if (got != 0) {
        *e = err_from_local(&we);
    }
    return got == 0;
}

static bool check_name(const char *name, weir_error *e)
{
    struct werror we = {0};

    if (name_check(slice_str(name ? name : ""), true, &we) != WERR_OK) {
        *e = err_from_local(&we);
        err_wrap(e, "topic");
        return false;
    }
    return true;
}

/* What is known about the topic may be old now. */
static void look_again(struct weir *w, const char *name)
{
    struct topic *t;

    TAILQ_FOREACH (t, &w->meta.topics, link) {
        if (strcmp(t->name, name) == 0) {
            meta_refresh(w, t);
        }
    }
}

static weir_error change(weir *w, const char *name, const char *config, unsigned flags,
                         weir_topic **out, int timeout_ms, bool create)
{
    struct call c;
    struct msg_topic m = {.name = slice_str(name ? name : ""), .dry_run = flags & WEIR_DRY_RUN};
    struct topic_config conf;
    struct werror e = {0};
    uint64_t tid;

    if (!call_begin(&c, w, false, timeout_ms) || !check_name(name, &c.error) ||
        !parse_config(config, &m.conf, &c.error)) {
        return call_end(&c);
    }
    if (create) {
        msg_put_topic_create(&c.req.frame, c.req.corr, &m);
    } else {
        msg_put_topic_alter(&c.req.frame, c.req.corr, &m);
    }
    if (call_run(&c)) {
        look_again(w, name);
        topic_config_defaults(&conf);
        if (msg_get_topic_ok(&c.cur, &tid, &conf, &e) != WERR_OK) {
            (void)call_broken(&c, &e);
        } else if (out && !(*out = topic_new(m.name, tid, &conf))) {
            c.error = err_make_as(WERR_NOMEM, WEIR_UNKNOWN, "out of memory");
        }
    }
    return call_end(&c);
}

weir_error weir_topic_create(weir *w, const char *name, const char *config, unsigned flags,
                             weir_topic **out, int timeout_ms)
{
    return change(w, name, config, flags, out, timeout_ms, true);
}

weir_error weir_topic_alter(weir *w, const char *name, const char *config, unsigned flags,
                            weir_topic **out, int timeout_ms)
{
    return change(w, name, config, flags, out, timeout_ms, false);
}

weir_error weir_topic_delete(weir *w, const char *name, unsigned flags, uint64_t *bytes,
                             int timeout_ms)
{
    struct call c;
    struct werror e = {0};
    uint64_t tid, freed = 0;

    if (call_begin(&c, w, false, timeout_ms) && check_name(name, &c.error)) {
        msg_put_topic_delete(&c.req.frame, c.req.corr, slice_str(name), flags & WEIR_DRY_RUN);
        if (call_run(&c)) {
            look_again(w, name);
            if (msg_get_topic_delete_ok(&c.cur, &tid, &freed, &e) != WERR_OK) {
                (void)call_broken(&c, &e);
            } else if (bytes) {
                *bytes = freed;
            }
        }
    }
    return call_end(&c);
}

/* Partition figures of a description; false: it breaks the rules. */
static bool take_parts(weir_topic *t, struct msg_topic_describe_ok *m)
{
    struct msg_part_stat s;

    if (m->n_parts == 0 || m->n_parts > LIMIT_PARTITIONS) {
        return false;
    }
    t->partitions = (int32_t)m->n_parts;
    t->parts = calloc(m->n_parts, sizeof *t->parts);
    while (t->parts && msg_next_part_stat(&m->parts, &s)) {
        if (s.p >= m->n_parts) {
            return false;
        }
        t->parts[s.p] = (weir_partition_info){(int32_t)s.p,  s.epoch, (int64_t)s.log_start,
                                              (int64_t)s.hw, s.bytes, s.last_append_ms};
    }
    return t->parts != NULL;
}

weir_error weir_topic_describe(weir *w, const char *name, weir_topic **out, int timeout_ms)
{
    struct call c;
    struct msg_topic_describe_ok m = {.tid = 0};
    struct werror e = {0};
    weir_topic *t = NULL;

    if (call_begin(&c, w, true, timeout_ms) && check_name(name, &c.error)) {
        msg_put_topic_describe(&c.req.frame, c.req.corr, slice_str(name));
        topic_config_defaults(&m.conf);
        if (call_run(&c)) {
            if (msg_get_topic_describe_ok(&c.cur, &m, &e) != WERR_OK) {
                (void)call_broken(&c, &e);
            } else if (!(t = topic_new(m.name, m.tid, &m.conf)) || !take_parts(t, &m)) {
                werror_set(&e, WERR_MALFORMED, "topic_describe: inconsistent, or out of memory");
                (void)call_broken(&c, &e);
            } else if (out) {
                t->created_ms = m.created_ms;
                *out = t;
                t = NULL; /* the caller's */
            }
        }
    }
    weir_topic_free(t);
    return call_end(&c);
}

/* Hands one page to the caller; *next is where the following one begins. */
static bool list_page(struct call *c, void (*fn)(void *user, const weir_topic *t), void *user,
                      char *next)
{
    struct msg_metadata_ok ok;
    struct msg_topic_meta m;
    struct werror e = {0};

    if (msg_get_metadata_ok(&c->cur, &ok, &e) != WERR_OK) {
        return call_broken(c, &e);
    }
    while (!c->w->closing && msg_next_topic(&ok.topics, &m)) {
        weir_topic *t;

        if (m.err.code != WERR_OK) {
            continue;
        }
        m.conf.partitions = m.n_parts;
        t = topic_new(m.name, m.tid, &m.conf);
        if (!t) {
            c->error = err_make(WERR_NOMEM, "out of memory");
            return false;
        }
        c->w->in_callback = true;
        fn(user, t);
        c->w->in_callback = false;
        weir_topic_free(t);
    }
    if (ok.next.n > LIMIT_TOPIC_NAME ||
        (ok.next.n > 0 && strncmp((const char *)ok.next.p, next, ok.next.n) == 0 &&
         next[ok.next.n] == 0)) {
        werror_set(&e, WERR_MALFORMED, "metadata: the listing does not advance");
        return call_broken(c, &e);
    }
    if (ok.next.n) {
        memcpy(next, ok.next.p, ok.next.n);
    }
    next[ok.next.n] = 0;
    return true;
}

weir_error weir_topic_list(weir *w, void (*fn)(void *user, const weir_topic *t), void *user,
                           int timeout_ms)
{
    struct call c;
    char next[LIMIT_TOPIC_NAME + 1] = "";
    bool more = call_begin(&c, w, true, timeout_ms);

    if (more && !fn) {
        c.error = err_make(WERR_MISUSE, "fn is NULL");
        more = false;
    }
    while (more) {
        msg_put_metadata(&c.req.frame, c.req.corr, NULL, 0, slice_str(next), LIST_PAGE);
        more = call_run(&c) && list_page(&c, fn, user, next) && next[0] && call_again(&c);
    }
    return call_end(&c);
}
