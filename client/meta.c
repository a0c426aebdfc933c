/*
 * Happy path: meta_want marks a topic, meta_step asks for all marked ones in one METADATA request,
 * the answer fills them and wakes producer and subscriptions.
 * What can fail: the topic is unknown (told to those who wait; asked again only when somebody wants
 * it anew), the request is refused for now (asked again later), an answer that breaks the rules
 * (slots that do not add up, partition numbers out of range: connection dropped).
 * Owns the topics; they live as long as the handle.
 */
#include "client/meta.h"

#include <stdlib.h>
#include <string.h>

#include "client/handle.h"
#include "proto/crc32c.h"

enum { META_NAMES = 256, META_RETRY_MS = 100 };

void meta_init(struct meta *m)
{
    *m = (struct meta){0};
    TAILQ_INIT(&m->topics);
}

void meta_fini(struct meta *m)
{
    struct topic *t;

    while ((t = TAILQ_FIRST(&m->topics))) {
        TAILQ_REMOVE(&m->topics, t, link);
        free(t->parts);
        free(t);
    }
    free(m->buckets);
    buf_fini(&m->req.frame);
    meta_init(m);
}

static bool grow(struct meta *m)
{
    uint32_t n = m->n_buckets ? m->n_buckets * 2 : 64;
    struct topic **buckets = calloc(n, sizeof *buckets), *t;

    if (!buckets) {
        return m->n_buckets > 0; /* slower, not wrong */
    }
    TAILQ_FOREACH (t, &m->topics, link) {
        t->next_in_bucket = buckets[t->hash % n];
        buckets[t->hash % n] = t;
    }
    free(m->buckets);
    m->buckets = buckets;
    m->n_buckets = n;
    return true;
}

static bool named(const struct topic *t, const char *name, size_t len)
{
    return t->name_len == len && memcmp(t->name, name, len) == 0;
}

static struct topic *find(struct meta *m, const char *name, size_t len)
{
    uint32_t hash = crc32c(name, len);
    struct topic *t;

    for (t = m->n_buckets ? m->buckets[hash % m->n_buckets] : NULL; t; t = t->next_in_bucket) {
        if (named(t, name, len)) {
            m->last = t;
            break;
        }
    }
    return t;
}

struct topic *meta_topic(struct meta *m, const char *name, size_t len)
{
    uint32_t hash;
    struct topic *t;

    if (m->last && named(m->last, name, len)) {
        return m->last;
    }
    t = find(m, name, len);
    if (t) {
        return t;
    }
    hash = crc32c(name, len);
    if (len > LIMIT_TOPIC_NAME || (m->n_topics >= m->n_buckets && !grow(m))) {
        return NULL;
    }
    t = calloc(1, sizeof *t);
    if (!t) {
        return NULL;
    }
    memcpy(t->name, name, len);
    t->name_len = (uint32_t)len;
    t->hash = hash;
    TAILQ_INIT(&t->waiting);
    t->next_in_bucket = m->buckets[hash % m->n_buckets];
    m->buckets[hash % m->n_buckets] = t;
    TAILQ_INSERT_TAIL(&m->topics, t, link);
    m->n_topics++;
    return m->last = t;
}

void meta_want(struct weir *w, struct topic *t)
{
    if (t->state == TOPIC_IDLE || t->state == TOPIC_FAILED) {
        t->state = TOPIC_WANTED;
        t->retry_mono_ns = 0;
        w->meta.wanted = true;
    }
}

void meta_refresh(struct weir *w, struct topic *t)
{
    if (t->valid) {
        meta_want(w, t);
    }
}

void meta_refresh_all(struct weir *w)
{
    struct topic *t;

    TAILQ_FOREACH (t, &w->meta.topics, link) {
        meta_refresh(w, t);
    }
}

uint32_t meta_partition_of_key(const struct topic *t, const void *key, size_t n)
{
    return t->slots[crc32c(key, n) % LIMIT_SLOTS];
}

static void topic_failed(struct weir *w, struct topic *t, const struct werror *e,
                         enum werr_class cls)
{
    bool again = cls == WCLASS_RETRY || cls == WCLASS_UNKNOWN ||
                 (cls == WCLASS_REFRESH && e->code != WERR_UNKNOWN_TOPIC);

    if (again) {
        uint32_t ms =
            e->retry_after_ms ? e->retry_after_ms : (uint32_t)META_RETRY_MS << (t->tries & 3);

        t->tries++;
        t->state = TOPIC_WANTED;
        t->retry_mono_ns = clock_after_ms(w->now_ns, ms);
        handle_timer(w, t->retry_mono_ns);
        w->meta.wanted = true;
        return;
    }
    t->state = TOPIC_FAILED;
    t->valid = false;
    t->err = *e;
    t->err_class = cls;
    handle_topic_changed(w, t);
}

/* Fills t from one element of the answer; false: it breaks the rules. */
static bool topic_fill(struct topic *t, struct msg_topic_meta *m)
{
    struct msg_slot_run run;
    struct msg_part_meta part;
    uint32_t at = 0;

    if (m->n_parts == 0 || m->n_parts > LIMIT_PARTITIONS) {
        return false;
    }
    while (msg_next_part(&m->parts, &part)) {
        if (part.p >= m->n_parts) {
            return false;
        }
    }
    while (msg_next_slot_run(&m->slots, &run)) {
        if (run.p >= m->n_parts || run.count > LIMIT_SLOTS - at) {
            return false;
        }
        for (uint32_t i = 0; i < run.count; i++) {
            t->slots[at++] = (uint16_t)run.p;
        }
    }
    if (at != LIMIT_SLOTS) {
        return false;
    }
    t->tid = m->tid;
    t->n_parts = m->n_parts;
    t->conf = m->conf;
    return true;
}

/* False: the answer breaks the rules. */
static bool take_answer(struct weir *w, const struct answer *a, struct werror *e)
{
    struct mpread cur = a->result;
    struct msg_metadata_ok ok;
    struct msg_topic_meta m;

    if (msg_get_metadata_ok(&cur, &ok, e) != WERR_OK) {
        return false;
    }
    while (msg_next_topic(&ok.topics, &m)) {
        struct topic *t = find(&w->meta, (const char *)m.name.p, m.name.n);

        if (!t || t->state != TOPIC_ASKED) {
            continue; /* not asked for */
        }
        if (m.err.code != WERR_OK) {
            topic_failed(w, t, &m.err, werr_class(m.err.code));
            continue;
        }
        if (!topic_fill(t, &m)) {
            t->valid = false;
            werror_set(e, WERR_MALFORMED, "metadata of topic %s is inconsistent", t->name);
            return false;
        }
        t->state = TOPIC_IDLE;
        t->valid = true;
        t->tries = 0;
        handle_topic_changed(w, t);
    }
    return true;
}

static void on_answer(struct req *r, const struct answer *a)
{
    struct weir *w = r->arg;
    struct topic *t;
    struct werror e = a->err;
    enum werr_class cls = a->cls;

    if (e.code == WERR_CLOSED) {
        return;
    }
    if (e.code == WERR_OK) {
        if (!take_answer(w, a, &e)) {
            werror_wrap(&e, "the server broke the protocol");
            TAILQ_FOREACH (t, &w->meta.topics, link) {
                t->state = t->state == TOPIC_ASKED ? TOPIC_WANTED : t->state;
            }
            w->meta.wanted = true;
            conn_break(&w->conn, w->now_ns, &e);
            return;
        }
        werror_set(&e, WERR_UNKNOWN_TOPIC, "the server did not tell about the topic");
        cls = WCLASS_NEVER;
    }
    TAILQ_FOREACH (t, &w->meta.topics, link) {
        if (t->state == TOPIC_ASKED) {
            topic_failed(w, t, &e, cls);
        }
    }
}

void meta_step(struct weir *w)
{
    struct meta *m = &w->meta;
    struct slice names[META_NAMES];
    struct topic *t;
    size_t n = 0;
    bool more = false;

    if (!m->wanted || m->req.state != REQ_FREE || !conn_ready(&w->conn)) {
        return;
    }
    TAILQ_FOREACH (t, &m->topics, link) {
        if (t->state == TOPIC_WANTED && n < META_NAMES && t->retry_mono_ns <= w->now_ns) {
            names[n++] = slice_of(t->name, t->name_len);
        } else if (t->state == TOPIC_WANTED) {
            more = true;
            handle_timer(w, t->retry_mono_ns);
        }
    }
    m->wanted = more;
    if (n == 0 || conn_prepare(&w->conn, &m->req) != WERR_OK) {
        return;
    }
    m->req.done = on_answer;
    m->req.arg = w;
    m->req.repeat = true;
    m->req.deadline_mono_ns = CLOCK_NEVER;
    buf_clear(&m->req.frame);
    msg_put_metadata(&m->req.frame, m->req.corr, names, n, (struct slice){0}, 0);
    if (conn_submit(&w->conn, &m->req) != WERR_OK) {
        m->wanted = true;
        handle_timer(w, clock_after_ms(w->now_ns, META_RETRY_MS));
        return;
    }
    for (size_t i = 0; i < n; i++) {
        meta_topic(m, (const char *)names[i].p, names[i].n)->state = TOPIC_ASKED;
    }
}
