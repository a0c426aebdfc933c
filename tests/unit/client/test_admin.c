/* Administration, and the rules of handles: NULL, bad URLs, callbacks, the pull API. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/client/rig.h"

static void topic_life(void **state)
{
    struct rig r;
    weir_topic *t = NULL;
    weir_partition_info p;
    uint64_t bytes = 0;
    weir_error e;

    (void)state;
    rig_init(&r, NULL);
    e = weir_topic_create(r.w, "t", "partitions=3 retention=7d durability=os", 0, &t, 1000);
    assert_int_equal(e.outcome, WEIR_DONE);
    assert_string_equal(weir_topic_name(t), "t");
    assert_int_equal(weir_topic_partitions(t), 3);
    assert_string_equal(weir_topic_config(t, "retention.ms"), "604800000");
    assert_string_equal(weir_topic_config(t, "durability"), "os");
    assert_null(weir_topic_config(t, "nope"));
    assert_int_equal(weir_topic_partition(t, 0, &p), -1); /* not described */
    weir_topic_free(t);
    e = weir_topic_create(r.w, "t", NULL, 0, NULL, 1000);
    assert_int_equal(e.code, WEIR_E_EXISTS);
    e = weir_topic_alter(r.w, "t", "retention=1h", 0, &t, 1000);
    assert_int_equal(e.outcome, WEIR_DONE);
    assert_string_equal(weir_topic_config(t, "retention.ms"), "3600000");
    weir_topic_free(t);
    e = weir_topic_describe(r.w, "t", &t, 1000);
    assert_int_equal(e.outcome, WEIR_DONE);
    assert_int_equal(weir_topic_partitions(t), 3);
    assert_int_equal(weir_topic_partition(t, 2, &p), 0);
    assert_int_equal(p.partition, 2);
    assert_int_equal(weir_topic_partition(t, 3, &p), -1);
    assert_true(weir_topic_created_ms(t) > 0);
    weir_topic_free(t);
    e = weir_topic_delete(r.w, "t", WEIR_DRY_RUN, &bytes, 1000);
    assert_int_equal(e.outcome, WEIR_DONE);
    assert_int_equal(bytes, 4711);
    assert_non_null(fake_topic(r.fb, "t"));
    e = weir_topic_delete(r.w, "t", 0, NULL, 1000);
    assert_int_equal(e.outcome, WEIR_DONE);
    e = weir_topic_describe(r.w, "t", &t, 1000);
    assert_int_equal(e.code, WEIR_E_UNKNOWN_TOPIC);
    assert_int_equal(e.outcome, WEIR_NOT_DONE);
    rig_fini(&r);
}

static void bad_topic_arguments(void **state)
{
    struct rig r;
    weir_error e;

    (void)state;
    rig_init(&r, NULL);
    e = weir_topic_create(r.w, "a b", NULL, 0, NULL, 100);
    assert_int_equal(e.outcome, WEIR_NOT_DONE);
    e = weir_topic_create(r.w, NULL, NULL, 0, NULL, 100);
    assert_int_equal(e.outcome, WEIR_NOT_DONE);
    e = weir_topic_create(r.w, "t", "partition=3", 0, NULL, 100);
    assert_int_equal(e.code, WEIR_E_INVALID_CONFIG);
    e = weir_topic_create(r.w, "t", "partitions", 0, NULL, 100);
    assert_int_equal(e.code, WEIR_E_INVALID_CONFIG);
    assert_int_equal(r.connects, 0); /* none of it needs the server */
    assert_int_equal(r.w->conn.n_slots, 0);
    rig_fini(&r);
}

static void count_topics(void *user, const weir_topic *t)
{
    assert_non_null(weir_topic_config(t, "durability"));
    assert_int_equal(weir_topic_partitions(t), 2);
    ++*(int *)user;
}

static void count_metrics(void *user, const char *name, const char *label, const char *label_value,
                          uint64_t value)
{
    int n = ++*(int *)user;

    assert_string_equal(name, n == 1 ? "weir_a" : "weir_b");
    assert_string_equal(label, n == 1 ? "" : "topic");
    assert_string_equal(label_value, n == 1 ? "" : "x");
    assert_int_equal(value, n);
}

static void listings(void **state)
{
    struct rig r;
    int topics = 0, metrics = 0;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "a", 2);
    fake_topic_add(r.fb, "b", 2);
    assert_int_equal(weir_topic_list(r.w, count_topics, &topics, 1000).outcome, WEIR_DONE);
    assert_int_equal(topics, 2);
    assert_int_equal(weir_metrics(r.w, NULL, count_metrics, &metrics, 1000).outcome, WEIR_DONE);
    assert_int_equal(metrics, 2);
    assert_int_equal(weir_topic_list(r.w, NULL, NULL, 1000).code, WEIR_E_MISUSE);
    assert_int_equal(r.w->conn.n_slots, 0);
    rig_fini(&r);
}

struct seen {
    uint64_t n, stop_after;
    int reloads;
};

static int count_conns(void *user, const weir_connection_info *info)
{
    struct seen *s = user;

    assert_int_equal(info->id, s->n);
    assert_string_equal(info->client, "c/1");
    assert_string_equal(info->address, "unix");
    assert_string_equal(info->state, "ready");
    assert_string_equal(info->waits_for, "");
    return ++s->n != s->stop_after;
}

static void count_settings(void *user, const weir_setting_info *info)
{
    struct seen *s = user;

    assert_string_equal(info->key, s->n == 0 ? "memory" : "inflight");
    assert_string_equal(info->value, s->n == 0 ? "256M" : "64M");
    assert_string_equal(info->source, s->n == 0 ? "default" : "--inflight");
    s->reloads += info->reloads;
    s->n++;
}

static void the_server_itself(void **state)
{
    struct rig r;
    struct seen all = {0}, three = {.stop_after = 3}, settings = {0};
    weir_backup_info backup;

    (void)state;
    rig_init(&r, NULL);
    assert_int_equal(weir_server_connections(r.w, count_conns, &all, 1000).outcome, WEIR_DONE);
    assert_int_equal(all.n, 5); /* three pages */
    assert_int_equal(weir_server_connections(r.w, count_conns, &three, 1000).outcome, WEIR_DONE);
    assert_int_equal(three.n, 3);
    assert_int_equal(weir_server_connections(r.w, NULL, NULL, 1000).code, WEIR_E_MISUSE);
    assert_int_equal(weir_server_config(r.w, count_settings, &settings, 1000).outcome, WEIR_DONE);
    assert_true(settings.n == 2 && settings.reloads == 1);
    assert_int_equal(weir_server_config(r.w, NULL, NULL, 1000).code, WEIR_E_MISUSE);
    assert_int_equal(weir_backup_create(r.w, "x", &backup, 1000).outcome, WEIR_DONE);
    assert_true(backup.files == 3 && backup.bytes == 1000 && backup.took_ms == 7);
    assert_string_equal(backup.path, "/b/x");
    assert_int_equal(weir_backup_create(r.w, "x", NULL, 1000).outcome, WEIR_DONE);
    assert_int_equal(r.w->conn.n_slots, 0);
    rig_fini(&r);
}

static void offsets(void **state)
{
    static const char *const values[] = {"a", "b", "c"};
    struct rig r;
    int64_t offset = -9, ms = -9;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 2);
    fake_append(r.fb, "t", 1, values, 3, BATCH_CODEC_NONE);
    assert_int_equal(weir_offset(r.w, "t", 1, WEIR_OFFSET_END, &offset, &ms, 1000).outcome,
                     WEIR_DONE);
    assert_int_equal(offset, 3);
    assert_int_equal(weir_offset(r.w, "t", 1, WEIR_OFFSET_START, &offset, NULL, 1000).outcome,
                     WEIR_DONE);
    assert_int_equal(offset, 0);
    assert_int_equal(weir_offset(r.w, "t", 2, -1, &offset, NULL, 1000).code, WEIR_E_UNKNOWN_TOPIC);
    assert_int_equal(weir_offset(r.w, "t", 0, -3, &offset, NULL, 1000).code, WEIR_E_MISUSE);
    assert_int_equal(weir_offset(r.w, "no", 0, -1, &offset, NULL, 1000).code, WEIR_E_UNKNOWN_TOPIC);
    fake_topic_drop(r.fb, "t"); /* what the client knows is old now */
    fake_topic_add(r.fb, "t", 2);
    assert_int_equal(weir_offset(r.w, "t", 1, WEIR_OFFSET_END, &offset, NULL, 1000).outcome,
                     WEIR_DONE);
    assert_int_equal(offset, 0);
    rig_fini(&r);
}

static void null_and_bad_handles_say_so(void **state)
{
    weir *w = weir_open("nonsense", NULL);
    weir_sub *s;
    int64_t x;

    (void)state;
    assert_non_null(w);
    assert_int_equal(weir_last_error(w).code, WEIR_E_INVALID_CONFIG);
    assert_int_equal(weir_send(w, "t", weir_str("k"), weir_str("v"), 10).code,
                     WEIR_E_INVALID_CONFIG);
    assert_int_equal(weir_flush(w, 10).code, WEIR_E_INVALID_CONFIG);
    assert_int_equal(weir_ping(w, &x, 10).code, WEIR_E_INVALID_CONFIG);
    assert_int_equal(weir_timeout_ms(w), -1);
    weir_on_io(w);
    s = weir_subscribe(w, "t", NULL, NULL);
    assert_null(weir_next(s, -1));
    assert_int_equal(weir_sub_error(s).code, WEIR_E_INVALID_CONFIG);
    weir_unsubscribe(s);
    assert_int_equal(weir_close(w, 10).outcome, WEIR_DONE);
    w = weir_open(NULL, "linger_ms=x");
    assert_int_equal(weir_last_error(w).code, WEIR_E_INVALID_CONFIG);
    weir_close(w, -1);
    assert_int_equal(weir_close(NULL, 0).outcome, WEIR_DONE);
    assert_int_equal(weir_flush(NULL, 0).code, WEIR_E_MISUSE);
    assert_int_equal(weir_ping(NULL, NULL, 0).code, WEIR_E_MISUSE);
    assert_int_equal(weir_topic_create(NULL, "t", NULL, 0, NULL, 0).code, WEIR_E_MISUSE);
    assert_int_equal(weir_last_error(NULL).code, WEIR_E_MISUSE);
    assert_int_equal(weir_fd(NULL), -1);
    assert_int_equal(weir_timeout_ms(NULL), -1);
    assert_int_equal(weir_pending_bytes(NULL), 0);
    assert_int_equal(weir_pending_messages(NULL), 0);
    weir_on_io(NULL);
    weir_set_log(NULL, NULL, NULL);
    weir_set_wakeup(NULL, NULL, NULL);
    weir_topic_free(NULL);
    assert_string_equal(weir_topic_name(NULL), "");
    assert_string_equal(weir_server_version(NULL), "");
    assert_int_equal(weir_message_header(NULL, "x").size, 0);
}

struct nested {
    struct rig *r;
    weir_sub *s;
    int calls;
};

static void call_everything(void *user, const weir_receipt *receipt)
{
    struct nested *x = user;
    weir *w = x->r->w;

    (void)receipt;
    x->calls++;
    assert_int_equal(weir_flush(w, 10).code, WEIR_E_MISUSE);
    assert_int_equal(weir_ping(w, NULL, 10).code, WEIR_E_MISUSE);
    assert_int_equal(weir_topic_delete(w, "t", 0, NULL, 10).code, WEIR_E_MISUSE);
    assert_null(weir_next(x->s, -1)); /* does not wait */
    weir_on_io(w);
    if (x->calls < 3) { /* queueing is fine */
        assert_int_equal(
            weir_send_async(w, "t", weir_str(NULL), weir_str("y"), NULL, call_everything, x)
                .outcome,
            WEIR_DONE);
    }
}

static void blocking_inside_a_callback_is_misuse(void **state)
{
    struct rig r;
    struct nested x = {.r = &r};

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    fake_topic_add(r.fb, "other", 1);
    x.s = weir_subscribe(r.w, "other", NULL, NULL);
    (void)weir_send_async(r.w, "t", weir_str(NULL), weir_str("x"), NULL, call_everything, &x);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    assert_int_equal(x.calls, 3);
    rig_fini(&r);
}

static void count_wakeups(void *arg)
{
    ++*(int *)arg;
}

static void log_line(void *arg, int level, const char *line)
{
    assert_in_range(level, 0, 3);
    assert_null(strchr(line, '\n'));
    ++*(int *)arg;
}

static void pull_api(void **state)
{
    struct rig r;
    int wakeups = 0, lines = 0;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    weir_set_wakeup(r.w, count_wakeups, &wakeups);
    weir_set_log(r.w, log_line, &lines);
    assert_int_equal(weir_timeout_ms(r.w), -1); /* nothing to do */
    rig_send(&r, "t", 0, "v0");
    rig_send(&r, "t", 0, "v1");
    assert_int_equal(wakeups, 1);
    assert_int_equal(weir_timeout_ms(r.w), 0); /* come at once */
    for (int i = 0; i < 20 && r.n_done < 2; i++) {
        weir_on_io(r.w);
    }
    assert_int_equal(r.n_done, 2);
    assert_int_equal(fake_topic(r.fb, "t")->parts[0].n, 1); /* one batch: both were there */
    assert_true(lines > 0);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topic_life),
        cmocka_unit_test(bad_topic_arguments),
        cmocka_unit_test(listings),
        cmocka_unit_test(the_server_itself),
        cmocka_unit_test(offsets),
        cmocka_unit_test(null_and_bad_handles_say_so),
        cmocka_unit_test(blocking_inside_a_callback_is_misuse),
        cmocka_unit_test(pull_api),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
