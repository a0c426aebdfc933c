/* Topics come, change and go; a crash in the middle leaves them as before or as wanted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

struct order {
    struct core_topic_rq rq;
    struct sim *s;
    unsigned topic;
    bool os;
    int64_t retention_ms;
    uint64_t retention_bytes;
};

static void created(struct sim *s, struct mtopic *t, uint64_t tid, uint64_t above,
                    const struct topic_config *c)
{
    if (tid <= above) {
        sim_fail(s, "topic id %llu was given out twice", (unsigned long long)tid);
    }
    s->max_tid = tid > s->max_tid ? tid : s->max_tid;
    model_forget(t);
    t->exists = true;
    t->power_cut = false;
    t->tid = tid;
    t->n_parts = c->partitions;
    t->os = t->was_os = c->durability == TOPIC_DURABILITY_OS;
    t->retention_ms = (int64_t)c->retention_ms;
    t->sized = c->retention_bytes != 0;
}

static void altered(struct mtopic *t, const struct topic_config *c)
{
    t->n_parts = c->partitions;
    t->os = c->durability == TOPIC_DURABILITY_OS;
    t->was_os = t->was_os || t->os;
    t->sized = t->sized || c->retention_bytes != 0;
    if (c->retention_ms != 0 &&
        (t->retention_ms == 0 || (int64_t)c->retention_ms < t->retention_ms)) {
        t->retention_ms = (int64_t)c->retention_ms;
    }
}

static void on_done(struct core_topic_rq *rq)
{
    struct order *o = rq->arg;
    struct sim *s = o->s;
    struct mtopic *t = &s->topics[o->topic];
    const enum werr code = rq->err.code;

    sim_trace(s, "topic", (uint64_t)rq->verb, (uint64_t)code, rq->tid);
    if (code != WERR_INDETERMINATE) {
        t->unsure = false;
    }
    if (code == WERR_OK && rq->verb == CORE_TOPIC_CREATE) {
        created(s, t, rq->tid, s->max_tid, &rq->result);
    } else if (code == WERR_OK && rq->verb == CORE_TOPIC_ALTER) {
        altered(t, &rq->result);
    } else if (code == WERR_OK) {
        s->n_deletes++;
        model_forget(t);
        producers_forget_topic(s, o->topic);
    } else if (code != WERR_INDETERMINATE && code != WERR_STORAGE_FULL &&
               code != WERR_SHUTTING_DOWN) {
        sim_fail(s, "topic %s: %s", t->name, rq->err.text);
    }
    free(o);
}

static void order(struct sim *s, unsigned topic, enum core_topic_verb verb)
{
    static const char *const names[SIM_TOPICS] = {"alpha", "beta", "gamma"};
    struct mtopic *t = &s->topics[topic];
    struct order *o = calloc(1, sizeof *o);
    struct topic_config *c = &o->rq.conf;

    snprintf(t->name, sizeof t->name, "%s", names[topic]);
    o->s = s;
    o->topic = topic;
    o->rq.verb = verb;
    o->rq.name = slice_str(names[topic]);
    o->rq.done = on_done;
    o->rq.arg = o;
    if (verb == CORE_TOPIC_CREATE) {
        c->set = TKEY_PARTITIONS | TKEY_DURABILITY | TKEY_RETENTION_MS;
        c->partitions = 1 + sim_below(s, 2);
        c->durability = sim_chance(s, 30) ? TOPIC_DURABILITY_OS : TOPIC_DURABILITY_DISK;
        c->retention_ms = sim_chance(s, 50) ? 0 : 30000 + sim_below(s, 60000);
    } else if (verb == CORE_TOPIC_ALTER) {
        switch (sim_below(s, 3)) {
        case 0:
            c->set = TKEY_PARTITIONS;
            c->partitions = t->n_parts < SIM_PARTS ? t->n_parts + 1 : t->n_parts;
            break;
        case 1:
            c->set = TKEY_RETENTION_MS;
            c->retention_ms = 30000 + sim_below(s, 100000);
            /* from now on the new limit may apply */
            if (t->retention_ms == 0 || (int64_t)c->retention_ms < t->retention_ms) {
                t->retention_ms = (int64_t)c->retention_ms;
            }
            break;
        default:
            c->set = TKEY_RETENTION_BYTES;
            c->retention_bytes = 2000 + sim_below(s, 20000);
            t->sized = true;
            break;
        }
    }
    t->unsure = true;
    core_topic_change(s->co, &o->rq);
}

void admin_create_missing(struct sim *s)
{
    for (unsigned t = 0; t < SIM_TOPICS; t++) {
        if (!s->topics[t].exists && !s->topics[t].unsure) {
            order(s, t, CORE_TOPIC_CREATE);
        }
    }
}

void admin_step(struct sim *s)
{
    const unsigned t = sim_below(s, SIM_TOPICS);

    if (s->topics[t].unsure) {
        return;
    }
    if (!s->topics[t].exists) {
        order(s, t, CORE_TOPIC_CREATE);
    } else {
        order(s, t, sim_chance(s, 75) ? CORE_TOPIC_ALTER : CORE_TOPIC_DELETE);
    }
}

void admin_restarted(struct sim *s)
{
    const uint64_t above = s->max_tid; /* several unfinished ones may turn up, in any order */

    for (unsigned i = 0; i < SIM_TOPICS; i++) {
        struct mtopic *t = &s->topics[i];
        const struct core_topic *ct = core_topic_by_name(s->co, slice_str(t->name));
        if (!t->unsure) {
            if (t->exists && (ct == NULL || core_topic_id(ct) != t->tid)) {
                sim_fail(s, "topic %s is gone after a restart", t->name);
            } else if (!t->exists && ct != NULL) {
                sim_fail(s, "deleted topic %s is back after a restart", t->name);
            }
            continue;
        }
        t->unsure = false;
        if (ct == NULL) {
            model_forget(t);
            producers_forget_topic(s, i);
        } else if (!t->exists || core_topic_id(ct) != t->tid) {
            producers_forget_topic(s, i);
            created(s, t, core_topic_id(ct), above, core_topic_config(ct));
        } else {
            altered(t, core_topic_config(ct));
        }
    }
}
