/*
 * METADATA, and creating, altering, deleting, describing topics. Happy path: read from the core,
 * answer at once; changes answer when they are durable. With --dev a METADATA request for a topic
 * that does not exist creates it first.
 */
#include <stdlib.h>

#include "broker/session.h"

/* An answer lists so many partitions at most: about 3 MB, whatever a peer asks for. */
enum { PAGE_DEFAULT = 1000, PAGE_PARTITIONS = 128 << 10 };

/* ---------------------------------------------------------------- METADATA */

struct layout {
    struct msg_part_meta parts[LIMIT_PARTITIONS];
    struct msg_slot_run runs[LIMIT_SLOTS];
};

static void put_topic(struct buf *b, struct layout *l, struct core_topic *t)
{
    const struct topic_config *conf = core_topic_config(t);
    size_t n_runs = 0;

    core_topic_layout(t, l->parts, l->runs, &n_runs);
    msg_put_topic_meta(b, core_topic_name(t), core_topic_id(t), NULL, l->parts, conf->partitions,
                       l->runs, n_runs, conf);
}

static void put_unknown(struct buf *b, struct slice name)
{
    struct werror e;

    (void)werror_set(&e, WERR_UNKNOWN_TOPIC, "unknown topic %.*s",
                     (int)(name.n < 100 ? name.n : 100), (const char *)name.p);
    msg_put_topic_meta(b, name, 0, &e, NULL, 0, NULL, 0, NULL);
}

static void put_too_many(struct buf *b, struct slice name)
{
    struct werror e;

    (void)werror_set(&e, WERR_TOO_LARGE, "over %d partitions in one answer: ask for fewer topics",
                     PAGE_PARTITIONS);
    msg_put_topic_meta(b, name, 0, &e, NULL, 0, NULL, 0, NULL);
}

/* An empty host tells the client to use the address it is connected to. */
static size_t begin(struct conn *c, uint32_t corr, size_t n_topics)
{
    struct server *srv = c->srv;

    return msg_begin_metadata_ok(conn_ctl(c), corr, core_metadata_version(srv->core), 1,
                                 slice_str(srv->advertise_host), srv->advertise_port, n_topics);
}

static void answer_all(struct conn *c, uint32_t corr, struct slice after, uint32_t limit,
                       struct layout *l)
{
    struct core *co = c->srv->core;
    uint32_t max = limit != 0 ? limit : PAGE_DEFAULT;
    struct slice next = {NULL, 0};
    struct core_topic *t = core_topic_after(co, after);
    size_t n = 0, parts = 0, at;

    for (struct core_topic *u = t; u != NULL && n < max && parts < PAGE_PARTITIONS;
         u = core_topic_after(co, core_topic_name(u))) {
        parts += core_topic_config(u)->partitions;
        n++;
    }
    at = begin(c, corr, n);
    for (size_t i = 0; i < n; i++) {
        put_topic(conn_ctl(c), l, t);
        next = core_topic_name(t);
        t = core_topic_after(co, next);
    }
    msg_end_metadata_ok(conn_ctl(c), at, t != NULL ? next : (struct slice){NULL, 0});
    conn_sent(c);
}

static void answer_names(struct conn *c, uint32_t corr, struct mpread names, uint32_t n,
                         struct layout *l)
{
    size_t at = begin(c, corr, n), parts = 0;

    for (uint32_t i = 0; i < n; i++) {
        struct slice name = mpread_str(&names, LIMIT_FRAME);
        struct core_topic *t = core_topic_by_name(c->srv->core, name);

        if (t == NULL) {
            put_unknown(conn_ctl(c), name);
        } else if (parts >= PAGE_PARTITIONS) {
            put_too_many(conn_ctl(c), name);
        } else {
            put_topic(conn_ctl(c), l, t);
            parts += core_topic_config(t)->partitions;
        }
    }
    msg_end_metadata_ok(conn_ctl(c), at, (struct slice){NULL, 0});
    conn_sent(c);
}

/* METADATA that waits for topics to be created (--dev). */
struct creation {
    struct conn *c;
    uint32_t corr, n, left;
    struct blob *names; /* the request's names, msgpack */
    struct core_topic_rq rq[];
};

static void creation_step(struct creation *cr)
{
    if (--cr->left > 0) {
        return;
    }
    if (cr->c->state != CONN_CLOSED) {
        struct layout *l = calloc(1, sizeof *l);
        struct mpread names;

        mpread_init(&names, cr->names->p, cr->names->n);
        if (l != NULL) {
            answer_names(cr->c, cr->corr, names, cr->n, l);
        } else {
            conn_close(cr->c, "no_memory");
        }
        free(l);
    }
    conn_finish(cr->c, 0);
    blob_unref(cr->names);
    free(cr);
}

static void created(struct core_topic_rq *rq)
{
    creation_step(rq->arg); /* a failure shows as "unknown topic" in the answer */
}

static enum werr create_missing(struct cmd *m, const struct msg_metadata *in, struct werror *e)
{
    struct creation *cr = calloc(1, sizeof *cr + in->n_names * sizeof cr->rq[0]);
    struct mpread names;

    if (cr == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for %u names", in->n_names);
    }
    cr->c = m->c;
    cr->corr = m->corr;
    cr->n = in->n_names;
    cr->left = 1;
    cr->names = blob_copy(in->names.p, (size_t)(in->names.end - in->names.p));
    if (cr->names == NULL) {
        free(cr);
        return werror_set(e, WERR_OVERLOADED, "no memory for %u names", in->n_names);
    }
    conn_begin(m->c, 0);
    mpread_init(&names, cr->names->p, cr->names->n);
    for (uint32_t i = 0; i < in->n_names; i++) {
        struct core_topic_rq *rq = &cr->rq[i];

        rq->name = mpread_str(&names, LIMIT_FRAME);
        if (core_topic_by_name(m->srv->core, rq->name) == NULL) {
            rq->verb = CORE_TOPIC_CREATE;
            topic_config_defaults(&rq->conf);
            rq->done = created;
            rq->arg = cr;
            cr->left++;
            core_topic_change(m->srv->core, rq);
        }
    }
    creation_step(cr);
    return WERR_OK;
}

enum werr cmd_metadata(struct cmd *m, struct werror *e)
{
    struct msg_metadata in;
    enum werr rc = msg_get_metadata(&m->args, &in, e);
    struct layout *l;

    if (rc != WERR_OK) {
        return rc;
    }
    if (!in.all && m->srv->conf->dev) {
        return create_missing(m, &in, e);
    }
    l = calloc(1, sizeof *l);
    if (l == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for metadata");
    }
    if (in.all) {
        answer_all(m->c, m->corr, in.after, in.limit, l);
    } else {
        answer_names(m->c, m->corr, in.names, in.n_names, l);
    }
    free(l);
    return WERR_OK;
}

/* ---------------------------------------------------------------- changes */

struct change {
    struct core_topic_rq rq;
    struct conn *c;
    uint32_t corr;
};

static void change_done(struct core_topic_rq *rq)
{
    struct change *ch = rq->arg;
    struct conn *c = ch->c;

    if (rq->err.code != WERR_OK) {
        conn_put_error(c, ch->corr, &rq->err, NULL, 0);
    } else if (c->state != CONN_CLOSED && rq->verb == CORE_TOPIC_DELETE) {
        msg_put_topic_delete_ok(conn_ctl(c), ch->corr, rq->tid, rq->bytes_freed);
        conn_sent(c);
    } else if (c->state != CONN_CLOSED) {
        msg_put_topic_ok(conn_ctl(c), ch->corr, rq->tid, &rq->result);
        conn_sent(c);
    }
    conn_finish(c, 0);
    free(ch);
}

static enum werr change(struct cmd *m, enum core_topic_verb verb, const struct msg_topic *in,
                        struct werror *e)
{
    struct change *ch = calloc(1, sizeof *ch);

    if (ch == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for a topic change");
    }
    ch->c = m->c;
    ch->corr = m->corr;
    ch->rq.verb = verb;
    ch->rq.name = in->name;
    ch->rq.conf = in->conf;
    ch->rq.dry_run = in->dry_run;
    ch->rq.done = change_done;
    ch->rq.arg = ch;
    conn_begin(m->c, 0);
    core_topic_change(m->srv->core, &ch->rq);
    return WERR_OK;
}

enum werr cmd_topic_create(struct cmd *m, struct werror *e)
{
    struct msg_topic in;
    enum werr rc = msg_get_topic_create(&m->args, &in, e);

    return rc != WERR_OK ? rc : change(m, CORE_TOPIC_CREATE, &in, e);
}

enum werr cmd_topic_alter(struct cmd *m, struct werror *e)
{
    struct msg_topic in;
    enum werr rc = msg_get_topic_create(&m->args, &in, e);

    return rc != WERR_OK ? rc : change(m, CORE_TOPIC_ALTER, &in, e);
}

enum werr cmd_topic_delete(struct cmd *m, struct werror *e)
{
    struct msg_topic in;
    enum werr rc = msg_get_topic_delete(&m->args, &in, e);

    return rc != WERR_OK ? rc : change(m, CORE_TOPIC_DELETE, &in, e);
}

enum werr cmd_topic_describe(struct cmd *m, struct werror *e)
{
    struct slice name;
    enum werr rc = msg_get_topic_describe(&m->args, &name, e);
    const struct topic_config *conf;
    struct msg_part_stat *parts;
    struct core_topic *t;

    if (rc != WERR_OK) {
        return rc;
    }
    t = core_topic_by_name(m->srv->core, name);
    if (t == NULL) {
        return werror_set(e, WERR_UNKNOWN_TOPIC, "unknown topic %.*s",
                          (int)(name.n < 100 ? name.n : 100), (const char *)name.p);
    }
    conf = core_topic_config(t);
    parts = calloc(conf->partitions, sizeof *parts);
    if (parts == NULL) {
        return werror_set(e, WERR_OVERLOADED, "no memory for %u partitions", conf->partitions);
    }
    core_topic_stats(m->srv->core, t, parts);
    msg_put_topic_describe_ok(conn_ctl(m->c), m->corr, core_topic_name(t), core_topic_id(t),
                              core_topic_created_ms(t), conf, parts, conf->partitions);
    conn_sent(m->c);
    free(parts);
    return WERR_OK;
}
