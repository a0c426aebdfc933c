/* Every limit of the messages of groups: n is taken, n + 1 is TOO_LARGE (and named). */
#include <stdlib.h>

#include "proto/msg_group.h"
#include "tests/unit/proto/args.h"

static const uint8_t id[MSG_MEMBER_BYTES] = {1};

static struct msg_who who(void)
{
    return (struct msg_who){slice_str("g"), slice_of(id, sizeof id), 1};
}

/* Zeroed memory for n elements of that size. */
static void *many(size_t n, size_t bytes)
{
    void *p = calloc(n, bytes);

    assert_non_null(p);
    return p;
}

static void expect(enum werr rc, bool fits, const struct werror *e)
{
    assert_int_equal(rc, fits ? WERR_OK : WERR_TOO_LARGE);
    assert_true(fits || strstr(e->text, "limit") != NULL);
}

/* ---- lists ---- */

static void put_join(struct buf *b, size_t n)
{
    const struct msg_join m = {.group = slice_str("g"), .member = slice_of(id, sizeof id)};
    struct slice *names = many(n, sizeof *names);

    msg_put_join(b, 1, &m, names, n);
    free(names);
}

static void put_heartbeat(struct buf *b, size_t n)
{
    const struct msg_who w = who();
    struct msg_tp *owned = many(n, sizeof *owned);

    msg_put_heartbeat(b, 1, &w, owned, n, true);
    free(owned);
}

static void put_commit(struct buf *b, size_t n)
{
    const struct msg_who w = who();
    struct msg_commit_item *items = many(n, sizeof *items);

    msg_put_commit(b, 1, &w, items, n);
    free(items);
}

static void put_committed(struct buf *b, size_t n)
{
    struct msg_tp *parts = many(n, sizeof *parts);

    msg_put_committed(b, 1, slice_str("g"), parts, n);
    free(parts);
}

static void put_settle(struct buf *b, size_t n)
{
    const struct msg_who w = who();
    struct msg_settle_item *items = many(n, sizeof *items);

    msg_put_settle(b, 1, &w, items, n);
    free(items);
}

static void put_reset(struct buf *b, size_t n)
{
    struct msg_reset_item *items = many(n, sizeof *items);

    msg_put_reset(b, 1, slice_str("g"), items, n, false, false);
    free(items);
}

static void put_redrive(struct buf *b, size_t n)
{
    struct msg_dlq_span *spans = many(n, sizeof *spans);

    msg_put_dlq_redrive(b, 1, slice_str("t"), spans, n, 0, false);
    free(spans);
}

static void put_purge(struct buf *b, size_t n)
{
    struct msg_dlq_span *spans = many(n, sizeof *spans);

    msg_put_dlq_purge(b, 1, slice_str("t"), spans, n, false);
    free(spans);
}

static void put_cancel(struct buf *b, size_t n)
{
    struct slice *ids = many(n, sizeof *ids);

    msg_put_cancel(b, 1, 1, ids, n);
    free(ids);
}

static enum werr get(struct frame *f, struct werror *e)
{
    struct msg_join join;
    struct msg_heartbeat beat;
    struct msg_commit commit;
    struct msg_committed_rq committed;
    struct msg_settle settle;
    struct msg_reset reset;
    struct msg_dlq_move move;
    struct msg_cancel_rq cancel;

    switch (f->op) {
    case OP_GROUP_JOIN:
        return msg_get_join(&f->args, &join, e);
    case OP_GROUP_HEARTBEAT:
        return msg_get_heartbeat(&f->args, &beat, e);
    case OP_COMMIT:
        return msg_get_commit(&f->args, &commit, e);
    case OP_COMMITTED:
        return msg_get_committed(&f->args, &committed, e);
    case OP_SETTLE:
        return msg_get_settle(&f->args, &settle, e);
    case OP_GROUP_RESET:
        return msg_get_reset(&f->args, &reset, e);
    case OP_DLQ_REDRIVE:
        return msg_get_dlq_redrive(&f->args, &move, e);
    case OP_DLQ_PURGE:
        return msg_get_dlq_purge(&f->args, &move, e);
    default:
        assert_int_equal(f->op, OP_CANCEL_DELAYED);
        return msg_get_cancel(&f->args, &cancel, e);
    }
}

static void test_lists(void **state)
{
    static const struct {
        void (*put)(struct buf *b, size_t n);
        size_t limit;
    } rows[] = {
        {put_join, LIMIT_JOIN_TOPICS},    {put_heartbeat, LIMIT_GROUP_PARTITIONS},
        {put_commit, LIMIT_COMMIT_ITEMS}, {put_committed, LIMIT_GROUP_PARTITIONS},
        {put_settle, LIMIT_SETTLE_ITEMS}, {put_reset, LIMIT_GROUP_PARTITIONS},
        {put_redrive, LIMIT_DLQ_SPANS},   {put_purge, LIMIT_DLQ_SPANS},
        {put_cancel, LIMIT_CANCEL_IDS},
    };
    struct buf b = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t n = rows[i].limit; n <= rows[i].limit + 1; n++) {
            struct werror e = {0};
            struct frame f;

            buf_clear(&b);
            rows[i].put(&b, n);
            f = parse_frame(&b);
            expect(get(&f, &e), n == rows[i].limit, &e);
        }
    }
    buf_fini(&b);
}

/* ---- texts ---- */

static void test_texts(void **state)
{
    char text[LIMIT_REASON + 1];
    const struct msg_who w = who();
    struct buf b = {0};

    (void)state;
    memset(text, 'x', sizeof text);
    for (size_t more = 0; more < 2; more++) {
        const struct msg_commit_item ci = {.note = slice_of(text, LIMIT_NOTE + more)};
        const struct msg_settle_item si = {.verb = VERB_NACK,
                                           .reason = slice_of(text, LIMIT_REASON + more)};
        const struct slice delayed = slice_of(text, LIMIT_DELAY_ID + more);
        struct werror e = {0};
        struct frame f;

        buf_clear(&b);
        msg_put_commit(&b, 1, &w, &ci, 1);
        f = parse_frame(&b);
        expect(get(&f, &e), more == 0, &e);
        buf_clear(&b);
        msg_put_settle(&b, 1, &w, &si, 1);
        f = parse_frame(&b);
        expect(get(&f, &e), more == 0, &e);
        buf_clear(&b);
        msg_put_cancel(&b, 1, 1, &delayed, 1);
        f = parse_frame(&b);
        expect(get(&f, &e), more == 0, &e);
    }
    buf_fini(&b);
}

/* A group's name is a name: 1 to 100 characters, in every request that has one. */
static void test_group_names(void **state)
{
    char text[LIMIT_NAME + 1];
    struct buf b = {0};

    (void)state;
    memset(text, 'x', sizeof text);
    for (size_t n = LIMIT_NAME; n <= LIMIT_NAME + 1; n++) {
        const struct msg_who w = {slice_of(text, n), slice_of(id, sizeof id), 1};
        const enum werr want = n == LIMIT_NAME ? WERR_OK : WERR_INVALID_CONFIG;
        struct msg_who got;
        struct slice name;
        struct frame f;

        buf_clear(&b);
        msg_put_leave(&b, 1, &w);
        f = parse_frame(&b);
        assert_int_equal(msg_get_leave(&f.args, &got, NULL), want);
        buf_clear(&b);
        msg_put_group_describe(&b, 1, w.group);
        f = parse_frame(&b);
        assert_int_equal(msg_get_group_name(&f.args, &name, NULL), want);
    }
    buf_fini(&b);
}

/* ---- numbers ---- */

static enum werr acquire(struct msg_acquire m)
{
    struct msg_acquire got;
    struct buf b = {0};
    struct frame f;
    enum werr rc;

    m.who = who();
    msg_put_acquire(&b, 1, &m);
    f = parse_frame(&b);
    rc = msg_get_acquire(&f.args, &got, NULL);
    buf_fini(&b);
    return rc;
}

static void test_acquire(void **state)
{
    const struct msg_acquire fine = {.max_msgs = 1, .attempt = 1};
    struct msg_acquire m = fine;

    (void)state;
    assert_int_equal(acquire(m), WERR_OK);
    m.max_msgs = 0;
    assert_int_equal(acquire(m), WERR_INVALID_CONFIG);
    m.max_msgs = LIMIT_ACQUIRE_MSGS;
    assert_int_equal(acquire(m), WERR_OK);
    m.max_msgs++;
    assert_int_equal(acquire(m), WERR_TOO_LARGE);
    m = fine;
    m.max_wait_ms = LIMIT_ACQUIRE_WAIT_MS;
    assert_int_equal(acquire(m), WERR_OK);
    m.max_wait_ms++;
    assert_int_equal(acquire(m), WERR_TOO_LARGE);
    m = fine;
    m.lease_ms = LIMIT_LEASE_MIN_MS - 1;
    assert_int_equal(acquire(m), WERR_INVALID_CONFIG);
    m.lease_ms = LIMIT_LEASE_MIN_MS;
    assert_int_equal(acquire(m), WERR_OK);
    m.lease_ms = LIMIT_LEASE_MAX_MS;
    assert_int_equal(acquire(m), WERR_OK);
    m.lease_ms++;
    assert_int_equal(acquire(m), WERR_TOO_LARGE);
    m = fine;
    m.attempt = 0;
    assert_int_equal(acquire(m), WERR_INVALID_CONFIG);
    m.attempt = LIMIT_UINT;
    assert_int_equal(acquire(m), WERR_OK);
    m.attempt++;
    assert_int_equal(acquire(m), WERR_MALFORMED);
}

static void test_pages(void **state)
{
    struct buf b = {0};

    (void)state;
    for (uint32_t more = 0; more < 2; more++) {
        const struct msg_dlq_list want = {slice_str("t"), 0, 0, LIMIT_DLQ_SPANS + more};
        struct msg_dlq_list got;
        struct slice after;
        struct frame f;
        uint64_t tid;
        uint32_t limit;

        buf_clear(&b);
        msg_put_dlq_list(&b, 1, &want);
        f = parse_frame(&b);
        assert_int_equal(msg_get_dlq_list(&f.args, &got, NULL),
                         more == 0 ? WERR_OK : WERR_TOO_LARGE);
        buf_clear(&b);
        msg_put_group_list(&b, 1, slice_of(NULL, 0), LIMIT_PAGE + more);
        f = parse_frame(&b);
        assert_int_equal(msg_get_group_list(&f.args, &after, &limit, NULL),
                         more == 0 ? WERR_OK : WERR_MALFORMED);
        buf_clear(&b);
        msg_put_delayed_list(&b, 1, 1, slice_of(NULL, 0), LIMIT_PAGE + more);
        f = parse_frame(&b);
        assert_int_equal(msg_get_delayed_list(&f.args, &tid, &after, &limit, NULL),
                         more == 0 ? WERR_OK : WERR_MALFORMED);
    }
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),   cmocka_unit_test(test_texts),
        cmocka_unit_test(test_acquire), cmocka_unit_test(test_group_names),
        cmocka_unit_test(test_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
