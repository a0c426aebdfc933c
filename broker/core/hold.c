/*
 * The unread guard: messages that a group seen in the last 7 days has not read are kept past
 * retention, within a budget per topic. Past the budget only that topic refuses to be produced to,
 * and says which group it waits for.
 *
 * Retention asks for the hold of a partition each time it would trim, and tells what it could not
 * delete (held_age, held_size of the partition). Nothing here is durable: it follows from positions
 * and from when groups were seen. Nothing can fail.
 */
#include "broker/core/group_impl.h"

static const int64_t DAY_MS = INT64_C(24) * 3600 * 1000;
static const int64_t HOLD_MS = INT64_C(7) * 24 * 3600 * 1000;
static const int64_t LOOK_APART_NS = INT64_C(100) * 1000000;
enum { RETRY_MS = 1000 };

static bool has_session(const struct core_group *g)
{
    for (const struct member *m = g->members; m != NULL; m = m->hh.next) {
        if (m->session != NULL) {
            return true;
        }
    }
    return false;
}

/* Dead letters keep to the retention of their topic: they wait for a person. */
static bool holds(const struct gpart *gp, int64_t now_ms)
{
    const struct core_group *g = gp->group;

    return !g->deleting && !gpart_is_dlq(gp) && (now_ms - g->seen_ms < HOLD_MS || has_session(g));
}

/* The gpart that is furthest behind of those that hold. NULL: nobody holds anything. */
static const struct gpart *holder(struct core *co, const struct part *pt)
{
    const int64_t now_ms = core_wall_ms(co);
    const struct gpart *gp, *found = NULL;

    if (pt->topic->conf.unread == TOPIC_UNREAD_DROP) {
        return NULL;
    }
    LIST_FOREACH (gp, &pt->groups, of_part) {
        if ((found == NULL || gp->committed < found->committed) && holds(gp, now_ms)) {
            found = gp;
        }
    }
    return found;
}

uint64_t retention_hold_offset(struct core *co, const struct part *pt)
{
    const struct gpart *gp = holder(co, pt);

    return gp != NULL ? gp->committed : UINT64_MAX;
}

/* ---------------------------------------------------------------- the budget */

static uint64_t held_bytes(const struct core_topic *t)
{
    uint64_t sum = 0;

    for (uint32_t p = 0; p < t->n_parts; p++) {
        const struct part *pt = t->parts[p];
        sum += pt->held_age > pt->held_size ? pt->held_age : pt->held_size;
    }
    return sum;
}

static uint64_t hold_budget(struct core *co, const struct core_topic *t)
{
    struct store_stats s;

    if (t->conf.hold_bytes > 0) {
        return t->conf.hold_bytes;
    }
    store_stats(co->st, &s);
    if (s.free_bytes == 0) { /* in memory, or full: then nobody produces anyway */
        return UINT64_MAX;
    }
    return (s.disk_bytes + s.free_bytes) / 10;
}

/* A partition is held, or not any more. */
static void count_held(struct core *co, struct part *pt)
{
    const bool held = pt->held_age > 0 || pt->held_size > 0;

    if (held && !pt->held) {
        co->gstats.holds++;
    } else if (!held && pt->held) {
        co->gstats.holds--;
    }
    pt->held = held;
}

void hold_topic_done(struct core *co, struct core_topic *t)
{
    for (uint32_t p = 0; p < t->n_parts; p++) {
        count_held(co, t->parts[p]);
    }
    const uint64_t held = held_bytes(t);
    const bool over = held > 0 && held > hold_budget(co, t);

    if (over && !t->held_over) {
        core_log(co, 1, "hold_full", "topic=%.*s held_bytes=%llu budget_bytes=%llu", (int)t->name_n,
                 t->name, (unsigned long long)held, (unsigned long long)hold_budget(co, t));
    } else if (!over && t->held_over) {
        core_log(co, 2, "hold_over", "topic=%.*s held_bytes=%llu", (int)t->name_n, t->name,
                 (unsigned long long)held);
    }
    t->held_over = over;
}

/* Who is furthest behind in bytes held, to name it. */
static const struct gpart *topic_holder(struct core *co, const struct core_topic *t)
{
    const struct part *most = NULL;

    for (uint32_t p = 0; p < t->n_parts; p++) {
        const struct part *pt = t->parts[p];
        if (most == NULL || pt->held_age + pt->held_size > most->held_age + most->held_size) {
            most = pt;
        }
    }
    return most != NULL ? holder(co, most) : NULL;
}

enum werr hold_check_produce(struct core *co, const struct part *pt, struct werror *e)
{
    struct core_topic *t = pt->topic;

    if (!t->held_over) {
        return WERR_OK;
    }
    if (core_mono_ns(co) - t->held_mono_ns >= LOOK_APART_NS) {
        t->held_mono_ns = core_mono_ns(co);
        retention_look(co, t); /* a group may have read on */
    }
    if (!t->held_over) {
        return WERR_OK;
    }
    const struct gpart *gp = topic_holder(co, t);
    werror_set(e, WERR_RETENTION_HELD,
               "topic %.*s keeps %llu bytes that group %s has not read; the budget (hold.bytes) is "
               "%llu",
               (int)t->name_n, t->name, (unsigned long long)held_bytes(t),
               gp != NULL ? gp->group->name : "?", (unsigned long long)hold_budget(co, t));
    e->retry_after_ms = RETRY_MS;
    return e->code;
}

/* ---------------------------------------------------------------- warnings */

static const struct gpart *unread(const struct core_group *g)
{
    for (const struct gpart *gp = g->parts; gp != NULL; gp = gp->hh.next) {
        if (gp->committed < gp->part->hw && !gpart_is_dlq(gp) &&
            gp->part->topic->conf.unread == TOPIC_UNREAD_KEEP) {
            return gp;
        }
    }
    return NULL;
}

void hold_run(struct core *co, int64_t now_ms)
{
    for (size_t i = 0; i < co->n_groups; i++) {
        struct core_group *g = co->group_names[i];
        if (g->deleting) {
            continue;
        }
        if (has_session(g)) {
            group_seen(g); /* silent members too, and the row knows it within an hour */
            continue;
        }
        const int64_t ends_ms = g->seen_ms + HOLD_MS;
        if (g->hold_warned || ends_ms - now_ms > DAY_MS || ends_ms <= now_ms) {
            continue;
        }
        const struct gpart *gp = unread(g);
        g->hold_warned = true;
        if (gp != NULL) {
            core_log(co, 1, "hold_ends_soon",
                     "group=%s topic=%.*s partition=%u ends_ms=%lld action=\"unread messages are "
                     "kept no longer unless the group is seen\"",
                     g->name, (int)gp->part->topic->name_n, gp->part->topic->name, gp->part->p,
                     (long long)ends_ms);
        }
    }
}
