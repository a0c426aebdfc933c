/*
 * Groups at start and at the end: reads their rows, brings back who owned what (away, with a grace
 * time), completes topics that grew right before a crash; closing answers what waits and frees.
 *
 * What can fail: a row that is damaged, newer, or belongs to nothing: the broker does not start.
 */
#include "broker/core/group_impl.h"
#include "broker/core/mem.h"
#include "proto/mpread.h"

/* ---------------------------------------------------------------- rows */

struct load {
    struct core *co;
    struct part_list parts;
    struct core_group **groups; /* by gid */
    size_t n_groups, cap_groups;
};

static enum werr load_group(void *arg, struct slice key, struct slice value)
{
    struct load *l = arg;
    struct group_config c;
    struct mpread r;

    mpread_init(&r, value.p, value.n);
    const uint32_t n = mpread_array(&r);
    const uint64_t version = mpread_uint(&r, UINT32_MAX);
    if (r.err == WERR_OK && version > GROUP_ROW_VERSION) {
        return WERR_FORMAT_NEWER;
    }
    const uint64_t gid = mpread_uint(&r, LIMIT_UINT);
    const struct slice name = mpread_str(&r, LIMIT_NAME);
    const uint64_t mode = mpread_uint(&r, GROUP_MODE_QUEUE);
    const int64_t created_ms = mpread_int(&r, INT64_MIN, INT64_MAX);
    const int64_t seen_ms = mpread_int(&r, INT64_MIN, INT64_MAX);
    const int64_t start = mpread_int(&r, INT64_MIN, INT64_MAX);
    const uint64_t generation = mpread_uint(&r, UINT64_MAX);
    const struct meta_key want = group_key(gid);
    group_config_defaults(&c, (enum msg_group_mode)mode);
    if (n != 9 || r.err != WERR_OK || name.n == 0 ||
        group_config_get(&r, false, &c, NULL) != WERR_OK || !mpread_done(&r) ||
        !slice_eq(key, key_slice(&want)) || group_lookup(l->co, name) != NULL) {
        return WERR_CORRUPT;
    }
    struct core_group *g = group_make(l->co, name, gid, (enum msg_group_mode)mode);
    g->conf = c;
    g->created_ms = created_ms;
    g->seen_ms = g->row_seen_ms = seen_ms;
    g->start = start;
    g->generation = g->durable_generation = generation;
    if (l->n_groups == l->cap_groups) {
        l->cap_groups = l->cap_groups > 0 ? 2 * l->cap_groups : 64;
        l->groups = core_realloc(l->groups, l->cap_groups, sizeof(struct core_group *));
    }
    l->groups[l->n_groups++] = g; /* keys come in order */
    return WERR_OK;
}

static struct core_group *group_by_gid(const struct load *l, uint64_t gid)
{
    size_t lo = 0, hi = l->n_groups;

    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (l->groups[mid]->gid < gid) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < l->n_groups && l->groups[lo]->gid == gid ? l->groups[lo] : NULL;
}

static void load_owner(struct gpart *gp, const uint8_t *id)
{
    struct member *m = member_find(gp->group, id);

    m = m != NULL ? m : member_restore(gp->group, id);
    gp->owner = gp->target = m;
    TAILQ_INSERT_TAIL(&m->owned, gp, by_owner);
}

static enum werr load_part(void *arg, struct slice key, struct slice value)
{
    struct load *l = arg;
    const uint8_t *row = value.p;
    size_t n = GPART_ROW_BYTES;

    if (key.n != 13 || value.n < n || row[25] > 1) {
        return WERR_CORRUPT;
    }
    if (row[0] != GPART_ROW_VERSION) {
        return row[0] > GPART_ROW_VERSION ? WERR_FORMAT_NEWER : WERR_CORRUPT;
    }
    n += row[25] != 0 ? MSG_MEMBER_BYTES : 0;
    const uint32_t part_id = be32(key.p + 1);
    struct core_group *g = group_by_gid(l, be64(key.p + 5));
    struct part *pt = part_list_find(&l->parts, part_id);
    if (value.n < n || value.n > n + LIMIT_NOTE || g == NULL || pt == NULL) {
        return WERR_CORRUPT;
    }
    struct gpart *gp = gpart_link(g, pt, be64(row + 1));
    gp->committed_ms = gp->pending_ms = (int64_t)be64(row + 9);
    gp->assign_epoch = be64(row + 17);
    if (row[25] != 0) {
        load_owner(gp, row + GPART_ROW_BYTES);
    }
    if (value.n > n) {
        gp->note = core_calloc(1, value.n - n + 1);
        memcpy(gp->note, row + n, value.n - n);
        gp->pending_note = core_strdup(gp->note);
    }
    if (g->mode == GROUP_MODE_QUEUE) {
        queue_part_new(gp);
    }
    return WERR_OK;
}

static enum werr load_table(struct load *l, enum meta_tag tag, store_row_fn fn, const char *what,
                            struct werror *e)
{
    const struct meta_key lo = meta_key(tag), hi = meta_key_after(&lo);
    struct werror why = {0};
    const enum werr rc =
        store_scan(l->co->st, TABLE_META, key_slice(&lo), key_slice(&hi), fn, l, &why);

    if (rc == WERR_OK) {
        return rc;
    }
    return why.code != WERR_OK ? werror_set(e, rc, "%s: %s", what, why.text)
                               : werror_set(e, rc, "a row of %s is damaged", what);
}

static enum werr load_rows(struct core *co, struct werror *e)
{
    struct load l = {.co = co};
    enum werr rc;

    topic_parts(co, &l.parts);
    rc = load_table(&l, META_GROUP, load_group, "groups", e);
    if (rc == WERR_OK) {
        rc = load_table(&l, META_GPART, load_part, "positions of groups", e);
    }
    free(l.parts.p);
    free(l.groups);
    return rc;
}

/* ---------------------------------------------------------------- opening and closing */

/* A crash may lie between a topic's growth and the rows of its new partitions. */
static void complete_topics(struct core_group *g)
{
    const size_t n = HASH_COUNT(g->parts);
    struct core_topic **topics = core_calloc(n, sizeof(struct core_topic *));
    const uint32_t mark = ++g->co->plan_mark;
    struct gpart *gp;
    size_t k = 0;

    for (gp = g->parts; gp != NULL; gp = gp->hh.next) {
        struct core_topic *t = gp->part->topic;
        if (t->plan_mark != mark) {
            t->plan_mark = mark;
            topics[k++] = t;
        }
    }
    for (size_t i = 0; i < k; i++) {
        (void)group_grow(g, topics[i]);
    }
    free(topics);
}

enum werr group_load(struct core *co, struct werror *e)
{
    enum werr rc = load_rows(co, e);

    if (rc == WERR_OK) {
        rc = queue_load(co, e);
    }
    for (size_t i = 0; rc == WERR_OK && i < co->n_groups; i++) {
        struct core_group *g = co->group_names[i];
        complete_topics(g);
        if (g->mode == GROUP_MODE_QUEUE) {
            queue_conf_changed(g); /* its queue was made before its settings were known */
        }
        group_pause_look(g);
    }
    return rc;
}

void group_fini(struct core *co)
{
    dlq_fini(co);
    joins_fini(co);
    lags_fini(co);
    while (co->n_groups > 0) {
        group_discard(co->group_names[co->n_groups - 1]);
    }
    timer_unset(&co->timers, &co->groups_retry);
    sessions_fini(co);
    free(co->group_names);
    co->group_names = NULL;
}
