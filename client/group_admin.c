/*
 * Groups: list, describe, alter, delete, seek; and the object that describes one. Happy path as in
 * topic.c: a request, its answer copied into an object whose texts lie in one piece of memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/admin.h"
#include "client/handle.h"
#include "client/opt.h"
#include "proto/msg_group.h"

enum { GROUP_KEYS = 16, LIST_PAGE = 500, HEX = 2 * MSG_MEMBER_BYTES + 1 };

struct config_text {
    char key[32], value[32];
};

struct weir_group {
    weir_group_info info;
    int64_t created_ms;
    weir_group_member_info *members;
    size_t n_members;
    weir_group_partition_info *parts;
    size_t n_parts;
    struct config_text config[GROUP_KEYS];
    size_t n_config;
    char *text; /* of all strings; enough of it was allocated */
    size_t text_at;
};

/* ---------------------------------------------------------------- the object */

static const char *keep(weir_group *g, struct slice s)
{
    char *to = g->text + g->text_at;

    if (s.n) {
        memcpy(to, s.p, s.n);
    }
    to[s.n] = 0;
    g->text_at += s.n + 1;
    return to;
}

static const char *keep_member(weir_group *g, struct slice s)
{
    char hex[HEX] = "";

    for (size_t i = 0; i < s.n && i < MSG_MEMBER_BYTES; i++) {
        snprintf(hex + 2 * i, 3, "%02x", s.p[i]);
    }
    return keep(g, slice_str(hex));
}

static const char *mode_name(enum msg_group_mode m)
{
    return m == GROUP_MODE_QUEUE ? "queue" : "log";
}

/* Texts are read back from the wire form, which has every key. */
static bool config_texts(weir_group *g, const struct group_config *conf)
{
    struct buf b = {.p = NULL};
    struct mpread r;
    uint32_t n;

    g->n_config = 0;
    group_config_put(&b, conf, true);
    mpread_init(&r, b.p, b.len);
    n = b.failed ? 0 : mpread_map(&r);
    for (uint32_t i = 0; i < n && i < GROUP_KEYS && r.err == WERR_OK; i++) {
        struct config_text *x = &g->config[g->n_config++];
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

static void take_members(weir_group *g, struct msg_group_describe_ok *m)
{
    struct msg_group_member x;

    while (g->n_members < m->n_members && msg_next_group_member(&m->members, &x)) {
        g->members[g->n_members++] = (weir_group_member_info){.member = keep_member(g, x.member),
                                                              .client = keep(g, x.client),
                                                              .address = keep(g, x.address),
                                                              .epoch = x.epoch,
                                                              .in_flight = x.in_flight,
                                                              .partitions = x.partitions,
                                                              .since_ms = x.since_ms,
                                                              .away = x.away};
    }
}

static void take_parts(weir_group *g, struct msg_group_describe_ok *m)
{
    struct msg_group_part x;

    while (g->n_parts < m->n_parts && msg_next_group_part(&m->parts, &x)) {
        g->parts[g->n_parts++] = (weir_group_partition_info){
            .topic = keep(g, x.topic),
            .partition = (int32_t)x.p,
            .owner = x.owner.n ? keep_member(g, x.owner) : NULL,
            .position = (int64_t)x.position,
            .next = (int64_t)x.next,
            .log_start = (int64_t)x.log_start,
            .high_watermark = (int64_t)x.hw,
            .lag_messages = x.lag_msgs,
            .lag_ms = x.lag_ms,
            .in_flight = x.in_flight,
            .retrying = x.retrying,
            .oldest_lease_ms = x.oldest_lease_ms,
            .oldest_holder = x.oldest_holder.n ? keep_member(g, x.oldest_holder) : NULL};
    }
}

/* `bytes`: length of the answer, a bound of its texts. NULL: out of memory. */
static weir_group *group_new(struct msg_group_describe_ok *m, size_t bytes)
{
    weir_group *g = calloc(1, sizeof *g);
    const struct msg_group_row *row = &m->d.row;

    if (!g) {
        return NULL;
    }
    g->members = calloc((size_t)m->n_members + 1, sizeof *g->members);
    g->parts = calloc((size_t)m->n_parts + 1, sizeof *g->parts);
    g->text =
        malloc(bytes + (size_t)m->n_members * (HEX + 2) + (size_t)m->n_parts * (2 * HEX + 1) + 64);
    if (!g->members || !g->parts || !g->text || !config_texts(g, &m->d.conf)) {
        weir_group_free(g);
        return NULL;
    }
    g->info = (weir_group_info){.name = keep(g, row->name),
                                .mode = mode_name(row->mode),
                                .state = keep(g, row->state),
                                .members = row->members,
                                .partitions = row->partitions,
                                .lag_messages = row->lag_msgs,
                                .lag_ms = row->lag_ms,
                                .in_flight = row->in_flight};
    g->created_ms = m->d.created_ms;
    take_members(g, m);
    take_parts(g, m);
    return g;
}

void weir_group_free(weir_group *g)
{
    if (g) {
        free(g->members);
        free(g->parts);
        free(g->text);
        free(g);
    }
}

const weir_group_info *weir_group_get_info(const weir_group *g)
{
    return g ? &g->info : NULL;
}

int64_t weir_group_created_ms(const weir_group *g)
{
    return g ? g->created_ms : 0;
}

const weir_group_member_info *weir_group_member(const weir_group *g, size_t i)
{
    return g && i < g->n_members ? &g->members[i] : NULL;
}

const weir_group_partition_info *weir_group_partition(const weir_group *g, size_t i)
{
    return g && i < g->n_parts ? &g->parts[i] : NULL;
}

const char *weir_group_config(const weir_group *g, const char *key)
{
    for (size_t i = 0; g && key && i < g->n_config; i++) {
        if (strcmp(g->config[i].key, key) == 0) {
            return g->config[i].value;
        }
    }
    return NULL;
}

const char *const *weir_group_config_keys(void)
{
    return group_config_keys();
}

/* ---------------------------------------------------------------- reading */

static bool check_name(const char *name, weir_error *e)
{
    struct werror we = {0};

    if (name_check(slice_str(name ? name : ""), false, &we) != WERR_OK) {
        *e = err_from_local(&we);
        err_wrap(e, "group");
        return false;
    }
    return true;
}

/* Hands one page to the caller; *next is where the following one begins. */
static bool list_page(struct call *c, void (*fn)(void *user, const weir_group_info *info),
                      void *user, char *next)
{
    struct msg_group_list_ok ok;
    struct msg_group_row row;
    struct werror e = {0};
    char name[LIMIT_NAME + 1], state[128];

    if (msg_get_group_list_ok(&c->cur, &ok, &e) != WERR_OK) {
        return call_broken(c, &e);
    }
    while (!c->w->closing && msg_next_group_row(&ok.groups, &row)) {
        const weir_group_info info = {name,        mode_name(row.mode), state,
                                      row.members, row.partitions,      row.lag_msgs,
                                      row.lag_ms,  row.in_flight};

        snprintf(name, sizeof name, "%.*s", (int)row.name.n, (const char *)row.name.p);
        snprintf(state, sizeof state, "%.*s", (int)row.state.n, (const char *)row.state.p);
        c->w->in_callback = true;
        fn(user, &info);
        c->w->in_callback = false;
    }
    if (ok.next.n > LIMIT_NAME || (ok.next.n > 0 && slice_eq(ok.next, slice_str(next)))) {
        werror_set(&e, WERR_MALFORMED, "group_list: the listing does not advance");
        return call_broken(c, &e);
    }
    if (ok.next.n) {
        memcpy(next, ok.next.p, ok.next.n);
    }
    next[ok.next.n] = 0;
    return true;
}

weir_error weir_group_list(weir *w, void (*fn)(void *user, const weir_group_info *info), void *user,
                           int timeout_ms)
{
    struct call c;
    char next[LIMIT_NAME + 1] = "";
    bool more = call_begin(&c, w, true, timeout_ms);

    if (more && !fn) {
        c.error = err_make(WERR_MISUSE, "fn is NULL");
        more = false;
    }
    while (more) {
        msg_put_group_list(&c.req.frame, c.req.corr, slice_str(next), LIST_PAGE);
        more = call_run(&c) && list_page(&c, fn, user, next) && next[0] && call_again(&c);
    }
    return call_end(&c);
}

/* conf NULL: as described; else it wins. */
static bool describe(struct call *c, const char *group, const struct group_config *conf,
                     weir_group **out)
{
    struct msg_group_describe_ok m = {.n_members = 0};
    struct werror e = {0};

    msg_put_group_describe(&c->req.frame, c->req.corr, slice_str(group));
    if (!call_run(c)) {
        return false;
    }
    if (msg_get_group_describe_ok(&c->cur, &m, &e) != WERR_OK) {
        return call_broken(c, &e);
    }
    if (conf) {
        m.d.conf = *conf;
    }
    *out = group_new(&m, c->result.len);
    if (!*out) {
        c->error = err_make_as(WERR_NOMEM, WEIR_UNKNOWN, "out of memory");
    }
    return *out != NULL;
}

weir_error weir_group_describe(weir *w, const char *group, weir_group **out, int timeout_ms)
{
    struct call c;
    weir_group *g = NULL;

    if (call_begin(&c, w, true, timeout_ms) && check_name(group, &c.error) &&
        describe(&c, group, NULL, &g)) {
        if (out) {
            *out = g;
        } else {
            weir_group_free(g);
        }
    }
    return call_end(&c);
}

/* ---------------------------------------------------------------- changing */

static bool parse_config(const char *text, struct group_config *conf, weir_error *e)
{
    char key[64], value[128];
    struct werror we = {0};
    int got;

    *conf = (struct group_config){.set = 0};
    while ((got = option_next(&text, ' ', key, sizeof key, value, sizeof value, &we)) > 0) {
        if (group_config_set(conf, key, value, &we) != WERR_OK) {
            break;
        }
    }
    if (got != 0) {
        *e = err_from_local(&we);
    }
    return got == 0;
}

weir_error weir_group_alter(weir *w, const char *group, const char *config, unsigned flags,
                            weir_group **out, int timeout_ms)
{
    struct call c;
    struct msg_group_alter m = {.dry_run = flags & WEIR_DRY_RUN};
    struct group_config conf = {.set = 0};
    struct werror e = {0};

    if (!call_begin(&c, w, false, timeout_ms) || !check_name(group, &c.error) ||
        !parse_config(config, &m.conf, &c.error)) {
        return call_end(&c);
    }
    m.group = slice_str(group);
    msg_put_group_alter(&c.req.frame, c.req.corr, &m);
    if (call_run(&c)) {
        if (msg_get_group_alter_ok(&c.cur, &conf, &e) != WERR_OK) {
            (void)call_broken(&c, &e);
        } else if (out && call_again(&c)) {
            (void)describe(&c, group, &conf, out);
        }
    }
    return call_end(&c);
}

weir_error weir_group_delete(weir *w, const char *group, unsigned flags, int timeout_ms)
{
    struct call c;
    struct msg_group_delete m = {.force = flags & WEIR_FORCE, .dry_run = flags & WEIR_DRY_RUN};
    struct werror e = {0};

    if (call_begin(&c, w, false, timeout_ms) && check_name(group, &c.error)) {
        m.group = slice_str(group);
        msg_put_group_delete(&c.req.frame, c.req.corr, &m);
        if (call_run(&c) && msg_get_ok(&c.cur, &e) != WERR_OK) {
            (void)call_broken(&c, &e);
        }
    }
    return call_end(&c);
}

/* Ids of the topics that the seeks name. */
static bool find_topics(struct call *c, const weir_seek *seeks, size_t n,
                        struct msg_reset_item *items)
{
    for (size_t i = 0; i < n; i++) {
        struct topic *t = handle_topic(c->w, seeks[i].topic, &c->error);

        if (!t || !handle_wait_topic(c->w, t, c->req.deadline_mono_ns, &c->error)) {
            return false;
        }
        if (seeks[i].partition < 0 || (uint32_t)seeks[i].partition >= t->n_parts ||
            seeks[i].to < 0) {
            c->error = err_make(WERR_UNKNOWN_TOPIC, "topic %s partition %d to offset %lld", t->name,
                                seeks[i].partition, (long long)seeks[i].to);
            return false;
        }
        items[i] =
            (struct msg_reset_item){t->tid, (uint32_t)seeks[i].partition, (uint64_t)seeks[i].to};
    }
    return true;
}

static bool seek_results(struct call *c, weir_seek *seeks, const struct msg_reset_item *items,
                         size_t n)
{
    struct msg_reset_result r;
    struct werror e = {0};
    uint32_t got = 0;
    enum werr rc = msg_get_reset_ok(&c->cur, &got, &e);

    if (rc == WERR_OK && got != n) {
        rc = werror_set(&e, WERR_MALFORMED, "group_reset: %u results for %zu", got, n);
    }
    for (size_t i = 0; rc == WERR_OK && i < n; i++) {
        rc = msg_get_reset_result(&c->cur, &r, &e);
        if (rc == WERR_OK && (r.tid != items[i].tid || r.p != items[i].p)) {
            rc = werror_set(&e, WERR_MALFORMED, "group_reset: results in another order");
        }
        if (rc == WERR_OK) {
            seeks[i].from = (int64_t)r.old;
        }
        if (rc == WERR_OK && r.err.code != WERR_OK && c->error.outcome == WEIR_DONE) {
            c->error = err_from_local(&r.err);
            err_wrap(&c->error, "topic %s partition %d", seeks[i].topic, seeks[i].partition);
        }
    }
    return rc == WERR_OK || call_broken(c, &e);
}

weir_error weir_group_seek(weir *w, const char *group, weir_seek *seeks, size_t n, unsigned flags,
                           int timeout_ms)
{
    struct call c;
    struct msg_reset_item *items = calloc(n + 1, sizeof *items);

    if (!call_begin(&c, w, false, timeout_ms) || !check_name(group, &c.error)) {
        goto out;
    }
    if (!items || (n > 0 && !seeks)) {
        c.error = err_make(items ? WERR_MISUSE : WERR_NOMEM, "seeks");
        goto out;
    }
    if (find_topics(&c, seeks, n, items)) {
        msg_put_reset(&c.req.frame, c.req.corr, slice_str(group), items, n, flags & WEIR_FORCE,
                      flags & WEIR_DRY_RUN);
        if (call_run(&c)) {
            (void)seek_results(&c, seeks, items, n);
        }
    }
out:
    free(items);
    return call_end(&c);
}
