/* What a person sees of groups: rows of a list, everything about one, figures. */
#include <stdio.h>

#include "broker/core/group_impl.h"
#include "broker/core/mem.h"

/* Offsets below the log start are lost: they are no lag. */
static uint64_t first_unread(const struct core *co, const struct gpart *gp)
{
    const uint64_t start = part_start(co, gp->part), at = gpart_position(gp);

    return at > start ? at : start;
}

/* ---------------------------------------------------------------- one partition */

static void fill_part(struct core *co, struct gpart *gp, bool refresh, struct msg_group_part *out)
{
    const struct part *pt = gp->part;
    const uint64_t from = first_unread(co, gp);

    *out = (struct msg_group_part){.topic = slice_of(pt->topic->name, pt->topic->name_n),
                                   .tid = pt->topic->tid,
                                   .p = pt->p,
                                   .position = gpart_position(gp),
                                   .hw = pt->hw,
                                   .log_start = part_start(co, pt)};
    if (gp->group->mode == GROUP_MODE_LOG) {
        if (gp->owner != NULL) {
            out->owner = slice_of(gp->owner->id, MSG_MEMBER_BYTES);
        }
        out->next = gp->handed_out > gp->committed ? gp->handed_out : gp->committed;
        out->in_flight = gp->owner != NULL ? out->next - gp->committed : 0; /* with whom else? */
        out->lag_msgs = pt->hw > from ? pt->hw - from : 0;
    } else {
        struct queue_figures f = {0};
        queue_figures(gp, &f);
        out->next = f.next;
        out->in_flight = f.leased;
        out->retrying = f.retrying;
        out->lag_msgs = f.lag;
        out->oldest_lease_ms = f.oldest_lease_ms;
        if (f.oldest_holder != NULL) {
            out->oldest_holder = slice_of(f.oldest_holder->id, MSG_MEMBER_BYTES);
        }
    }
    out->lag_ms = out->lag_msgs > 0 ? gpart_lag_ms(gp, from, refresh) : 0;
}

/* ---------------------------------------------------------------- the row */

static bool rebalancing(const struct core_group *g)
{
    for (const struct gpart *gp = g->parts; gp != NULL; gp = gp->hh.next) {
        if (gp->owner != gp->target || gp->granting) {
            return true;
        }
    }
    return g->plan_wanted;
}

static struct slice state_of(struct core *co, const struct core_group *g)
{
    const uint64_t until = g->conf.paused_until_ms;
    const char *blocked = NULL;

    if (group_paused(g)) {
        if (until == LIMIT_UINT) {
            return slice_str("paused");
        }
        snprintf(co->group_state, sizeof co->group_state, "paused until %llu",
                 (unsigned long long)until);
        return slice_str(co->group_state);
    }
    if (!group_is_live(g)) {
        return slice_str("empty");
    }
    if (g->mode == GROUP_MODE_LOG) {
        return slice_str(rebalancing(g) ? "rebalancing" : "active");
    }
    blocked = queue_blocked(g);
    return slice_str(blocked != NULL ? blocked : "active");
}

void core_group_row(struct core *co, struct core_group *g, struct msg_group_row *row)
{
    *row = (struct msg_group_row){.name = slice_of(g->name, g->name_n),
                                  .mode = g->mode,
                                  .state = state_of(co, g),
                                  .members = HASH_COUNT(g->members)};
    for (struct gpart *gp = g->parts; gp != NULL; gp = gp->hh.next) {
        struct msg_group_part part;
        if (gpart_is_dlq(gp)) {
            continue; /* dead letters wait for a person, not for a member */
        }
        fill_part(co, gp, false, &part);
        row->partitions++;
        row->lag_msgs += part.lag_msgs;
        row->lag_ms = part.lag_ms > row->lag_ms ? part.lag_ms : row->lag_ms;
        row->in_flight += part.in_flight;
    }
}

/* ---------------------------------------------------------------- everything */

static void fill_member(const struct member *m, struct msg_group_member *out)
{
    const struct gpart *gp;

    *out = (struct msg_group_member){.member = slice_of(m->id, MSG_MEMBER_BYTES),
                                     .client = slice_str(m->client),
                                     .address = slice_str(m->address),
                                     .epoch = m->epoch,
                                     .in_flight = m->leased,
                                     .since_ms = m->since_ms,
                                     .away = m->session == NULL};
    TAILQ_FOREACH (gp, &m->owned, by_owner) {
        out->partitions++;
        out->in_flight += gp->handed_out > gp->committed ? gp->handed_out - gp->committed : 0;
    }
}

static int by_topic(const void *a, const void *b)
{
    const struct gpart *const *x = a, *const *y = b;
    const struct core_topic *s = (*x)->part->topic, *t = (*y)->part->topic;

    if (s != t) {
        const size_t n = s->name_n < t->name_n ? s->name_n : t->name_n;
        const int c = memcmp(s->name, t->name, n);
        return c != 0 ? c : (int)s->name_n - (int)t->name_n;
    }
    return (*x)->part->p < (*y)->part->p ? -1 : (*x)->part->p > (*y)->part->p;
}

void core_group_describe(struct core *co, struct core_group *g, struct msg_group_describe *d,
                         struct msg_group_member **members, size_t *n_members,
                         struct msg_group_part **parts, size_t *n_parts)
{
    struct gpart **sorted;
    size_t n = 0;

    core_group_row(co, g, &d->row);
    d->created_ms = g->created_ms;
    d->epoch = g->durable_generation;
    d->conf = g->conf;
    *members = core_calloc(HASH_COUNT(g->members), sizeof **members);
    for (struct member *m = g->members; m != NULL; m = m->hh.next) {
        fill_member(m, &(*members)[n++]);
    }
    *n_members = n;
    n = 0;
    sorted = core_calloc(HASH_COUNT(g->parts), sizeof(struct gpart *));
    for (struct gpart *gp = g->parts; gp != NULL; gp = gp->hh.next) {
        if (!gp->part->topic->hidden) {
            sorted[n++] = gp;
        }
    }
    if (n > 0) {
        qsort(sorted, n, sizeof(struct gpart *), by_topic);
    }
    *parts = core_calloc(n, sizeof **parts);
    for (size_t i = 0; i < n; i++) {
        fill_part(co, sorted[i], true, &(*parts)[i]);
    }
    *n_parts = n;
    free(sorted);
}

/* ---------------------------------------------------------------- figures */

void core_group_stats(struct core *co, struct core_group_stats *s)
{
    *s = co->gstats;
    s->groups = co->n_groups;
    s->members = s->leased = 0;
    for (size_t i = 0; i < co->n_groups; i++) {
        const struct core_group *g = co->group_names[i];
        s->members += HASH_COUNT(g->members);
        if (g->mode == GROUP_MODE_QUEUE) {
            s->leased += queue_leased(g);
        }
    }
}
