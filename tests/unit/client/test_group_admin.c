/* Administration of groups, dead letters and delayed messages. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/client/rig.h"

struct seen {
    char text[64];
    int64_t last;
    int n, state;
};

static void on_group(void *user, const weir_group_info *info)
{
    struct seen *s = user;

    strcat(s->text, info->name);
    strcat(s->text, info->mode);
    assert_int_equal(info->lag_messages, 4);
    s->n++;
}

static void groups(void **state)
{
    struct rig r;
    weir_group *g = NULL;
    struct seen s = {.n = 0};

    (void)state;
    rig_init(&r, NULL);
    assert_int_equal(weir_group_list(r.w, on_group, &s, 1000).outcome, WEIR_DONE);
    assert_string_equal(s.text, "g1logg2queue");
    assert_int_equal(weir_group_list(r.w, NULL, NULL, 1000).code, WEIR_E_MISUSE);
    assert_int_equal(weir_group_describe(r.w, "g1", &g, 1000).outcome, WEIR_DONE);
    assert_string_equal(weir_group_get_info(g)->state, "paused");
    assert_int_equal(weir_group_created_ms(g), 123);
    assert_string_equal(weir_group_member(g, 0)->member, "ab010000000000000000000000000000");
    assert_string_equal(weir_group_member(g, 0)->client, "app");
    assert_int_equal(weir_group_member(g, 0)->away, 1);
    assert_null(weir_group_member(g, 1));
    assert_string_equal(weir_group_partition(g, 0)->owner, weir_group_member(g, 0)->member);
    assert_null(weir_group_partition(g, 0)->oldest_holder);
    assert_null(weir_group_partition(g, 1)->owner);
    assert_string_equal(weir_group_partition(g, 1)->oldest_holder, weir_group_member(g, 0)->member);
    assert_null(weir_group_partition(g, 2));
    assert_string_equal(weir_group_config(g, "max_deliver"), "16");
    assert_null(weir_group_config(g, "nope"));
    weir_group_free(g);
    assert_int_equal(weir_group_describe(r.w, "nope", &g, 1000).code, WEIR_E_UNKNOWN_GROUP);
    assert_int_equal(weir_group_describe(r.w, "a b", &g, 1000).outcome, WEIR_NOT_DONE);
    assert_int_equal(
        weir_group_alter(r.w, "g1", "max_deliver=3 max_rate=500/s", 0, &g, 1000).outcome,
        WEIR_DONE);
    assert_string_equal(weir_group_config(g, "max_deliver"), "3");
    assert_string_equal(weir_group_config(g, "max_rate"), "500");
    weir_group_free(g);
    assert_int_equal(weir_group_alter(r.w, "g1", "max_deliver=x", 0, NULL, 1000).code,
                     WEIR_E_INVALID_CONFIG);
    assert_int_equal(weir_group_delete(r.w, "g1", 0, 1000).code, WEIR_E_GROUP_BUSY);
    assert_int_equal(weir_group_delete(r.w, "g1", WEIR_FORCE, 1000).outcome, WEIR_DONE);
    assert_non_null(weir_group_config_keys()[0]);
    weir_group_free(NULL);
    rig_fini(&r);
}

static void seek(void **state)
{
    struct rig r;
    weir_seek s[2] = {{"t", 0, 7, -1}, {"t", 1, 8, -1}};
    weir_error e;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 2);
    assert_int_equal(weir_group_seek(r.w, "g", s, 2, 0, 1000).outcome, WEIR_DONE);
    assert_int_equal(s[1].from, 42);
    s[1].to = 5000;
    e = weir_group_seek(r.w, "g", s, 2, 0, 1000);
    assert_int_equal(e.code, WEIR_E_OFFSET_OUT_OF_RANGE);
    assert_non_null(strstr(e.text, "topic t partition 1"));
    s[1].partition = 2;
    assert_int_equal(weir_group_seek(r.w, "g", s, 2, 0, 1000).code, WEIR_E_UNKNOWN_TOPIC);
    rig_fini(&r);
}

static void on_range(void *user, int64_t first, int64_t last, int state)
{
    struct seen *s = user;

    s->n += (int)(last - first + 1);
    s->last = last;
    s->state = state;
}

static void dead_letters(void **state)
{
    enum { MANY = 25000 };
    weir_span *spans = calloc(MANY, sizeof *spans);
    struct rig r;
    struct seen s = {.n = 0};
    uint64_t moved = 0, skipped = 0;

    (void)state;
    rig_init(&r, NULL);
    assert_int_equal(weir_dlq_list(r.w, "t~g~dlq", 0, on_range, &s, 1000).outcome, WEIR_DONE);
    assert_int_equal(s.n, 6);
    assert_int_equal(s.last, 20);
    assert_int_equal(s.state, 2);
    for (int i = 0; i < MANY; i++) {
        spans[i] = (weir_span){0, i, i};
    }
    assert_int_equal(
        weir_dlq_redrive(r.w, "t~g~dlq", spans, MANY, 0, 0, &moved, &skipped, 1000).outcome,
        WEIR_DONE);
    assert_int_equal(moved, MANY); /* in several requests */
    assert_int_equal(skipped, 3);
    assert_int_equal(weir_dlq_purge(r.w, "t~g~dlq", spans, 2, 0, &moved, &skipped, 1000).outcome,
                     WEIR_DONE);
    assert_int_equal(moved, 2);
    spans[1].last = 0;
    assert_int_equal(weir_dlq_purge(r.w, "t~g~dlq", spans, 2, 0, NULL, NULL, 1000).code,
                     WEIR_E_MISUSE);
    free(spans);
    rig_fini(&r);
}

static int on_scheduled(void *user, const weir_scheduled *x)
{
    struct seen *s = user;

    assert_string_equal(x->id, "d-1");
    assert_int_equal(x->messages, 2);
    s->n++;
    return s->state;
}

static void schedule(void **state)
{
    const char *ids[600];
    struct rig r;
    struct seen s = {.state = 1};
    int status[600];

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 2);
    assert_int_equal(weir_schedule_list(r.w, "t", on_scheduled, &s, 1000).outcome, WEIR_DONE);
    assert_int_equal(s.n, 2);
    s = (struct seen){.state = 0}; /* stops after the first */
    assert_int_equal(weir_schedule_list(r.w, "t", on_scheduled, &s, 1000).outcome, WEIR_DONE);
    assert_int_equal(s.n, 1);
    for (int i = 0; i < 600; i++) {
        ids[i] = i % 2 ? "dddd" : "ddd";
    }
    assert_int_equal(weir_schedule_cancel(r.w, "t", ids, 600, status, 1000).outcome, WEIR_DONE);
    assert_int_equal(status[598], WEIR_CANCELLED);
    assert_int_equal(status[599], WEIR_DELIVERED);
    ids[0] = "";
    assert_int_equal(weir_schedule_cancel(r.w, "t", ids, 1, status, 1000).code, WEIR_E_MISUSE);
    assert_int_equal(weir_schedule_list(r.w, "nope", on_scheduled, &s, 1000).code,
                     WEIR_E_UNKNOWN_TOPIC);
    rig_fini(&r);
}

static void ignore_group(void *user, const weir_group_info *info)
{
    (void)user;
    (void)info;
}

static void ignore_range(void *user, int64_t first, int64_t last, int state)
{
    (void)user;
    (void)first;
    (void)last;
    (void)state;
}

static int ignore_scheduled(void *user, const weir_scheduled *s)
{
    (void)user;
    (void)s;
    return 1;
}

/* Whatever a broken server sends: an error or an object, no crash, no leak. */
static void damaged_answers(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 200; seed++) {
        struct rig r;
        weir_group *g = NULL;
        weir_seek s = {"t", 0, 7, -1};
        const weir_span span = {0, 0, 9};
        const char *id = "x";
        uint64_t n;
        int status;

        rig_init(&r, NULL);
        fake_topic_add(r.fb, "t", 1);
        (void)weir_ping(r.w, NULL, 1000);
        r.flip = seed * 7919;
        (void)weir_group_list(r.w, ignore_group, NULL, 50);
        (void)weir_group_describe(r.w, "g", &g, 50);
        weir_group_free(g);
        (void)weir_group_alter(r.w, "g", "max_deliver=3", 0, NULL, 50);
        (void)weir_group_seek(r.w, "g", &s, 1, 0, 50);
        (void)weir_dlq_list(r.w, "t~g~dlq", 0, ignore_range, NULL, 50);
        (void)weir_dlq_redrive(r.w, "t~g~dlq", &span, 1, 0, 0, &n, &n, 50);
        (void)weir_schedule_list(r.w, "t", ignore_scheduled, NULL, 50);
        (void)weir_schedule_cancel(r.w, "t", &id, 1, &status, 50);
        rig_fini(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups),          cmocka_unit_test(seek),
        cmocka_unit_test(dead_letters),    cmocka_unit_test(schedule),
        cmocka_unit_test(damaged_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
