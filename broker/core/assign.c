/*
 * Sticky assignment. First everybody keeps what they have and still want; then what nobody has goes
 * to the least loaded member that wants it; then partitions move from the most to the least loaded,
 * one at a time, over other members where the wishes differ (a gives to b, b gives to c), until no
 * such move evens anything out.
 *
 * A move is a path in the graph "x has a partition that y wants"; a breadth-first search finds the
 * shortest one to the least loaded member within reach. Whoever passes a partition on passes the
 * one that it got last, so what it had from before stays if it can.
 */
#include "broker/core/assign.h"

#include "broker/core/mem.h"

static const uint32_t NONE = UINT32_MAX;

struct plan {
    const struct assign_member *members;
    struct assign_part *parts;
    uint32_t n_members, n_parts, n_topics;
    uint32_t *load;                     /* by member */
    uint32_t *wants, *wants_at;         /* members that want topic t: wants[wants_at[t]..] */
    uint32_t *head, *next;              /* partitions of a member: a list */
    uint32_t *from_member, *from_topic; /* of a search, by member */
    uint32_t *queue;
    bool *topic_seen, *settled;
};

/* ---------------------------------------------------------------- set-up */

static void plan_init(struct plan *pl)
{
    const uint32_t m = pl->n_members, t = pl->n_topics;
    size_t wishes = 0;

    for (uint32_t i = 0; i < m; i++) {
        wishes += pl->members[i].n_topics;
    }
    pl->load = core_calloc(m, sizeof *pl->load);
    pl->wants = core_calloc(wishes, sizeof *pl->wants);
    pl->wants_at = core_calloc((size_t)t + 1, sizeof *pl->wants_at);
    pl->head = core_calloc(m, sizeof *pl->head);
    pl->next = core_calloc(pl->n_parts, sizeof *pl->next);
    pl->from_member = core_calloc(m, sizeof *pl->from_member);
    pl->from_topic = core_calloc(m, sizeof *pl->from_topic);
    pl->queue = core_calloc(m, sizeof *pl->queue);
    pl->topic_seen = core_calloc(t, sizeof *pl->topic_seen);
    pl->settled = core_calloc(m, sizeof *pl->settled);
    for (uint32_t i = 0; i < m; i++) {
        pl->head[i] = NONE;
    }
}

static void plan_fini(struct plan *pl)
{
    free(pl->load);
    free(pl->wants);
    free(pl->wants_at);
    free(pl->head);
    free(pl->next);
    free(pl->from_member);
    free(pl->from_topic);
    free(pl->queue);
    free(pl->topic_seen);
    free(pl->settled);
}

/* Members by topic, in order; frozen ones want nothing. */
static void index_wishes(struct plan *pl)
{
    uint32_t *fill = core_calloc((size_t)pl->n_topics + 1, sizeof *fill);

    for (uint32_t i = 0; i < pl->n_members; i++) {
        const struct assign_member *m = &pl->members[i];
        for (uint32_t k = 0; k < m->n_topics && !m->frozen; k++) {
            pl->wants_at[m->topics[k] + 1]++;
        }
    }
    for (uint32_t t = 0; t < pl->n_topics; t++) {
        pl->wants_at[t + 1] += pl->wants_at[t];
        fill[t] = pl->wants_at[t];
    }
    for (uint32_t i = 0; i < pl->n_members; i++) {
        const struct assign_member *m = &pl->members[i];
        for (uint32_t k = 0; k < m->n_topics && !m->frozen; k++) {
            pl->wants[fill[m->topics[k]]++] = i;
        }
    }
    free(fill);
}

static bool wants(const struct plan *pl, uint32_t member, uint32_t topic)
{
    const uint32_t end = pl->wants_at[topic + 1];
    uint32_t lo = pl->wants_at[topic], hi = end;

    while (lo < hi) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if (pl->wants[mid] < member) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < end && pl->wants[lo] == member;
}

/* ---------------------------------------------------------------- keeping and filling */

static void give(struct plan *pl, uint32_t member, uint32_t part)
{
    pl->parts[part].target = (int32_t)member;
    pl->next[part] = pl->head[member];
    pl->head[member] = part;
    pl->load[member]++;
}

static void keep(struct plan *pl)
{
    for (uint32_t i = 0; i < pl->n_parts; i++) {
        struct assign_part *part = &pl->parts[i];
        part->target = -1;
        if (part->owner < 0) {
            continue;
        }
        if (pl->members[part->owner].frozen) {
            part->target = part->owner;
        } else if (wants(pl, (uint32_t)part->owner, part->topic)) {
            give(pl, (uint32_t)part->owner, i);
        }
    }
}

static void fill(struct plan *pl)
{
    for (uint32_t i = 0; i < pl->n_parts; i++) {
        const uint32_t topic = pl->parts[i].topic;
        uint32_t best = NONE;
        if (pl->parts[i].target >= 0) {
            continue;
        }
        for (uint32_t k = pl->wants_at[topic]; k < pl->wants_at[topic + 1]; k++) {
            if (best == NONE || pl->load[pl->wants[k]] < pl->load[best]) {
                best = pl->wants[k];
            }
        }
        if (best != NONE) {
            give(pl, best, i);
        }
    }
}

/* ---------------------------------------------------------------- evening out */

/* Visits who wants what x has; stops at a member with load `low`. Returns the queue's new end. */
static uint32_t search_from(struct plan *pl, uint32_t x, uint32_t end, uint32_t low)
{
    for (uint32_t i = pl->head[x]; i != NONE; i = pl->next[i]) {
        const uint32_t topic = pl->parts[i].topic;
        if (pl->topic_seen[topic]) {
            continue;
        }
        pl->topic_seen[topic] = true;
        for (uint32_t k = pl->wants_at[topic]; k < pl->wants_at[topic + 1]; k++) {
            const uint32_t y = pl->wants[k];
            if (pl->from_member[y] != NONE) {
                continue;
            }
            pl->from_member[y] = x;
            pl->from_topic[y] = topic;
            pl->queue[end++] = y;
            if (pl->load[y] == low) {
                return end;
            }
        }
    }
    return end;
}

/* The least loaded member that something of a can reach, the nearest of those; maybe a. */
static uint32_t search(struct plan *pl, uint32_t a, uint32_t low)
{
    uint32_t best = a, end = 1;

    for (uint32_t i = 0; i < pl->n_members; i++) {
        pl->from_member[i] = NONE;
    }
    for (uint32_t t = 0; t < pl->n_topics; t++) {
        pl->topic_seen[t] = false;
    }
    pl->from_member[a] = a;
    pl->queue[0] = a;
    for (uint32_t at = 0; at < end; at++) {
        const uint32_t x = pl->queue[at];
        best = pl->load[x] < pl->load[best] ? x : best;
        if (pl->load[best] == low) {
            break;
        }
        end = search_from(pl, x, end, low);
        if (pl->load[pl->queue[end - 1]] == low) {
            best = pl->queue[end - 1];
            break;
        }
    }
    return best;
}

/* y gives one partition of a topic to x, the one that it got last. */
static void pass_on(struct plan *pl, uint32_t y, uint32_t x, uint32_t topic)
{
    uint32_t *at = &pl->head[y];

    while (pl->parts[*at].topic != topic) { /* it has one: the search came along this way */
        at = &pl->next[*at];
    }
    const uint32_t part = *at;
    *at = pl->next[part];
    pl->load[y]--;
    give(pl, x, part);
}

static void even_out(struct plan *pl)
{
    for (;;) {
        uint32_t a = NONE, low = NONE;
        for (uint32_t i = 0; i < pl->n_members; i++) {
            if (pl->members[i].frozen) {
                continue;
            }
            low = pl->load[i] < low ? pl->load[i] : low;
            if (!pl->settled[i] && (a == NONE || pl->load[i] > pl->load[a])) {
                a = i;
            }
        }
        if (a == NONE || pl->load[a] < low + 2) {
            return;
        }
        uint32_t x = search(pl, a, low);
        if (pl->load[x] + 2 > pl->load[a]) {
            /* For good: whatever it reaches stays as it is, since nothing better is within reach
             * of any of those either. */
            pl->settled[a] = true;
            continue;
        }
        for (; x != a; x = pl->from_member[x]) {
            pass_on(pl, pl->from_member[x], x, pl->from_topic[x]);
        }
    }
}

void assign_plan(const struct assign_member *members, uint32_t n_members, struct assign_part *parts,
                 uint32_t n_parts, uint32_t n_topics)
{
    struct plan pl = {.members = members,
                      .parts = parts,
                      .n_members = n_members,
                      .n_parts = n_parts,
                      .n_topics = n_topics};

    plan_init(&pl);
    index_wishes(&pl);
    keep(&pl);
    fill(&pl);
    even_out(&pl);
    plan_fini(&pl);
}
