/* The budget of all connections at its thresholds, exactly: what is used is set by hand. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/core/core_impl.h"
#include "broker/server.h"
#include "proto/limits.h"
#include "proto/msg.h"
#include "tests/lib/test.h"

enum { MIB = 1 << 20, BUDGET = 100 * MIB };

struct rig {
    struct config conf;
    struct server srv;
    struct conn *c;
    int peer;
    size_t lent; /* added to what is used */
};
static struct rig r;

static void turn(void)
{
    ev_run(r.srv.loop, EVRUN_NOWAIT);
    ev_run(r.srv.loop, EVRUN_NOWAIT);
}

static void set(const char *key, const char *value)
{
    struct werror e;

    assert_int_equal(config_set(&r.conf, key, value, "test", &e), WERR_OK);
}

static int set_up(void **state)
{
    struct sockaddr_storage unix_peer = {.ss_family = AF_UNIX};
    struct werror e;
    int fds[2];

    (void)state;
    memset(&r, 0, sizeof r);
    config_defaults(&r.conf);
    r.conf.dev = true;
    set("listen", "127.0.0.1:0");
    set("http", "");
    set("log_level", "error");
    set("connection_memory", "100M");
    if (server_open(&r.srv, &r.conf, &e) != WERR_OK ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
        return -1;
    }
    ev_prepare_start(r.srv.loop, &r.srv.before_sleep);
    listeners_start(&r.srv.listeners);
    r.peer = fds[1];
    r.c = conn_open(&r.srv, fds[0], &unix_peer);
    return r.c == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    r.srv.in_bytes -= r.lent;
    r.srv.core->inflight_bytes = 0;
    server_close(&r.srv);
    close(r.peer);
    return 0;
}

/* So many bytes are used in all from now on. */
static void use(uint64_t bytes)
{
    r.srv.in_bytes -= r.lent;
    r.lent = (size_t)(bytes - memory_in_use(&r.srv));
    r.srv.in_bytes += r.lent;
    assert_int_equal(memory_in_use(&r.srv), bytes);
}

static void say(struct buf *b)
{
    assert_int_equal(send(r.peer, b->p, b->len, MSG_NOSIGNAL), (ssize_t)b->len);
    buf_fini(b);
    turn();
}

static void say_hello(void)
{
    struct msg_hello m = {
        .proto = WEIR_PROTO_VERSION, .client = slice_str("test"), .version = slice_str("1")};
    struct buf b = {0};

    msg_put_hello(&b, 1, &m);
    say(&b);
    assert_int_equal(r.c->state, CONN_READY);
}

static void produce(void)
{
    struct msg_produce m = {.tid = 1, .batch = slice_str("no batch")};
    struct buf b = {0};

    msg_put_produce_head(&b, 7, &m);
    buf_put(&b, m.batch.p, m.batch.n);
    msg_put_produce_tail(&b, &m);
    say(&b);
}

static void classes_have_a_quarter(void **state)
{
    struct config c;
    struct memory m;

    (void)state;
    config_defaults(&c);
    c.connection_memory = BUDGET;
    memory_init(&m, &c);
    assert_int_equal(m.budget, BUDGET);
    assert_int_equal(m.requests, BUDGET / 4);
    assert_int_equal(m.input, BUDGET / 4);
    assert_int_equal(m.output, BUDGET / 4);
    c.input = 5 * MIB;
    c.output = 6 * MIB;
    memory_init(&m, &c);
    assert_int_equal(m.input, 5 * MIB);
    assert_int_equal(m.output, 6 * MIB);
}

static void the_machine_sets_the_budget(void **state)
{
    struct config c;
    struct memory m;

    (void)state;
    config_defaults(&c);
    c.memory = 100 * MIB;
    c.tail_cache = 20 * MIB;
    assert_int_equal(memory_budget_of(UINT64_C(1000) * MIB, &c), 480 * MIB);
    assert_int_equal(memory_budget_of(UINT64_C(200) * MIB, &c), 64 * MIB);
    assert_in_range(memory_machine_bytes(), 64 * MIB, UINT64_C(1) << 50);
    memory_init(&m, &c);
    assert_int_equal(m.budget, memory_budget_of(memory_machine_bytes(), &c));
}

/* As much of it is on its way to the disk. */
static void on_the_way(uint64_t bytes)
{
    r.srv.core->inflight_bytes = bytes;
}

static void producers_wait_from_eighty_percent(void **state)
{
    (void)state;
    say_hello();
    on_the_way(MEMORY_PRODUCE_LEAST);
    use(BUDGET / 100 * 80);
    produce(); /* refused for what it says, so it was read */
    assert_false(r.c->starved);
    const uint64_t frames = r.srv.stats.frames_in;
    use(BUDGET / 100 * 80 + 1);
    produce();
    assert_true(r.c->starved);
    assert_int_equal(r.srv.stats.frames_in, frames);
    assert_int_equal(r.srv.stats.hits[HIT_MEMORY_PRODUCE], 1);
    use(BUDGET / 100 * 80);
    turn();
    assert_false(r.c->starved);
    assert_int_equal(r.srv.stats.frames_in, frames + 1);
}

/* What waits to be produced holds memory itself. */
static void some_produce_goes_on_whatever_is_used(void **state)
{
    (void)state;
    say_hello();
    on_the_way(MEMORY_PRODUCE_LEAST);
    use(2 * BUDGET);
    produce();
    assert_true(r.c->starved);
    on_the_way(MEMORY_PRODUCE_LEAST - 1);
    turn();
    assert_false(r.c->starved);
    on_the_way(0);
}

static int connect_one(void)
{
    const struct listener *l = &r.srv.listeners.l[0];
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_port = htons((uint16_t)strtoul(strrchr(l->text, ':') + 1, NULL, 10));
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    turn();
    return fd;
}

static void nobody_new_from_ninety_five_percent(void **state)
{
    char byte;

    (void)state;
    use(BUDGET / 100 * 95);
    int in = connect_one();
    assert_int_equal(r.srv.n_conns, 2);
    use(BUDGET / 100 * 95 + 1);
    int out = connect_one();
    assert_int_equal(r.srv.n_conns, 2);
    assert_string_equal(accept_refused_reason(3), "memory");
    assert_int_equal(r.srv.stats.refused_by[3], 1);
    assert_true(recv(out, &byte, 1, 0) <= 0);
    close(in);
    close(out);
}

static int64_t in_ms(int64_t ms)
{
    return clock_mono_ns() + ms * 1000000;
}

static void half_a_request_is_left_only_while_there_is_room(void **state)
{
    struct buf b = {0};

    (void)state;
    say_hello();
    buf_put_be32(&b, 100);
    buf_put(&b, "half", 4);
    say(&b);
    conn_sweep(r.c, in_ms(INT64_C(1000) * 1000));
    assert_int_equal(r.srv.n_conns, 1);
    r.c->heard_mono_ns = in_ms(CONN_STUCK_OUT_MS); /* a byte now and then does not help */
    use(BUDGET / 100 * 80 + MIB); /* what it rests on is taken back, and is less than that */
    conn_sweep(r.c, in_ms(CONN_STUCK_OUT_MS - 500));
    assert_int_equal(r.srv.n_conns, 1);
    conn_sweep(r.c, in_ms(CONN_STUCK_OUT_MS + 500));
    assert_int_equal(r.srv.n_conns, 0);
}

/* More than its socket takes. */
static void fill_output(void)
{
    struct blob *b = blob_new(8 << 20);

    memset(b->p, 'x', b->n);
    conn_put_bytes(r.c, (struct bytes){b, b->p, b->n});
    conn_sent(r.c);
    turn();
    assert_true(r.c->stuck_mono_ns != 0);
}

static void who_takes_nothing_is_left_in_peace_while_there_is_room(void **state)
{
    (void)state;
    say_hello();
    fill_output();
    conn_sweep(r.c, in_ms(INT64_C(100) * 24 * 3600 * 1000));
    assert_int_equal(r.srv.n_conns, 1);
    r.srv.memory.output = memory_used(&r.srv, MEMORY_OUTPUT) - 1; /* used up */
    conn_sweep(r.c, in_ms((int64_t)r.conf.stuck_ms - 500));
    assert_int_equal(r.srv.n_conns, 1);
    conn_sweep(r.c, in_ms((int64_t)r.conf.stuck_ms + 500));
    assert_int_equal(r.srv.n_conns, 0);
}

static void who_takes_nothing_has_five_seconds_when_there_is_none(void **state)
{
    (void)state;
    say_hello();
    fill_output();
    use(BUDGET / 100 * 95 + 1);
    conn_sweep(r.c, in_ms(CONN_STUCK_OUT_MS - 500));
    assert_int_equal(r.srv.n_conns, 1);
    conn_sweep(r.c, in_ms(CONN_STUCK_OUT_MS + 500));
    assert_int_equal(r.srv.n_conns, 0);
}

/* So many bytes at least, a few at a time. */
static void take(size_t n)
{
    char bytes[1024];
    size_t taken = 0;

    for (int i = 0; i < 10000 && taken < n; i++) {
        ssize_t got = recv(r.peer, bytes, sizeof bytes, 0);

        taken += got > 0 ? (size_t)got : 0;
        turn();
    }
    assert_true(taken >= n);
}

static void who_takes_next_to_nothing_takes_nothing(void **state)
{
    int64_t since;
    int least = 1;

    (void)state;
    say_hello();
    setsockopt(r.c->fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
    fill_output();
    since = r.c->stuck_mono_ns;
    take(CONN_STUCK_BYTES / 2);
    assert_int_equal(r.c->stuck_mono_ns, since);
    assert_true(r.c->stuck_taken > 0);
    take(4 * CONN_STUCK_BYTES);
    assert_true(r.c->stuck_mono_ns > since);
}

/* A quarter; over it, each connection its share. */
static void requests_have_a_quarter_and_shares(void **state)
{
    const unsigned share = BUDGET / 4 / 2 / 4096; /* requests, of this one and nobody else */

    (void)state;
    r.srv.n_requests = BUDGET / 4 / 4096 - 1;
    r.c->inflight = share;
    assert_false(memory_refuses_request(r.c, 0));
    r.srv.n_requests++;
    assert_true(memory_refuses_request(r.c, 0));
    r.c->inflight = share - 1; /* and one more */
    assert_false(memory_refuses_request(r.c, 0));
    assert_true(memory_refuses_request(r.c, 5)); /* one more that names a partition */
    r.srv.n_requests = BUDGET / 8 * 3 / 4096 - 1;
    r.c->inflight = 0;
    assert_false(memory_refuses_request(r.c, 0));
    r.srv.n_requests++;
    assert_true(memory_refuses_request(r.c, 0));
    r.srv.n_requests = BUDGET / 4 / 4096;
    use(BUDGET / 100 * 95 + 1);
    r.c->inflight = 0;
    assert_true(memory_refuses_request(r.c, 0));
    r.srv.n_requests = 0;
    r.c->inflight = 0;
}

static void reads_are_few_when_nobody_takes_them(void **state)
{
    (void)state;
    assert_int_equal(memory_reads(&r.srv), 4);
    r.srv.memory.output = UINT64_C(10) << 24;
    assert_int_equal(memory_reads(&r.srv), 10);
    r.srv.memory.output = UINT64_C(1) << 40;
    assert_int_equal(memory_reads(&r.srv), CORE_READS);
    r.srv.memory.output = 100;
    r.srv.out_bytes += 100;
    assert_int_equal(memory_reads(&r.srv), 4);
    r.srv.out_bytes++;
    assert_int_equal(memory_reads(&r.srv), 2);
    use(BUDGET / 100 * 95 + 1);
    assert_int_equal(memory_reads(&r.srv), 0);
    r.srv.out_bytes -= 101;
    use(BUDGET / 100 * 95 + 1);
    assert_int_equal(memory_reads(&r.srv), 4); /* others use it */
}

static void send_bytes(int fd, const void *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
    turn();
    turn();
}

/* Room for one large request, which one began and leaves lying; another waits for it. */
static void a_large_request_that_rests_is_ended(void **state)
{
    static char bytes[30000];
    struct sockaddr_storage unix_peer = {.ss_family = AF_UNIX};
    struct conn *first = r.c, *second;
    const uint8_t head[] = {0, 16, 0, 0}; /* 1 MiB */
    int fds[2], first_peer = r.peer;

    (void)state;
    say_hello();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    second = r.c = conn_open(&r.srv, fds[0], &unix_peer);
    r.peer = fds[1];
    say_hello();
    r.srv.memory.input = 70000;
    send_bytes(first_peer, head, sizeof head);
    send_bytes(first_peer, bytes, sizeof bytes);
    assert_non_null(first->big);
    send_bytes(r.peer, head, sizeof head);
    send_bytes(r.peer, bytes, sizeof bytes);
    assert_true(second->hungry);
    conn_unjam(&r.srv, in_ms(1500));
    assert_int_equal(r.srv.n_conns, 2);
    r.srv.big_freed_mono_ns = in_ms(2400); /* small ones come and go */
    conn_unjam(&r.srv, in_ms(2500));
    assert_int_equal(r.srv.n_conns, 1);
    turn();
    assert_false(second->hungry);
    assert_non_null(second->big);
    close(first_peer);
}

static void four_kib_wait_before_hello(void **state)
{
    struct buf ping = {0};

    (void)state;
    for (int i = 0; i < LIMIT_OUTPUT_PREAUTH - 1; i++) {
        buf_put_u8(conn_ctl(r.c), 'x');
    }
    msg_put_ping(&ping, 1);
    assert_int_equal(send(r.peer, ping.p, ping.len, MSG_NOSIGNAL), (ssize_t)ping.len);
    conn_resume(r.c);
    assert_true(ev_is_active(&r.c->io));
    buf_put_u8(conn_ctl(r.c), 'x');
    conn_resume(r.c);
    turn(); /* its turn comes, it is not read, and what waits goes out */
    turn();
    assert_int_equal(r.srv.stats.hits[HIT_OUTPUT_BEFORE_HELLO], 1);
    buf_fini(&ping);
}

static void what_is_counted_goes_away_with_its_connection(void **state)
{
    struct buf b = {0};

    (void)state;
    say_hello();
    fill_output();
    buf_put_be32(&b, 100);
    buf_put(&b, "half", 4);
    say(&b);
    conn_begin(r.c, 100);
    assert_true(memory_used(&r.srv, MEMORY_OUTPUT) > 0);
    assert_true(memory_used(&r.srv, MEMORY_REQUESTS) > 0);
    conn_close(r.c, "ended");
    conn_finish(r.c, 100);
    turn();
    assert_int_equal(memory_in_use(&r.srv), 0);
}

static void memory_goes_back_after_a_flood(void **state)
{
    const int64_t s = 1000000000;

    (void)state;
    use(64 * MIB);
    assert_false(memory_give_back(&r.srv, 100 * s));
    use(32 * MIB + 1); /* more than half is still used */
    assert_false(memory_give_back(&r.srv, 101 * s));
    use(32 * MIB);
    assert_true(memory_give_back(&r.srv, 101 * s));
    assert_false(memory_give_back(&r.srv, 120 * s)); /* once */
    use(31 * MIB + 32 * MIB);
    assert_false(memory_give_back(&r.srv, 121 * s));
    use(31 * MIB + 1); /* less than 32 MiB were freed */
    assert_false(memory_give_back(&r.srv, 122 * s));
    use(0);
    assert_true(memory_give_back(&r.srv, 122 * s));
    use(80 * MIB);
    assert_false(memory_give_back(&r.srv, 123 * s));
    use(0);
    assert_false(memory_give_back(&r.srv, 132 * s - 1));
    assert_true(memory_give_back(&r.srv, 132 * s)); /* not before 10 s have gone */
}

static void names(void **state)
{
    (void)state;
    for (int i = 0; i < MEMORY_CLASSES; i++) {
        assert_non_null(memory_class_name((enum memory_class)i));
    }
    for (int i = 0; i < LIMIT_HITS; i++) {
        assert_non_null(limit_hit_name((enum limit_hit)i));
    }
    assert_string_equal(memory_state_name(memory_state(&r.srv)), "free");
    use(BUDGET / 100 * 80 + 1);
    assert_string_equal(memory_state_name(memory_state(&r.srv)), "tight");
    use(BUDGET / 100 * 95 + 1);
    assert_string_equal(memory_state_name(memory_state(&r.srv)), "out");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(classes_have_a_quarter),
        TEST(the_machine_sets_the_budget),
        TEST(producers_wait_from_eighty_percent),
        TEST(some_produce_goes_on_whatever_is_used),
        TEST(nobody_new_from_ninety_five_percent),
        TEST(half_a_request_is_left_only_while_there_is_room),
        TEST(who_takes_nothing_is_left_in_peace_while_there_is_room),
        TEST(who_takes_nothing_has_five_seconds_when_there_is_none),
        TEST(who_takes_next_to_nothing_takes_nothing),
        TEST(requests_have_a_quarter_and_shares),
        TEST(reads_are_few_when_nobody_takes_them),
        TEST(a_large_request_that_rests_is_ended),
        TEST(four_kib_wait_before_hello),
        TEST(what_is_counted_goes_away_with_its_connection),
        TEST(memory_goes_back_after_a_flood),
        TEST(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
