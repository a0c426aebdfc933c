/* Groups, queues, delay and dead letters: libweir against the real server, which is killed. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <weir/weir.h>

#include "tests/blackbox/client/server.h"
#include "tests/lib/test.h"

static struct server srv;

static int setup(void **state)
{
    (void)state;
    return server_init(&srv) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    server_fini(&srv);
    return 0;
}

static void assert_done(weir_error e)
{
    if (e.outcome != WEIR_DONE) {
        fail_msg("%s (%s): %s", weir_code_name(e.code), weir_outcome_name(e.outcome), e.text);
    }
}

static int64_t wall_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A topic with the numbers 0 to n - 1. */
static void fill(weir *w, const char *topic, const char *config, int n)
{
    char key[16], value[16];

    assert_done(weir_topic_create(w, topic, config, 0, NULL, 10000));
    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof key, "k%d", i % 97);
        snprintf(value, sizeof value, "%d", i);
        while (
            weir_send_async(w, topic, weir_str(key), weir_str(value), NULL, NULL, NULL).outcome !=
            WEIR_DONE) {
            weir_on_io(w);
        }
    }
    assert_done(weir_flush(w, 20000));
}

static int number(const weir_message *m)
{
    char text[16] = "";

    memcpy(text, m->value.data, m->value.size < 15 ? m->value.size : 15);
    return (int)strtol(text, NULL, 10);
}

/* Takes what comes within ms, counts it by number, gives it back. */
static int take(weir_sub *s, unsigned char *seen, int ms)
{
    const weir_message *m;
    int n = 0;

    while ((m = weir_next(s, ms)) != NULL) {
        seen[number(m)]++;
        weir_done(m, WEIR_ACK);
        n++;
    }
    if (weir_sub_error(s).outcome == WEIR_NOT_DONE) {
        fail_msg("%s", weir_sub_error(s).text);
    }
    return n;
}

static void assert_each(const unsigned char *seen, int n, bool once)
{
    for (int i = 0; i < n; i++) {
        if (seen[i] == 0 || (once && seen[i] != 1)) {
            fail_msg("%d came %u times", i, seen[i]);
        }
    }
}

struct heard {
    int gained, lost;
};

static void on_assignment(void *user, weir_sub *s, const weir_partition_ref *gained,
                          size_t n_gained, const weir_partition_ref *lost, size_t n_lost)
{
    struct heard *h = user;

    (void)s;
    (void)gained;
    (void)lost;
    h->gained += (int)n_gained;
    h->lost += (int)n_lost;
}

static void two_consumers_share_and_rebalance(void **state)
{
    enum { N = 4000 };
    static unsigned char seen[2 * N];
    weir *w = weir_open(srv.url, NULL), *w2 = weir_open(srv.url, NULL);
    weir_sub *a, *b;
    struct heard ha = {0}, hb = {0};
    weir_group *g = NULL;

    (void)state;
    fill(w, "share", "partitions=8", N);
    a = weir_subscribe(w, "share", "readers", "commit_ms=50");
    weir_on_assignment(a, on_assignment, &ha);
    assert_int_equal(take(a, seen, 1000), N);
    assert_int_equal(ha.gained, 8);
    b = weir_subscribe(w2, "share", "readers", "commit_ms=50");
    weir_on_assignment(b, on_assignment, &hb);
    for (int i = 0; i < 200 && hb.gained < 4; i++) {
        take(b, seen, 20);
        take(a, seen, 20);
    }
    assert_int_equal(ha.lost, 4); /* only those that must move did */
    assert_int_equal(hb.gained, 4);
    assert_each(seen, N, true); /* they moved with their positions */
    for (int i = N; i < 2 * N; i++) {
        char key[16], value[16];

        snprintf(key, sizeof key, "k%d", i % 97);
        snprintf(value, sizeof value, "%d", i);
        (void)weir_send_async(w, "share", weir_str(key), weir_str(value), NULL, NULL, NULL);
    }
    assert_done(weir_flush(w, 20000));
    for (int i = 0, got = 0, mine = 0; got < N && i < 200; i++) {
        int n = take(a, seen, 20);

        mine += n;
        got += n + take(b, seen, 20);
        assert_true(got < N || (mine > 0 && mine < N)); /* both had some */
    }
    assert_each(seen, 2 * N, true);
    assert_done(weir_commit(a, 5000));
    assert_done(weir_commit(b, 5000));
    assert_done(weir_group_describe(w, "readers", &g, 5000));
    assert_int_equal(weir_group_get_info(g)->members, 2);
    assert_int_equal(weir_group_get_info(g)->lag_messages, 0);
    assert_string_equal(weir_group_get_info(g)->mode, "log");
    assert_non_null(weir_group_member(g, 1));
    assert_null(weir_group_member(g, 2));
    assert_non_null(weir_group_partition(g, 7)->owner);
    weir_group_free(g);
    assert_done(weir_close(w2, 5000)); /* leaves: all is a's again */
    for (int i = 0; i < 200 && ha.gained < 12; i++) {
        take(a, seen, 20);
    }
    assert_int_equal(ha.gained, 12);
    assert_done(weir_close(w, 5000));
}

static void a_killed_server_repeats_nothing_that_was_committed(void **state)
{
    enum { N = 3000 };
    static unsigned char seen[N];
    weir *w = weir_open(srv.url, "reconnect_max_ms=100");
    const weir_message *m;
    weir_sub *s;

    (void)state;
    fill(w, "killed", "partitions=4", N);
    s = weir_subscribe(w, "killed", "survivors", "commit=manual");
    for (int i = 0; i < N / 2; i++) {
        m = weir_next(s, 5000);
        assert_non_null(m);
        seen[number(m)]++;
        weir_done(m, WEIR_ACK);
    }
    assert_done(weir_commit(s, 5000));
    server_kill(&srv);
    assert_true(server_start(&srv));
    take(s, seen, 3000);
    assert_each(seen, N, true); /* the same member: it goes on where it read */
    assert_done(weir_commit(s, 5000));
    assert_done(weir_close(w, 5000));
    memset(seen, 0, sizeof seen);
    w = weir_open(srv.url, NULL);
    s = weir_subscribe(w, "killed", "survivors", NULL);
    assert_int_equal(take(s, seen, 500), 0);
    assert_done(weir_close(w, 5000));
}

static void seek_and_administration(void **state)
{
    static unsigned char seen[100];
    weir *w = weir_open(srv.url, NULL);
    weir_sub *s;
    weir_group *g = NULL;
    weir_seek back = {"adm", 0, 40, -1};

    (void)state;
    fill(w, "adm", "partitions=1", 100);
    s = weir_subscribe(w, "adm", "admins", NULL);
    assert_int_equal(take(s, seen, 500), 100);
    assert_done(weir_commit(s, 5000));
    assert_int_equal(weir_group_seek(w, "admins", &back, 1, 0, 5000).code, WEIR_E_GROUP_BUSY);
    weir_unsubscribe(s);
    assert_done(weir_group_seek(w, "admins", &back, 1, WEIR_DRY_RUN, 5000));
    assert_int_equal(back.from, 100);
    assert_done(weir_group_seek(w, "admins", &back, 1, 0, 5000));
    s = weir_subscribe(w, "adm", "admins", NULL);
    assert_int_equal(take(s, seen, 500), 60);
    weir_unsubscribe(s);
    back.to = 1000;
    assert_int_equal(weir_group_seek(w, "admins", &back, 1, 0, 5000).outcome, WEIR_NOT_DONE);
    assert_done(weir_group_alter(w, "admins", "max_processing_ms=60000", 0, &g, 5000));
    assert_string_equal(weir_group_config(g, "max_processing_ms"), "60000");
    weir_group_free(g);
    assert_int_equal(weir_group_alter(w, "admins", "max_prcessing_ms=1", 0, NULL, 5000).code,
                     WEIR_E_INVALID_CONFIG);
    assert_done(weir_group_delete(w, "admins", 0, 5000));
    assert_int_equal(weir_group_describe(w, "admins", &g, 5000).code, WEIR_E_UNKNOWN_GROUP);
    assert_done(weir_close(w, 5000));
}

struct later {
    char id[80];
    int results, listed;
};

static void on_sent(void *user, const weir_receipt *r)
{
    struct later *l = user;

    assert_done(r->error);
    assert_int_equal(r->offset, -1);
    assert_non_null(r->delay_id);
    snprintf(l->id, sizeof l->id, "%s", r->delay_id);
    l->results++;
}

static int on_scheduled(void *user, const weir_scheduled *s)
{
    struct later *l = user;

    assert_int_equal(s->messages, 1);
    l->listed++;
    return 1;
}

static weir_error send_later(weir *w, const char *value, int64_t delay_ms, struct later *l)
{
    weir_send_options o = WEIR_SEND_OPTIONS;

    o.delay_ms = delay_ms;
    return weir_send_async(w, "later", weir_str(NULL), weir_str(value), &o, on_sent, l);
}

static void delayed_messages(void **state)
{
    weir *w = weir_open(srv.url, NULL);
    struct later l = {.results = 0};
    const char *id = l.id;
    const weir_message *m;
    int64_t due;
    weir_sub *s;
    int status = -1;

    (void)state;
    assert_done(weir_topic_create(w, "later", "partitions=1", 0, NULL, 5000));
    s = weir_subscribe(w, "later", NULL, NULL);
    due = wall_ms() + 700;
    assert_done(send_later(w, "late", 700, &l));
    assert_done(weir_flush(w, 5000));
    assert_done(send_later(w, "never", 60000, &l));
    assert_done(weir_flush(w, 5000));
    assert_int_equal(l.results, 2);
    assert_done(weir_send(w, "later", weir_str(NULL), weir_str("now"), 5000));
    assert_done(weir_schedule_list(w, "later", on_scheduled, &l, 5000));
    assert_int_equal(l.listed, 2);
    m = weir_next(s, 5000);
    assert_memory_equal(m->value.data, "now", 3);
    weir_done(m, WEIR_ACK);
    m = weir_next(s, 5000);
    assert_non_null(m);
    assert_memory_equal(m->value.data, "late", 4);
    assert_in_range(wall_ms(), due, due + 500);
    assert_true(m->append_ms >= due);
    weir_done(m, WEIR_ACK);
    assert_done(weir_schedule_cancel(w, "later", &id, 1, &status, 5000));
    assert_int_equal(status, WEIR_CANCELLED);
    assert_done(weir_schedule_cancel(w, "later", &id, 1, &status, 5000));
    assert_int_not_equal(status, WEIR_DELIVERED); /* asking twice does no harm */
    assert_done(weir_close(w, 5000));
}

static void on_range(void *user, int64_t first, int64_t last, int state)
{
    int *counts = user;

    counts[state] += (int)(last - first + 1);
}

/* Odd numbers fail once, every 10th is hopeless; all others are acked. */
static void a_worker_with_failures(void **state)
{
    enum { N = 400 };
    static unsigned char acked[N], came[N];
    weir *w = weir_open(srv.url, NULL);
    const weir_span all = {0, 0, 1000};
    int counts[3] = {0}, done = 0, dead = 0;
    uint64_t moved = 0, skipped = 0;
    const weir_message *m;
    weir_sub *s;

    (void)state;
    fill(w, "work", "partitions=4", N);
    s = weir_subscribe(w, "work", "billing", "mode=queue prefetch=50");
    while (done + dead < N && (m = weir_next(s, 10000)) != NULL) {
        int v = number(m);

        came[v]++;
        assert_int_equal(m->deliveries, came[v]);
        if (v % 10 == 0) {
            weir_done_with(m, WEIR_DEAD, 0, "hopeless");
            dead++;
        } else if (v % 2 && came[v] == 1) {
            assert_null(m->reason);
            weir_done_with(m, WEIR_NACK, 10, "odd");
        } else {
            assert_true(v % 2 == 0 || strcmp(m->reason, "odd") == 0);
            acked[v]++;
            done++;
            weir_done(m, WEIR_ACK);
        }
    }
    assert_int_equal(done, N - N / 10);
    assert_done(weir_commit(s, 10000));
    assert_null(weir_next(s, 200));
    for (int p = 0; p < 64; p++) {
        weir_error e = weir_dlq_list(w, "work~billing~dlq", p, on_range, counts, 5000);

        if (e.outcome != WEIR_DONE) {
            break;
        }
    }
    assert_int_equal(counts[0], N / 10);
    for (int p = 0; p < 64; p++) {
        weir_span span = all;
        uint64_t n = 0, k = 0;

        span.partition = p;
        if (weir_dlq_redrive(w, "work~billing~dlq", &span, 1, 100000, 0, &n, &k, 5000).outcome !=
            WEIR_DONE) {
            break;
        }
        moved += n;
        skipped += k;
    }
    assert_int_equal(moved, N / 10);
    for (dead = 0; dead < N / 10 && (m = weir_next(s, 10000)) != NULL; dead++) {
        assert_string_equal(m->topic, "work"); /* shown as what it was */
        assert_int_equal(number(m) % 10, 0);
        assert_int_equal(m->deliveries, 1);
        weir_done(m, WEIR_ACK);
    }
    assert_int_equal(dead, N / 10);
    assert_done(weir_commit(s, 10000));
    assert_done(weir_close(w, 5000));
}

static void workers_and_a_killed_server(void **state)
{
    enum { N = 5000 };
    static unsigned char acked[N];
    weir *w[3];
    weir_sub *s[3];
    int done = 0;

    (void)state;
    for (int i = 0; i < 3; i++) {
        w[i] = weir_open(srv.url, "reconnect_max_ms=100");
    }
    fill(w[0], "queue", "partitions=4", N);
    for (int i = 0; i < 3; i++) {
        s[i] = weir_subscribe(w[i], "queue", "workers", "mode=queue prefetch=100");
    }
    for (int rounds = 0; done < N && rounds < 200000; rounds++) {
        const weir_message *m = weir_next(s[rounds % 3], done + 500 > N ? 100 : 1);

        if (m) {
            acked[number(m)]++;
            done += acked[number(m)] == 1;
            weir_done(m, WEIR_ACK);
        }
        if (rounds == 1500) {
            for (int i = 0; i < 3; i++) {
                assert_done(weir_commit(s[i], 10000));
            }
        }
        if (rounds == 2000) { /* verdicts are on their way */
            server_kill(&srv);
            assert_true(server_start(&srv));
        }
    }
    assert_each(acked, N, true); /* leases outlive the server, verdicts are told again */
    for (int i = 0; i < 3; i++) {
        assert_done(weir_commit(s[i], 20000));
        assert_null(weir_next(s[i], 200));
        assert_done(weir_close(w[i], 5000));
    }
}

static void closing_gives_back_what_is_not_done(void **state)
{
    weir *w = weir_open(srv.url, NULL), *w2 = weir_open(srv.url, NULL);
    const weir_message *m;
    weir_sub *a, *b;
    int n = 0;

    (void)state;
    fill(w, "back", "partitions=1", 20);
    a = weir_subscribe(w, "back", "g", "mode=queue prefetch=20");
    assert_non_null(weir_next(a, 5000));
    assert_non_null(weir_next(a, 5000));
    assert_done(weir_close(w, 5000));
    b = weir_subscribe(w2, "back", "g", "mode=queue");
    while (n < 20 && (m = weir_next(b, 5000)) != NULL) {
        assert_int_equal(m->deliveries, 1); /* without a penalty */
        weir_done(m, WEIR_ACK);
        n++;
    }
    assert_int_equal(n, 20);
    assert_done(weir_close(w2, 5000));
}

static int64_t positions(const weir_group *g)
{
    return weir_group_partition(g, 0)->position + weir_group_partition(g, 1)->position;
}

/* What was said in unsubscribing must arrive although much that was sent to us is unread. */
static void leaving_in_the_middle_of_a_flood_arrives(void **state)
{
    enum { N = 100000, ROUNDS = 8 };
    weir *w = weir_open(srv.url, "batch_bytes=262144");

    (void)state;
    fill(w, "flood", "partitions=2", N);
    for (int i = 0; i < ROUNDS; i++) {
        weir *other = weir_open(srv.url, NULL);
        weir_sub *s = weir_subscribe(other, "flood", "leaver", "mode=log");
        const weir_message *m = weir_next(s, 10000);
        weir_group *g = NULL;

        assert_non_null(m);
        weir_done(m, WEIR_ACK);
        weir_unsubscribe(s);
        assert_done(weir_close(other, 10000));
        assert_done(weir_group_describe(w, "leaver", &g, 10000));
        assert_int_equal(weir_group_get_info(g)->members, 0);
        const int64_t until_ms = wall_ms() + 20000;
        while (positions(g) != i + 1) {
            assert_true(wall_ms() < until_ms); /* it is soon on disk */
            weir_group_free(g);
            assert_done(weir_group_describe(w, "leaver", &g, 10000));
        }
        weir_group_free(g);
    }
    assert_done(weir_close(w, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_consumers_share_and_rebalance),
        cmocka_unit_test(a_killed_server_repeats_nothing_that_was_committed),
        cmocka_unit_test(seek_and_administration),
        cmocka_unit_test(delayed_messages),
        cmocka_unit_test(a_worker_with_failures),
        cmocka_unit_test(workers_and_a_killed_server),
        cmocka_unit_test(closing_gives_back_what_is_not_done),
        cmocka_unit_test(leaving_in_the_middle_of_a_flood_arrives),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
