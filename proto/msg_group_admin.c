/*
 * Messages for people and tools about groups: GROUP_LIST, GROUP_DESCRIBE, GROUP_RESET,
 * GROUP_DELETE, GROUP_ALTER.
 */
#include "proto/msg_group.h"
#include "proto/msg_impl.h"

/* ---- GROUP_LIST ---- */

void msg_put_group_list(struct buf *b, uint32_t corr, struct slice after, uint32_t limit)
{
    size_t at = frame_begin_request(b, corr, OP_GROUP_LIST);

    mpw_array(b, 1);
    put_page(b, after, limit);
    frame_end(b, at, 0);
}

enum werr msg_get_group_list(struct mpread *r, struct slice *after, uint32_t *limit,
                             struct werror *e)
{
    return page_end(r, args_begin(r, 0), after, limit, e);
}

size_t msg_begin_group_list_ok(struct buf *b, uint32_t corr, size_t n)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 2);
    mpw_array(b, n);
    return at;
}

/* 0 = nil: nothing to be told about. */
static void put_uint_or_nil(struct buf *b, uint64_t v)
{
    if (v != 0) {
        mpw_uint(b, v);
    } else {
        mpw_nil(b);
    }
}

static uint64_t uint_or_nil(struct mpread *r)
{
    return mpread_nil(r) ? 0 : mpread_uint(r, LIMIT_UINT);
}

void msg_put_group_row(struct buf *b, const struct msg_group_row *g)
{
    mpw_array(b, 8);
    mpw_str(b, g->name);
    put_mode(b, g->mode);
    mpw_str(b, g->state);
    mpw_uint(b, g->members);
    mpw_uint(b, g->partitions);
    mpw_uint(b, g->lag_msgs);
    put_uint_or_nil(b, g->lag_ms);
    mpw_uint(b, g->in_flight);
}

void msg_end_group_list_ok(struct buf *b, size_t begin, struct slice next)
{
    put_str_or_nil(b, next);
    frame_end(b, begin, 0);
}

static enum werr read_group_row(struct mpread *r, struct msg_group_row *g, struct werror *e)
{
    uint32_t left = result_begin(r, 8);

    g->name = mpread_str(r, LIMIT_FRAME);
    g->mode = read_mode(r);
    g->state = mpread_str(r, LIMIT_FRAME);
    g->members = (uint32_t)mpread_uint(r, UINT32_MAX);
    g->partitions = (uint32_t)mpread_uint(r, UINT32_MAX);
    g->lag_msgs = mpread_uint(r, LIMIT_UINT);
    g->lag_ms = uint_or_nil(r);
    g->in_flight = mpread_uint(r, LIMIT_UINT);
    return result_end(r, left, e);
}

enum werr msg_get_group_list_ok(struct mpread *r, struct msg_group_list_ok *m, struct werror *e)
{
    uint32_t left = result_begin(r, 1);

    m->n_groups = list_skip(r, &m->groups);
    m->next = (struct slice){NULL, 0};
    if (left > 0) {
        left--;
        m->next = str_or_nil(r, LIMIT_FRAME);
    }
    return result_end(r, left, e);
}

bool msg_next_group_row(struct mpread *r, struct msg_group_row *g)
{
    return list_next(r) && read_group_row(r, g, NULL) == WERR_OK;
}

/* ---- GROUP_DESCRIBE ---- */

void msg_put_group_describe(struct buf *b, uint32_t corr, struct slice group)
{
    size_t at = frame_begin_request(b, corr, OP_GROUP_DESCRIBE);

    mpw_array(b, 1);
    mpw_str(b, group);
    frame_end(b, at, 0);
}

enum werr msg_get_group_name(struct mpread *r, struct slice *group, struct werror *e)
{
    uint32_t left = args_begin(r, 1);
    enum werr rc = read_group(r, group, e);

    return rc != WERR_OK ? rc : args_end(r, left, e);
}

static void put_group_member(struct buf *b, const struct msg_group_member *m)
{
    mpw_array(b, 8);
    mpw_bin(b, m->member);
    mpw_str(b, m->client);
    mpw_str(b, m->address);
    mpw_uint(b, m->epoch);
    mpw_uint(b, m->partitions);
    mpw_uint(b, m->in_flight);
    mpw_int(b, m->since_ms);
    mpw_bool(b, m->away);
}

/* A member's id in a result, where it may be missing. */
static void put_member_or_nil(struct buf *b, struct slice member)
{
    if (member.n != 0) {
        mpw_bin(b, member);
    } else {
        mpw_nil(b);
    }
}

static void put_group_part(struct buf *b, const struct msg_group_part *p)
{
    mpw_array(b, 14);
    mpw_str(b, p->topic);
    mpw_uint(b, p->tid);
    mpw_uint(b, p->p);
    put_member_or_nil(b, p->owner);
    mpw_uint(b, p->position);
    mpw_uint(b, p->next);
    mpw_uint(b, p->hw);
    mpw_uint(b, p->log_start);
    mpw_uint(b, p->lag_msgs);
    put_uint_or_nil(b, p->lag_ms);
    mpw_uint(b, p->in_flight);
    mpw_uint(b, p->retrying);
    if (p->oldest_holder.n != 0) {
        mpw_uint(b, p->oldest_lease_ms);
    } else {
        mpw_nil(b);
    }
    put_member_or_nil(b, p->oldest_holder);
}

void msg_put_group_describe_ok(struct buf *b, uint32_t corr, const struct msg_group_describe *d,
                               const struct msg_group_member *members, size_t n_members,
                               const struct msg_group_part *parts, size_t n_parts)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 6);
    msg_put_group_row(b, &d->row);
    mpw_int(b, d->created_ms);
    mpw_uint(b, d->epoch);
    group_config_put(b, &d->conf, true);
    mpw_array(b, n_members);
    for (size_t i = 0; i < n_members; i++) {
        put_group_member(b, &members[i]);
    }
    mpw_array(b, n_parts);
    for (size_t i = 0; i < n_parts; i++) {
        put_group_part(b, &parts[i]);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_group_describe_ok(struct mpread *r, struct msg_group_describe_ok *m,
                                    struct werror *e)
{
    uint32_t left = result_begin(r, 6);
    enum werr rc;

    *m = (struct msg_group_describe_ok){0};
    rc = read_group_row(r, &m->d.row, e);
    if (rc != WERR_OK) {
        return rc;
    }
    m->d.created_ms = mpread_int(r, 0, INT64_MAX);
    m->d.epoch = mpread_uint(r, LIMIT_UINT);
    group_config_defaults(&m->d.conf, m->d.row.mode);
    rc = group_config_get(r, false, &m->d.conf, e);
    if (rc != WERR_OK) {
        return rc;
    }
    m->n_members = list_skip(r, &m->members);
    m->n_parts = list_skip(r, &m->parts);
    return result_end(r, left, e);
}

bool msg_next_group_member(struct mpread *r, struct msg_group_member *m)
{
    uint32_t left;

    if (!list_next(r)) {
        return false;
    }
    left = result_begin(r, 8);
    m->member = mpread_bin(r, LIMIT_FRAME);
    m->client = mpread_str(r, LIMIT_FRAME);
    m->address = mpread_str(r, LIMIT_FRAME);
    m->epoch = mpread_uint(r, LIMIT_UINT);
    m->partitions = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->in_flight = mpread_uint(r, LIMIT_UINT);
    m->since_ms = mpread_int(r, 0, INT64_MAX);
    m->away = mpread_bool(r);
    return result_end(r, left, NULL) == WERR_OK;
}

static struct slice member_or_nil(struct mpread *r)
{
    return mpread_nil(r) ? (struct slice){NULL, 0} : mpread_bin(r, LIMIT_FRAME);
}

bool msg_next_group_part(struct mpread *r, struct msg_group_part *p)
{
    uint32_t left;

    if (!list_next(r)) {
        return false;
    }
    left = result_begin(r, 14);
    p->topic = mpread_str(r, LIMIT_FRAME);
    p->tid = mpread_uint(r, LIMIT_UINT);
    p->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    p->owner = member_or_nil(r);
    p->position = mpread_uint(r, LIMIT_UINT);
    p->next = mpread_uint(r, LIMIT_UINT);
    p->hw = mpread_uint(r, LIMIT_UINT);
    p->log_start = mpread_uint(r, LIMIT_UINT);
    p->lag_msgs = mpread_uint(r, LIMIT_UINT);
    p->lag_ms = uint_or_nil(r);
    p->in_flight = mpread_uint(r, LIMIT_UINT);
    p->retrying = mpread_uint(r, LIMIT_UINT);
    p->oldest_lease_ms = uint_or_nil(r);
    p->oldest_holder = member_or_nil(r);
    return result_end(r, left, NULL) == WERR_OK;
}

/* ---- options of RESET, DELETE and ALTER ---- */

struct flags {
    bool *force; /* NULL: this operation has no such option */
    bool *dry_run;
};

static bool flag_option(void *arg, struct slice key, struct mpread *r)
{
    const struct flags *f = arg;

    if (f->force != NULL && slice_eq(key, slice_str("force"))) {
        *f->force = mpread_bool(r);
        return true;
    }
    if (slice_eq(key, slice_str("dry_run"))) {
        *f->dry_run = mpread_bool(r);
        return true;
    }
    return false;
}

/* ---- GROUP_RESET ---- */

void msg_put_reset(struct buf *b, uint32_t corr, struct slice group,
                   const struct msg_reset_item *items, size_t n, bool force, bool dry_run)
{
    size_t at = frame_begin_request(b, corr, OP_GROUP_RESET);

    mpw_array(b, 3);
    mpw_str(b, group);
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, 3);
        mpw_uint(b, items[i].tid);
        mpw_uint(b, items[i].p);
        mpw_uint(b, items[i].offset);
    }
    put_flags(b, force, dry_run);
    frame_end(b, at, 0);
}

static enum werr read_reset_item(struct mpread *r, struct msg_reset_item *it, struct werror *e)
{
    uint32_t left = args_begin(r, 3);

    it->tid = mpread_uint(r, LIMIT_UINT);
    it->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    it->offset = mpread_uint(r, LIMIT_UINT);
    return args_end(r, left, e);
}

static enum werr check_reset_item(struct mpread *r, struct werror *e)
{
    struct msg_reset_item it;

    return read_reset_item(r, &it, e);
}

enum werr msg_get_reset(struct mpread *r, struct msg_reset *m, struct werror *e)
{
    struct flags flags = {&m->force, &m->dry_run};
    uint32_t left = args_begin(r, 2);
    enum werr rc;

    *m = (struct msg_reset){0};
    rc = read_group(r, &m->group, e);
    if (rc != WERR_OK) {
        return rc;
    }
    rc = read_list(r, &m->items, &m->n_items, LIMIT_GROUP_PARTITIONS, "partitions to reset",
                   check_reset_item, e);
    return rc != WERR_OK ? rc : options_end(r, left, flag_option, &flags, e);
}

bool msg_next_reset_item(struct mpread *r, struct msg_reset_item *it)
{
    return list_next(r) && read_reset_item(r, it, NULL) == WERR_OK;
}

void msg_put_reset_ok(struct buf *b, uint32_t corr, const struct msg_reset_result *res, size_t n)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, 5);
        mpw_uint(b, res[i].tid);
        mpw_uint(b, res[i].p);
        mpw_uint(b, res[i].old);
        mpw_uint(b, res[i].new_offset);
        frame_put_error_array(b, &res[i].err, NULL, 0);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_reset_ok(struct mpread *r, uint32_t *n, struct werror *e)
{
    *n = mpread_array(r);
    return read_error(r, e);
}

enum werr msg_get_reset_result(struct mpread *r, struct msg_reset_result *res, struct werror *e)
{
    uint32_t left = result_begin(r, 5);
    enum werr_class cls;

    res->tid = mpread_uint(r, LIMIT_UINT);
    res->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    res->old = mpread_uint(r, LIMIT_UINT);
    res->new_offset = mpread_uint(r, LIMIT_UINT);
    (void)read_item_error(r, &res->err, &cls, NULL);
    return result_end(r, left, e);
}

/* ---- GROUP_DELETE, GROUP_ALTER ---- */

void msg_put_group_delete(struct buf *b, uint32_t corr, const struct msg_group_delete *m)
{
    size_t at = frame_begin_request(b, corr, OP_GROUP_DELETE);

    mpw_array(b, 2);
    mpw_str(b, m->group);
    put_flags(b, m->force, m->dry_run);
    frame_end(b, at, 0);
}

enum werr msg_get_group_delete(struct mpread *r, struct msg_group_delete *m, struct werror *e)
{
    struct flags flags = {&m->force, &m->dry_run};
    uint32_t left = args_begin(r, 1);
    enum werr rc;

    *m = (struct msg_group_delete){0};
    rc = read_group(r, &m->group, e);
    return rc != WERR_OK ? rc : options_end(r, left, flag_option, &flags, e);
}

void msg_put_group_alter(struct buf *b, uint32_t corr, const struct msg_group_alter *m)
{
    size_t at = frame_begin_request(b, corr, OP_GROUP_ALTER);

    mpw_array(b, 3);
    mpw_str(b, m->group);
    group_config_put(b, &m->conf, false);
    put_flags(b, false, m->dry_run);
    frame_end(b, at, 0);
}

enum werr msg_get_group_alter(struct mpread *r, struct msg_group_alter *m, struct werror *e)
{
    struct flags flags = {NULL, &m->dry_run};
    uint32_t left = args_begin(r, 2);
    enum werr rc;

    *m = (struct msg_group_alter){0};
    group_config_defaults(&m->conf, GROUP_MODE_LOG);
    rc = read_group(r, &m->group, e);
    if (rc != WERR_OK) {
        return rc;
    }
    rc = group_config_get(r, true, &m->conf, e);
    return rc != WERR_OK ? rc : options_end(r, left, flag_option, &flags, e);
}

void msg_put_group_alter_ok(struct buf *b, uint32_t corr, const struct group_config *c)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 1);
    group_config_put(b, c, true);
    frame_end(b, at, 0);
}

enum werr msg_get_group_alter_ok(struct mpread *r, struct group_config *c, struct werror *e)
{
    uint32_t left = result_begin(r, 1);
    enum werr rc;

    group_config_defaults(c, GROUP_MODE_LOG);
    rc = group_config_get(r, false, c, e);
    return rc != WERR_OK ? rc : result_end(r, left, e);
}
