/*
 * Messages of members in log mode: GROUP_JOIN, GROUP_HEARTBEAT, GROUP_LEAVE, COMMIT, COMMITTED.
 * Happy path: the decoder passes a whole list once, then the caller walks it by an iterator that
 * cannot fail. What can fail: bytes that break the rules, lists and texts over their limits. Owns
 * nothing: everything is a view into the frame.
 */
#include "proto/msg_group.h"
#include "proto/msg_impl.h"

/* Words of the wire by number; NULL ends. */
static const char *const mode_words[] = {"log", "queue", NULL};
static const char *const order_words[] = {"none", "key", NULL};

static bool word_of(const char *const *words, struct slice s, uint32_t *out)
{
    for (uint32_t i = 0; words[i] != NULL; i++) {
        if (slice_eq(s, slice_str(words[i]))) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* ---- what an assignment looks like ---- */

static void put_assignment(struct buf *b, const struct msg_assigned *parts, size_t n)
{
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, 4);
        mpw_uint(b, parts[i].tid);
        mpw_uint(b, parts[i].p);
        mpw_uint(b, parts[i].epoch);
        mpw_uint(b, parts[i].offset);
    }
}

bool msg_next_assigned(struct mpread *r, struct msg_assigned *a)
{
    uint32_t left;

    if (!list_next(r)) {
        return false;
    }
    left = result_begin(r, 4);
    a->tid = mpread_uint(r, LIMIT_UINT);
    a->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    a->epoch = mpread_uint(r, LIMIT_UINT);
    a->offset = mpread_uint(r, LIMIT_UINT);
    return result_end(r, left, NULL) == WERR_OK;
}

/* A list of [tid, p]. */
static void put_tps(struct buf *b, const struct msg_tp *parts, size_t n)
{
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, 2);
        mpw_uint(b, parts[i].tid);
        mpw_uint(b, parts[i].p);
    }
}

static enum werr check_tp(struct mpread *r, struct werror *e)
{
    uint32_t left = args_begin(r, 2);

    (void)mpread_uint(r, LIMIT_UINT);
    (void)mpread_uint(r, UINT32_MAX);
    return args_end(r, left, e);
}

/* ---- GROUP_JOIN ---- */

void msg_put_join(struct buf *b, uint32_t corr, const struct msg_join *m,
                  const struct slice *topics, size_t n)
{
    size_t at = frame_begin_request(b, corr, OP_GROUP_JOIN);
    const bool start = m->start != OFFSET_SPEC_START;
    const bool order = m->order != GROUP_ORDER_NONE;

    mpw_array(b, 5);
    mpw_str(b, m->group);
    mpw_bin(b, m->member);
    mpw_nil(b); /* instance */
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_str(b, topics[i]);
    }
    mpw_map(b, 1 + (size_t)start + (size_t)order);
    mpw_cstr(b, "mode");
    put_mode(b, m->mode);
    if (start) {
        mpw_cstr(b, "start");
        mpw_int(b, m->start);
    }
    if (order) {
        mpw_cstr(b, "order");
        mpw_cstr(b, order_words[m->order]);
    }
    frame_end(b, at, 0);
}

struct join_options {
    struct slice mode, order; /* p = NULL: not given */
    int64_t start;
};

static bool join_option(void *arg, struct slice key, struct mpread *r)
{
    struct join_options *o = arg;

    if (slice_eq(key, slice_str("mode"))) {
        o->mode = mpread_str(r, LIMIT_NAME);
    } else if (slice_eq(key, slice_str("order"))) {
        o->order = mpread_str(r, LIMIT_NAME);
    } else if (slice_eq(key, slice_str("start"))) {
        o->start = mpread_int(r, OFFSET_SPEC_END, (int64_t)LIMIT_UINT);
    } else {
        return false;
    }
    return true;
}

/* A mode or order that is not known must not be taken for another one. */
static enum werr join_words(const struct join_options *o, struct msg_join *m, struct werror *e)
{
    uint32_t mode = GROUP_MODE_LOG, order = GROUP_ORDER_NONE;

    if (o->mode.p != NULL && !word_of(mode_words, o->mode, &mode)) {
        return werror_set(e, WERR_INVALID_CONFIG, "mode = %.*s: want log|queue", (int)o->mode.n,
                          (const char *)o->mode.p);
    }
    if (o->order.p != NULL && !word_of(order_words, o->order, &order)) {
        return werror_set(e, WERR_INVALID_CONFIG, "order = %.*s: want none|key", (int)o->order.n,
                          (const char *)o->order.p);
    }
    m->mode = (enum msg_group_mode)mode;
    m->order = (enum msg_group_order)order;
    m->start = o->start;
    return WERR_OK;
}

/* A topic's name of any length: the core says what is wrong with it. */
static enum werr check_name(struct mpread *r, struct werror *e)
{
    (void)mpread_str(r, LIMIT_FRAME);
    return read_error(r, e);
}

enum werr msg_get_join(struct mpread *r, struct msg_join *m, struct werror *e)
{
    struct join_options o = {.start = OFFSET_SPEC_START};
    uint32_t left = args_begin(r, 4);
    enum werr rc;

    *m = (struct msg_join){0};
    rc = read_group(r, &m->group, e);
    if (rc != WERR_OK) {
        return rc;
    }
    m->member = read_member(r);
    if (r->err == WERR_OK && !mpread_nil(r)) {
        return werror_set(e, WERR_UNSUPPORTED_FIELD, "instance is not known to this version");
    }
    rc = read_list(r, &m->topics, &m->n_topics, LIMIT_JOIN_TOPICS, "topics to join", check_name, e);
    if (rc != WERR_OK) {
        return rc;
    }
    rc = options_end(r, left, join_option, &o, e);
    return rc != WERR_OK ? rc : join_words(&o, m, e);
}

bool msg_next_name(struct mpread *r, struct slice *name)
{
    if (!list_next(r)) {
        return false;
    }
    *name = mpread_str(r, LIMIT_FRAME);
    return r->err == WERR_OK;
}

void msg_put_join_ok(struct buf *b, uint32_t corr, const struct msg_join_ok *m,
                     const struct msg_assigned *parts, size_t n)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 5);
    mpw_uint(b, m->epoch);
    mpw_uint(b, m->grace_ms);
    put_mode(b, m->mode);
    mpw_bool(b, m->resumed);
    put_assignment(b, parts, n);
    frame_end(b, at, 0);
}

enum werr msg_get_join_ok(struct mpread *r, struct msg_join_ok *m, struct werror *e)
{
    uint32_t left = result_begin(r, 5);

    m->epoch = mpread_uint(r, LIMIT_UINT);
    m->grace_ms = (uint32_t)mpread_uint(r, UINT32_MAX);
    m->mode = read_mode(r);
    m->resumed = mpread_bool(r);
    m->n_parts = list_skip(r, &m->parts);
    return result_end(r, left, e);
}

/* ---- GROUP_HEARTBEAT, GROUP_LEAVE ---- */

void msg_put_heartbeat(struct buf *b, uint32_t corr, const struct msg_who *who,
                       const struct msg_tp *owned, size_t n, bool has_owned)
{
    size_t at = frame_begin_request(b, corr, OP_GROUP_HEARTBEAT);

    mpw_array(b, has_owned ? 4 : 3);
    put_who(b, who);
    if (has_owned) {
        put_tps(b, owned, n);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_heartbeat(struct mpread *r, struct msg_heartbeat *m, struct werror *e)
{
    uint32_t left = args_begin(r, 3);
    enum werr rc;

    *m = (struct msg_heartbeat){0};
    rc = read_who(r, &m->who, e);
    if (rc != WERR_OK) {
        return rc;
    }
    if (left > 0) {
        left--;
        if (!mpread_nil(r)) {
            m->has_owned = true;
            rc = read_list(r, &m->owned, &m->n_owned, LIMIT_GROUP_PARTITIONS, "partitions owned",
                           check_tp, e);
            if (rc != WERR_OK) {
                return rc;
            }
        }
    }
    return args_end(r, left, e);
}

void msg_put_heartbeat_ok(struct buf *b, uint32_t corr, uint64_t epoch, bool has_parts,
                          const struct msg_assigned *parts, size_t n)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 2);
    mpw_uint(b, epoch);
    if (has_parts) {
        put_assignment(b, parts, n);
    } else {
        mpw_nil(b);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_heartbeat_ok(struct mpread *r, struct msg_heartbeat_ok *m, struct werror *e)
{
    uint32_t left = result_begin(r, 2);

    *m = (struct msg_heartbeat_ok){0};
    m->epoch = mpread_uint(r, LIMIT_UINT);
    if (!mpread_nil(r)) {
        m->has_parts = true;
        m->n_parts = list_skip(r, &m->parts);
    }
    return result_end(r, left, e);
}

void msg_put_leave(struct buf *b, uint32_t corr, const struct msg_who *who)
{
    size_t at = frame_begin_request(b, corr, OP_GROUP_LEAVE);

    mpw_array(b, 3);
    put_who(b, who);
    frame_end(b, at, 0);
}

enum werr msg_get_leave(struct mpread *r, struct msg_who *who, struct werror *e)
{
    uint32_t left = args_begin(r, 3);
    enum werr rc;

    *who = (struct msg_who){0};
    rc = read_who(r, who, e);
    return rc != WERR_OK ? rc : args_end(r, left, e);
}

/* ---- COMMIT ---- */

void msg_put_commit(struct buf *b, uint32_t corr, const struct msg_who *who,
                    const struct msg_commit_item *items, size_t n)
{
    size_t at = frame_begin_request(b, corr, OP_COMMIT);

    mpw_array(b, 4);
    put_who(b, who);
    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, items[i].note.n != 0 ? 4 : 3);
        mpw_uint(b, items[i].tid);
        mpw_uint(b, items[i].p);
        mpw_uint(b, items[i].offset);
        if (items[i].note.n != 0) {
            mpw_str(b, items[i].note);
        }
    }
    frame_end(b, at, 0);
}

static enum werr read_commit_item(struct mpread *r, struct msg_commit_item *it, struct werror *e)
{
    uint32_t left = args_begin(r, 3);
    enum werr rc;

    it->tid = mpread_uint(r, LIMIT_UINT);
    it->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    it->offset = mpread_uint(r, LIMIT_UINT);
    rc = read_text(r, &left, LIMIT_NOTE, "note", &it->note, e);
    return rc != WERR_OK ? rc : args_end(r, left, e);
}

static enum werr check_commit_item(struct mpread *r, struct werror *e)
{
    struct msg_commit_item it;

    return read_commit_item(r, &it, e);
}

enum werr msg_get_commit(struct mpread *r, struct msg_commit *m, struct werror *e)
{
    uint32_t left = args_begin(r, 4);
    enum werr rc;

    *m = (struct msg_commit){0};
    rc = read_who(r, &m->who, e);
    if (rc != WERR_OK) {
        return rc;
    }
    rc = read_list(r, &m->items, &m->n_items, LIMIT_COMMIT_ITEMS, "partitions in a commit",
                   check_commit_item, e);
    return rc != WERR_OK ? rc : args_end(r, left, e);
}

bool msg_next_commit_item(struct mpread *r, struct msg_commit_item *it)
{
    return list_next(r) && read_commit_item(r, it, NULL) == WERR_OK;
}

void msg_put_results(struct buf *b, uint32_t corr, const struct werror *err, size_t n)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        frame_put_error_array(b, &err[i], NULL, 0);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_results(struct mpread *r, uint32_t *n, struct werror *e)
{
    *n = mpread_array(r);
    return read_error(r, e);
}

enum werr msg_get_result(struct mpread *r, struct werror *result, enum werr_class *cls,
                         struct werror *e)
{
    (void)read_item_error(r, result, cls, NULL);
    return read_error(r, e);
}

/* ---- COMMITTED ---- */

void msg_put_committed(struct buf *b, uint32_t corr, struct slice group, const struct msg_tp *parts,
                       size_t n)
{
    size_t at = frame_begin_request(b, corr, OP_COMMITTED);

    mpw_array(b, n != 0 ? 2 : 1);
    mpw_str(b, group);
    if (n != 0) {
        put_tps(b, parts, n);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_committed(struct mpread *r, struct msg_committed_rq *m, struct werror *e)
{
    uint32_t left = args_begin(r, 1);
    enum werr rc;

    *m = (struct msg_committed_rq){.all = true};
    rc = read_group(r, &m->group, e);
    if (rc != WERR_OK) {
        return rc;
    }
    if (left > 0) {
        left--;
        if (!mpread_nil(r)) {
            m->all = false;
            rc = read_list(r, &m->parts, &m->n_parts, LIMIT_GROUP_PARTITIONS,
                           "partitions asked for", check_tp, e);
            if (rc != WERR_OK) {
                return rc;
            }
        }
    }
    return args_end(r, left, e);
}

void msg_put_committed_ok(struct buf *b, uint32_t corr, const struct msg_committed *c, size_t n)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, n);
    for (size_t i = 0; i < n; i++) {
        mpw_array(b, 5);
        mpw_uint(b, c[i].tid);
        mpw_uint(b, c[i].p);
        mpw_uint(b, c[i].offset);
        mpw_int(b, c[i].ts_ms);
        put_str_or_nil(b, c[i].note);
    }
    frame_end(b, at, 0);
}

enum werr msg_get_committed_ok(struct mpread *r, uint32_t *n, struct werror *e)
{
    *n = mpread_array(r);
    return read_error(r, e);
}

enum werr msg_get_committed_one(struct mpread *r, struct msg_committed *c, struct werror *e)
{
    uint32_t left = result_begin(r, 5);

    c->tid = mpread_uint(r, LIMIT_UINT);
    c->p = (uint32_t)mpread_uint(r, UINT32_MAX);
    c->offset = mpread_uint(r, LIMIT_UINT);
    c->ts_ms = mpread_int(r, 0, INT64_MAX);
    c->note = str_or_nil(r, LIMIT_FRAME);
    return result_end(r, left, e);
}
