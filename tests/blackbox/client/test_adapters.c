/* Each adapter drives the same little program: send 2,000, read 2,000, over one broker restart. */
#include <stdio.h>
#include <string.h>

#include <weir/adapters/libev.h>
#include <weir/adapters/libevent.h>
#include <weir/adapters/libuv.h>
#include <weir/adapters/poll.h>
#include <weir/weir.h>

#include "tests/blackbox/client/server.h"
#include "tests/lib/test.h"

enum { COUNT = 2000 };

static struct server srv;

struct app {
    weir *w;
    weir_sub *sub;
    const char *topic;
    int queued, stored, received;
    bool restarted;
    void (*stop)(struct app *a);
    void *loop;
};

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

static void send_more(struct app *a);

static void on_sent(void *user, const weir_receipt *r)
{
    struct app *a = user;

    assert_int_equal(r->error.outcome, WEIR_DONE);
    a->stored++;
    send_more(a);
}

static void send_more(struct app *a)
{
    while (
        a->queued < COUNT && a->queued - a->stored < 100 &&
        weir_send_async(a->w, a->topic, weir_str(NULL), weir_str("x"), NULL, on_sent, a).outcome ==
            WEIR_DONE) {
        a->queued++;
    }
}

static bool finished(const struct app *a)
{
    return a->received == COUNT && a->stored == COUNT;
}

static void after_io(void *user)
{
    struct app *a = user;
    const weir_message *m;

    while ((m = weir_next(a->sub, 0))) {
        a->received++;
        weir_done(m, WEIR_ACK);
    }
    if (a->stored > COUNT / 2 && !a->restarted) {
        a->restarted = true;
        server_kill(&srv);
        assert_true(server_start(&srv));
    }
    if (finished(a)) {
        a->stop(a);
    }
}

static void begin(struct app *a, const char *topic)
{
    *a = (struct app){.topic = topic, .w = weir_open(srv.url, NULL)};
    assert_int_equal(weir_topic_create(a->w, topic, NULL, 0, NULL, 5000).outcome, WEIR_DONE);
    a->sub = weir_subscribe(a->w, topic, NULL, NULL);
}

static void end(struct app *a)
{
    assert_true(finished(a));
    assert_int_equal(weir_close(a->w, 1000).outcome, WEIR_DONE);
}

static void stop_libev(struct app *a)
{
    ev_break(a->loop, EVBREAK_ALL);
}

static void libev(void **state)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct weir_libev ad;
    struct app a;

    (void)state;
    begin(&a, "libev");
    a.loop = loop;
    a.stop = stop_libev;
    weir_libev_attach(&ad, loop, a.w, after_io, &a);
    send_more(&a);
    ev_run(loop, 0);
    weir_libev_detach(&ad);
    ev_loop_destroy(loop);
    end(&a);
}

static void stop_libuv(struct app *a)
{
    uv_stop(a->loop);
}

static void libuv(void **state)
{
    struct weir_libuv ad;
    uv_loop_t loop;
    struct app a;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    begin(&a, "libuv");
    a.loop = &loop;
    a.stop = stop_libuv;
    assert_int_equal(weir_libuv_attach(&ad, &loop, a.w, after_io, &a), 0);
    send_more(&a);
    uv_run(&loop, UV_RUN_DEFAULT);
    weir_libuv_detach(&ad);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    end(&a);
}

static void stop_libevent(struct app *a)
{
    event_base_loopbreak(a->loop);
}

static void libevent(void **state)
{
    struct event_base *base = event_base_new();
    struct weir_libevent ad;
    struct app a;

    (void)state;
    begin(&a, "libevent");
    a.loop = base;
    a.stop = stop_libevent;
    assert_int_equal(weir_libevent_attach(&ad, base, a.w, after_io, &a), 0);
    send_more(&a);
    event_base_dispatch(base);
    weir_libevent_detach(&ad);
    event_base_free(base);
    end(&a);
}

static void stop_poll(struct app *a)
{
    *(bool *)a->loop = true;
}

static void own_poll_loop(void **state)
{
    bool stop = false;
    struct app a;

    (void)state;
    begin(&a, "poll");
    a.loop = &stop;
    a.stop = stop_poll;
    send_more(&a);
    while (!stop) {
        struct pollfd p = weir_poll_fd(a.w);

        poll(&p, 1, weir_poll_timeout(a.w, 10000));
        weir_poll_done(a.w, &p);
        after_io(&a);
    }
    end(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(libev),
        cmocka_unit_test(libuv),
        cmocka_unit_test(libevent),
        cmocka_unit_test(own_poll_loop),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
