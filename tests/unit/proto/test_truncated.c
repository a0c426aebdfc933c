/* Every message, cut at every byte, with every argument missing, and with every byte changed. */
#include <stdlib.h>

#include "tests/unit/proto/args.h"
#include "tests/unit/proto/walk.h"

static enum werr walk(const struct sample *s, struct frame *f)
{
    struct werror e;
    enum werr_class cls;

    if (s->from == FROM_CLIENT) {
        return walk_request(f, &e);
    }
    if (f->kind == FRAME_RESPONSE && f->err.n > 1) {
        return frame_get_error(f->err, &e, &cls);
    }
    return walk_response(s->op, f, &e);
}

static void test_every_sample_is_read(void **state)
{
    size_t n;
    const struct sample *s = samples(&n);
    struct buf b = {0};

    (void)state;
    for (size_t i = 0; i < n; i++) {
        struct frame f = sample_frame(s[i].name, &b);
        enum werr rc = walk(&s[i], &f);

        if (rc != WERR_OK) {
            print_error("%s: %s\n", s[i].name, werr_name(rc));
        }
        assert_int_equal(rc, WERR_OK);
    }
    assert_true(walk_elements() > n);
    buf_fini(&b);
}

static void test_every_prefix_of_every_message_fails(void **state)
{
    size_t n;
    const struct sample *s = samples(&n);
    struct buf b = {0};

    (void)state;
    for (size_t i = 0; i < n; i++) {
        buf_clear(&b);
        sample_put(&s[i], &b);
        for (size_t cut = 0; cut < b.len - FRAME_HEAD; cut++) {
            uint8_t *exact = malloc(cut + 1);
            struct frame f;

            assert_non_null(exact);
            memcpy(exact + 1, b.p + FRAME_HEAD, cut);
            assert_int_equal(frame_parse(slice_of(exact + 1, cut), &f, NULL), WERR_MALFORMED);
            free(exact);
        }
    }
    buf_fini(&b);
}

/* Fewer arguments than a message must have are refused by its own decoder. */
static void test_missing_arguments(void **state)
{
    static const struct {
        const char *name;
        uint32_t must;
    } rows[] = {
        {"hello", 3},
        {"produce", 3},
        {"fetch", 4},
        {"subscribe", 3},
        {"credit", 1},
        {"sub_update", 3},
        {"list_offsets", 1},
        {"topic_create", 2},
        {"topic_delete", 1},
        {"topic_alter", 2},
        {"topic_describe", 1},
        {"hello_ok", 10},
        {"ping_ok", 1},
        {"init_producer_ok", 3},
        {"metadata_ok", 4},
        {"produce_ok", 4},
        {"sub_error", 3},
        {"going_away", 2},
        {"changed", 2},
        {"topic_ok", 2},
        {"topic_delete_ok", 2},
        {"topic_describe_ok", 5},
        {"ping", 0},
        {"metadata", 0},
        {"init_producer", 0},
        {"metrics", 0},
        {"server_connections", 2},
        {"server_connections_ok", 1},
        {"server_config", 0},
        {"backup_create", 0},
        {"backup_create_ok", 5},
        {"group_join", 4},
        {"group_join_ok", 5},
        {"heartbeat_owned", 3},
        {"heartbeat_ok", 2},
        {"group_leave", 3},
        {"fetch_for", 4},
        {"subscribe_for", 3},
        {"commit", 4},
        {"committed", 1},
        {"acquire", 8},
        {"settle", 4},
        {"produce_delayed", 3},
        {"produce_delayed_ok", 4},
        {"cancel_delayed", 2},
        {"delayed_list", 1},
        {"delayed_list_ok", 1},
        {"group_list", 0},
        {"group_list_ok", 1},
        {"group_describe", 1},
        {"group_describe_ok", 6},
        {"group_reset", 2},
        {"group_delete", 1},
        {"group_alter", 2},
        {"group_alter_ok", 1},
        {"dlq_list", 4},
        {"dlq_list_ok", 1},
        {"dlq_redrive", 2},
        {"dlq_purge", 2},
        {"dlq_redrive_ok", 2},
    };
    struct buf b = {0}, cut = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct sample *s = sample_find(rows[i].name);
        struct frame f = sample_frame(rows[i].name, &b);
        struct mpread all = f.args;
        uint32_t have = mpread_array(&all);
        const uint8_t *first = all.p;

        assert_true(have >= rows[i].must);
        for (uint32_t keep = 0; keep <= have; keep++) {
            buf_clear(&cut);
            mpw_array(&cut, keep);
            buf_put(&cut, first, (size_t)(all.p - first));
            mpread_init(&f.args, cut.p, cut.len);
            if (keep < rows[i].must) {
                assert_int_equal(walk(s, &f), WERR_MALFORMED);
            } else {
                assert_int_equal(walk(s, &f), WERR_OK);
                assert_true(s->op == OP_LIST_OFFSETS || s->op == OP_INIT_PRODUCER ||
                            mpread_done(&f.args));
            }
            (void)mpread_skip(&all);
        }
    }
    buf_fini(&b);
    buf_fini(&cut);
}

/* Any byte may come: decoders answer with an error or a value, and never read past the end. */
static void test_every_byte_changed(void **state)
{
    size_t n;
    const struct sample *s = samples(&n);
    struct buf b = {0};

    (void)state;
    for (size_t i = 0; i < n; i++) {
        uint8_t *exact;
        size_t len;

        buf_clear(&b);
        sample_put(&s[i], &b);
        len = b.len - FRAME_HEAD;
        exact = malloc(len);
        assert_non_null(exact);
        memcpy(exact, b.p + FRAME_HEAD, len);
        for (size_t at = 0; at < len; at++) {
            for (unsigned v = 0; v < 256; v += at < 16 ? 1 : 61) {
                struct frame f;

                exact[at] = (uint8_t)v;
                if (frame_parse(slice_of(exact, len), &f, NULL) == WERR_OK) {
                    (void)walk(&s[i], &f);
                }
            }
            exact[at] = b.p[FRAME_HEAD + at];
        }
        free(exact);
    }
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_sample_is_read),
        cmocka_unit_test(test_every_prefix_of_every_message_fails),
        cmocka_unit_test(test_missing_arguments),
        cmocka_unit_test(test_every_byte_changed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
