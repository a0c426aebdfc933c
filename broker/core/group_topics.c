/*
 * What topics that come, grow and go mean to groups. A group that knows a topic knows all of its
 * partitions: those that come later it wants from their first message, whoever is there by then.
 * Nothing can fail here but through dirty rows.
 */
#include "broker/core/group_impl.h"
#include "broker/core/mem.h"

/* ---------------------------------------------------------------- topics */

bool group_names_topic(const struct core_group *g, const struct core_topic *t)
{
    const struct member *m;

    for (m = g->members; m != NULL; m = m->hh.next) {
        for (uint32_t i = 0; i < m->n_topics; i++) {
            if (slice_eq(slice_str(m->topics[i]), slice_of(t->name, t->name_n))) {
                return true;
            }
        }
    }
    return false;
}

/* Partitions that the group meets after it began with the topic: it wants all that is in them. */
bool group_grow(struct core_group *g, struct core_topic *t)
{
    bool grew = false;

    for (uint32_t p = 0; p < t->n_parts; p++) {
        if (gpart_find(g, t->parts[p]->id) == NULL) {
            (void)gpart_make(g, t->parts[p], part_start(g->co, t->parts[p]));
            grew = true;
        }
    }
    return grew;
}

void groups_topic_changed(struct core *co, struct core_topic *t)
{
    for (size_t i = 0; i < co->n_groups && !t->hidden; i++) {
        struct core_group *g = co->group_names[i];
        const bool known = t->n_parts > 0 && gpart_find(g, t->parts[0]->id) != NULL;
        if (!g->deleting && (known || group_names_topic(g, t)) && group_grow(g, t)) {
            rebalance_want(g);
        }
    }
}

void groups_topic_rows_delete(struct core *co, struct core_topic *t, struct store_txn *txn)
{
    const struct gpart *gp;

    (void)co;
    for (uint32_t p = 0; p < t->n_parts; p++) {
        LIST_FOREACH (gp, &t->parts[p]->groups, of_part) {
            const struct meta_key k = gpart_key(gp->part_id, gp->group->gid);
            txn_delete(txn, TABLE_META, key_slice(&k));
            queue_rows_delete(gp->part_id, gp->group->gid, txn);
        }
    }
}

void groups_part_gone(struct core *co, struct part *pt)
{
    struct gpart *gp;

    if (pt->held) {
        co->gstats.holds--;
    }
    while ((gp = LIST_FIRST(&pt->groups)) != NULL) {
        struct core_group *g = gp->group;
        struct member *owner = gp->owner;
        gpart_free(gp);
        if (owner != NULL && owner->session != NULL && owner->joining == 0) {
            session_tell(owner->session, SESSION_CHANGED);
        }
        rebalance_want(g);
    }
}

void groups_part_raised(struct part *pt)
{
    struct gpart *gp, *next;

    for (gp = LIST_FIRST(&pt->groups); gp != NULL && gp->group->mode == GROUP_MODE_QUEUE;
         gp = next) {
        next = LIST_NEXT(gp, of_part);
        queue_raised(gp);
    }
}
