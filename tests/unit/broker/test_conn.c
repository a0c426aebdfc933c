#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/server.h"
#include "proto/limits.h"
#include "proto/msg.h"
#include "tests/lib/test.h"

/* A server without a listener of its own use; connections come from socket pairs. */
struct rig {
    struct config conf;
    struct server srv;
    struct conn *c;
    int peer;
    struct buf got;
};
static struct rig r;

static void turn(void)
{
    ev_run(r.srv.loop, EVRUN_NOWAIT);
}

static int set_up(void **state)
{
    struct werror e;
    struct sockaddr_storage unix_peer = {.ss_family = AF_UNIX};
    int fds[2];

    (void)state;
    memset(&r, 0, sizeof r);
    config_defaults(&r.conf);
    r.conf.dev = true;
    if (config_set(&r.conf, "listen", "127.0.0.1:0", "test", &e) != WERR_OK ||
        config_set(&r.conf, "log_level", "error", "test", &e) != WERR_OK ||
        server_open(&r.srv, &r.conf, &e) != WERR_OK ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
        return -1;
    }
    ev_prepare_start(r.srv.loop, &r.srv.before_sleep);
    r.peer = fds[1];
    r.c = conn_open(&r.srv, fds[0], &unix_peer);
    return r.c == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    server_close(&r.srv);
    close(r.peer);
    buf_fini(&r.got);
    return 0;
}

static void say(const struct buf *b)
{
    assert_int_equal(send(r.peer, b->p, b->len, MSG_NOSIGNAL), (ssize_t)b->len);
}

static void say_hello(void)
{
    struct buf b = {0};
    struct msg_hello m = {
        .proto = WEIR_PROTO_VERSION, .client = slice_str("test"), .version = slice_str("1")};

    msg_put_hello(&b, 1, &m);
    say(&b);
    buf_fini(&b);
    turn();
    turn(); /* sends the answer */
    assert_int_equal(r.c->state, CONN_READY);
}

/* Reads what is there; true: the end of the stream. */
static bool listen_to(void)
{
    for (;;) {
        ssize_t n;

        buf_reserve(&r.got, 65536);
        n = recv(r.peer, r.got.p + r.got.len, 65536, 0);
        if (n <= 0) {
            return n == 0;
        }
        r.got.len += (size_t)n;
    }
}

static unsigned frames_heard(void)
{
    unsigned n = 0;

    listen_to();
    for (size_t at = 0; at + 4 <= r.got.len; n++) {
        at += 4 + ((size_t)r.got.p[at] << 24 | (size_t)r.got.p[at + 1] << 16 |
                   (size_t)r.got.p[at + 2] << 8 | r.got.p[at + 3]);
    }
    return n;
}

static int64_t in_ms(int64_t ms)
{
    return clock_mono_ns() + ms * 1000000;
}

static void sweep_closes(int64_t after_ms)
{
    conn_sweep(r.c, in_ms(after_ms - 500));
    assert_int_equal(r.srv.n_conns, 1);
    conn_sweep(r.c, in_ms(after_ms + 500));
    assert_int_equal(r.srv.n_conns, 0);
}

static void silence_before_hello_ends(void **state)
{
    (void)state;
    sweep_closes((int64_t)r.conf.hello_ms);
}

static void silence_after_hello_does_not(void **state)
{
    (void)state;
    say_hello();
    conn_sweep(r.c, in_ms(INT64_C(100) * 24 * 3600 * 1000));
    assert_int_equal(r.srv.n_conns, 1);
}

static void last_words_have_ten_seconds(void **state)
{
    struct blob *b;

    (void)state;
    say_hello();
    b = blob_new(8 << 20);
    memset(b->p, 'x', b->n);
    conn_put_bytes(r.c, (struct bytes){b, b->p, b->n});
    conn_sent(r.c);
    conn_end(r.c);
    turn();
    assert_int_equal(r.c->state, CONN_ENDING);
    sweep_closes(CONN_ENDING_MS);
}

static void a_peer_has_two_seconds_to_see_the_end(void **state)
{
    (void)state;
    say_hello();
    conn_end(r.c);
    turn();
    assert_int_equal(r.c->state, CONN_LINGERING);
    assert_true(listen_to()); /* it sees it */
    sweep_closes(CONN_LINGER_MS);
}

static void the_end_comes_with_the_peers(void **state)
{
    (void)state;
    say_hello();
    conn_end(r.c);
    turn();
    assert_int_equal(send(r.peer, "more", 4, MSG_NOSIGNAL), 4);
    shutdown(r.peer, SHUT_WR);
    turn();
    assert_int_equal(r.srv.n_conns, 0);
}

static void resting_connections_keep_no_buffers(void **state)
{
    (void)state;
    say_hello();
    assert_true(r.c->in.cap + r.c->ctl.cap > 0);
    conn_sweep(r.c, in_ms(0)); /* it was active until now */
    conn_sweep(r.c, in_ms(1000));
    assert_int_equal(r.c->in.cap + r.c->ctl.cap + r.c->out_cap, 0);
}

static void a_turn_takes_sixty_four_frames(void **state)
{
    struct buf b = {0};
    unsigned before, last = 0;

    (void)state;
    say_hello();
    before = frames_heard();
    for (uint32_t i = 0; i < 1000; i++) {
        msg_put_ping(&b, i + 1);
    }
    say(&b);
    buf_fini(&b);
    for (int turns = 0; last < 1000; turns++) {
        unsigned n;

        assert_true(turns < 40);
        turn();
        n = frames_heard() - before;
        /* once when the bytes arrive, and once more before the loop would sleep */
        assert_in_range(n - last, 0, 2 * CONN_TURN_FRAMES);
        last = n;
    }
}

static void data_goes_out_in_the_order_it_came(void **state)
{
    static const size_t sizes[] = {1, CONN_COPY_BYTES, CONN_COPY_BYTES + 1, 100000, 5, 300000};
    size_t total = 0, from;

    (void)state;
    say_hello();
    listen_to();
    from = r.got.len;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct blob *b = blob_new(sizes[i]);

        memset(b->p, 'a' + (int)i, b->n);
        conn_put_bytes(r.c, (struct bytes){b, b->p, b->n});
        total += sizes[i];
    }
    conn_sent(r.c);
    assert_int_equal(conn_queued(r.c), total);
    while (r.got.len < from + total) {
        turn();
        listen_to();
    }
    assert_int_equal(conn_queued(r.c), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t k = 0; k < sizes[i]; k++) {
            assert_int_equal(r.got.p[from++], 'a' + (int)i);
        }
    }
}

static void full_output_stops_reading(void **state)
{
    struct blob *b = blob_new(r.conf.max_output + (4 << 20));
    struct buf ping = {0};
    uint64_t frames;

    (void)state;
    say_hello();
    memset(b->p, 0, b->n);
    conn_put_bytes(r.c, (struct bytes){b, b->p, b->n});
    conn_sent(r.c);
    turn();
    assert_true(conn_output_full(r.c));
    frames = r.srv.stats.frames_in;
    msg_put_ping(&ping, 7);
    say(&ping);
    buf_fini(&ping);
    turn();
    turn();
    assert_int_equal(r.srv.stats.frames_in, frames);
    for (int i = 0; i < 100 && r.srv.stats.frames_in == frames; i++) {
        listen_to();
        turn();
    }
    assert_int_equal(r.srv.stats.frames_in, frames + 1);
}

static void memory_stays_while_a_request_is_in_flight(void **state)
{
    (void)state;
    say_hello();
    conn_begin(r.c, 100);
    conn_close(r.c, "test");
    conn_close(r.c, "twice");
    turn();
    assert_int_equal(r.c->state, CONN_CLOSED); /* readable: not freed */
    conn_put_error(r.c, 1, &(struct werror){.code = WERR_MALFORMED}, NULL, 0);
    conn_put_bytes(r.c, (struct bytes){blob_new(10), NULL, 10});
    conn_sent(r.c);
    conn_finish(r.c, 100);
    turn();
    assert_int_equal(r.srv.n_conns, 0);
}

static void in_flight_limits_stop_reading(void **state)
{
    (void)state;
    say_hello();
    conn_begin(r.c, r.conf.max_request_bytes - 1);
    turn();
    assert_true(ev_is_active(&r.c->io));
    conn_begin(r.c, 1);
    conn_flush(r.c);
    assert_false(ev_is_active(&r.c->io));
    conn_finish(r.c, 1);
    assert_true(ev_is_active(&r.c->io));
    conn_finish(r.c, r.conf.max_request_bytes - 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(silence_before_hello_ends),      TEST(silence_after_hello_does_not),
        TEST(last_words_have_ten_seconds),    TEST(a_peer_has_two_seconds_to_see_the_end),
        TEST(the_end_comes_with_the_peers),   TEST(resting_connections_keep_no_buffers),
        TEST(a_turn_takes_sixty_four_frames), TEST(data_goes_out_in_the_order_it_came),
        TEST(full_output_stops_reading),      TEST(memory_stays_while_a_request_is_in_flight),
        TEST(in_flight_limits_stop_reading),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
