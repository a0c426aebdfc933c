/*
 * Settings of a group, and its deletion.
 *
 * Happy path: checks, rows in the flight of the turn, then it shows. What can fail: the checks, and
 * the flight with STORAGE_FULL: the group is as before (a forced deletion has fenced its members by
 * then). Who owns what: a wait refers to the request and to the group.
 */
#include "broker/core/group_impl.h"
#include "broker/core/mem.h"

enum { FULL_RETRY_MS = 1000 };
static const uint32_t QUEUE_KEYS = GKEY_MAX_RATE | GKEY_MAX_CONCURRENCY | GKEY_MEMBER_MAX |
                                   GKEY_MAX_DELIVER | GKEY_BACKOFF | GKEY_BACKOFF_MAX | GKEY_RAMP;

void group_fail(struct werror *to, enum werr rc, const struct werror *e)
{
    werror_set(to, rc, "%s", e != NULL ? e->text : werr_text(rc));
    if (rc == WERR_STORAGE_FULL) {
        to->retry_after_ms = FULL_RETRY_MS;
    }
}

static struct core_group *find(struct core *co, struct slice name, struct werror *e)
{
    struct core_group *g = group_find(co, name);

    if (g == NULL) {
        werror_set(e, WERR_UNKNOWN_GROUP, "no group is called %.*s", (int)name.n,
                   name.n > 0 ? (const char *)name.p : "");
    }
    return g;
}

/* ---------------------------------------------------------------- alter */

struct alter_wait {
    struct waiter waiter;
    struct core_alter_rq *rq;
    struct core_group *g;
    struct group_config conf;
};

static void alter_end(struct waiter *waiter, enum werr rc, const struct werror *e)
{
    struct alter_wait *w = (struct alter_wait *)(void *)waiter;
    struct core_alter_rq *rq = w->rq;
    struct core_group *g = w->g;

    g->altering--;
    if (rc != WERR_OK) {
        group_fail(&rq->err, rc, e);
    } else if (!g->gone) {
        g->conf = w->conf;
        group_pause_look(g);
        if (g->mode == GROUP_MODE_QUEUE) {
            queue_conf_changed(g);
        } else {
            for (struct member *m = g->members; m != NULL; m = m->hh.next) {
                timer_unset(&g->co->timers, &m->processing);
                member_working(m);
            }
        }
    }
    free(w);
    group_unref(g);
    rq->done(rq);
}

static const char *first_key(uint32_t bits)
{
    const char *const *keys = group_config_keys();

    for (uint32_t i = 0; keys[i] != NULL; i++) {
        if ((bits & (UINT32_C(1) << i)) != 0) {
            return keys[i];
        }
    }
    return "?";
}

static enum werr check_conf(const struct core_group *g, const struct group_config *c,
                            struct werror *e)
{
    if (g->mode == GROUP_MODE_LOG && (c->set & QUEUE_KEYS) != 0) {
        return werror_set(e, WERR_INVALID_CONFIG,
                          "%s is for queue mode; group %s reads in log mode",
                          first_key(c->set & QUEUE_KEYS), g->name);
    }
    if ((c->set & GKEY_ORDER) != 0 && c->order != g->conf.order) {
        return werror_set(e, WERR_INVALID_CONFIG,
                          "order of group %s was fixed when it was made: %s", g->name,
                          g->conf.order == GROUP_ORDER_KEY ? "key" : "none");
    }
    return WERR_OK;
}

void core_group_alter(struct core *co, struct core_alter_rq *rq)
{
    struct core_group *g;
    struct group_config conf;

    rq->err = (struct werror){.code = WERR_OK};
    rq->result = (struct group_config){0};
    if (group_refuse(co, &rq->err) != WERR_OK || (g = find(co, rq->group, &rq->err)) == NULL) {
        rq->done(rq);
        return;
    }
    conf = g->altering > 0 ? g->conf_next : g->conf;
    group_config_merge(&conf, &rq->conf);
    conf.set = 0;
    rq->result = conf;
    if (check_conf(g, &rq->conf, &rq->err) != WERR_OK || rq->dry_run) {
        rq->done(rq);
        return;
    }
    struct alter_wait *w = core_calloc(1, sizeof *w);
    w->waiter.run = alter_end;
    w->rq = rq;
    w->g = g;
    w->conf = g->conf_next = conf;
    g->altering++;
    group_ref(g);
    group_dirty(g, STORE_SYNC);
    flight_wait(co, &w->waiter);
}

/* ---------------------------------------------------------------- delete */

struct delete_wait {
    struct waiter waiter;
    struct core_simple_rq *rq;
    struct core_group *g;
};

static void delete_end(struct waiter *waiter, enum werr rc, const struct werror *e)
{
    struct delete_wait *w = (struct delete_wait *)(void *)waiter;
    struct core_simple_rq *rq = w->rq;
    struct core_group *g = w->g;

    if (rc == WERR_OK) {
        core_log(g->co, 2, "group_deleted", "group=%s", g->name);
        group_discard(g);
    } else {
        g->deleting = false; /* whatever changed meanwhile is still to be written */
        group_rewrite(g);
        group_fail(&rq->err, rc, e);
    }
    free(w);
    group_unref(g);
    rq->done(rq);
}

static void delete_rows(struct core_group *g, struct store_txn *t)
{
    const struct meta_key k = group_key(g->gid);

    txn_delete(t, TABLE_META, key_slice(&k));
    for (const struct gpart *gp = g->parts; gp != NULL; gp = gp->hh.next) {
        const struct meta_key pk = gpart_key(gp->part_id, g->gid);
        txn_delete(t, TABLE_META, key_slice(&pk));
        if (g->mode == GROUP_MODE_QUEUE) {
            queue_rows_delete(gp->part_id, g->gid, t);
        }
    }
}

void core_group_delete(struct core *co, struct core_simple_rq *rq)
{
    struct core_group *g;

    rq->err = (struct werror){.code = WERR_OK};
    if (group_refuse(co, &rq->err) != WERR_OK || (g = find(co, rq->who.group, &rq->err)) == NULL) {
        rq->done(rq);
        return;
    }
    if (group_is_live(g) && !rq->force) {
        werror_set(&rq->err, WERR_GROUP_BUSY, "group %s has %u members: stop them, or force it",
                   g->name, HASH_COUNT(g->members));
    }
    if (rq->err.code != WERR_OK || rq->dry_run) {
        rq->done(rq);
        return;
    }
    members_fence(g, "the group was deleted");
    flight_submit(co); /* rows of it that wait to be written go first */
    g->deleting = true;
    delete_rows(g, flight_rows(co, STORE_SYNC));
    struct delete_wait *w = core_calloc(1, sizeof *w);
    w->waiter.run = delete_end;
    w->rq = rq;
    w->g = g;
    group_ref(g);
    flight_wait(co, &w->waiter);
}
