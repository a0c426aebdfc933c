#include "tests/unit/client/rig.h"

#include <stdlib.h>
#include <string.h>

static int64_t rig_mono(void *arg)
{
    return ((struct rig *)arg)->now_ns;
}

static int64_t rig_wall(void *arg)
{
    return 1700000000000 + ((struct rig *)arg)->now_ns / CLOCK_NS_PER_MS;
}

static void down(struct rig *r)
{
    if (r->up) {
        fake_conn_fini(&r->conn);
        r->up = false;
    }
}

static bool alive(const struct rig *r)
{
    return r->up && (r->w->conn.state == CONN_HELLO || r->w->conn.state == CONN_READY);
}

void rig_feed(struct rig *r, const void *p, size_t n)
{
    const uint8_t *at = p;
    uint32_t generation = r->w->conn.generation;

    while (n > 0 && alive(r) && r->w->conn.generation == generation) {
        size_t room, part = r->piece && r->piece < n ? r->piece : n;
        uint8_t *to = conn_space(&r->w->conn, &room);

        assert_non_null(to);
        part = part < room ? part : room;
        memcpy(to, at, part);
        conn_received(&r->w->conn, part, r->now_ns);
        at += part;
        n -= part;
    }
    if (r->w->conn.generation != generation) {
        down(r);
    }
}

static bool move_out(struct rig *r)
{
    struct iovec v[8];
    size_t n = conn_output(&r->w->conn, v, 8);

    for (size_t i = 0; i < n; i++) {
        (void)fake_conn_input(&r->conn, v[i].iov_base, v[i].iov_len);
        conn_written(&r->w->conn, v[i].iov_len);
    }
    return n > 0;
}

static void damage(struct rig *r, struct buf *b)
{
    for (size_t i = 0; i < b->len && r->flip; i++) {
        r->flip ^= r->flip << 13;
        r->flip ^= r->flip >> 7;
        r->flip ^= r->flip << 17;
        if (r->flip % 64 == 0) {
            b->p[i] = (uint8_t)(r->flip >> 32);
        }
    }
}

/* Bytes both ways until none are left. True: something moved. */
static bool exchange(struct rig *r)
{
    bool any = false;

    for (;;) {
        bool moved = false;

        if (r->w->conn.state == CONN_CONNECT) {
            r->connects++;
            if (r->unreachable) {
                struct werror e;

                werror_set(&e, WERR_UNREACHABLE, "test: connection refused");
                conn_lost(&r->w->conn, r->now_ns, &e);
                return true;
            }
            down(r);
            fake_conn_init(&r->conn, r->fb);
            r->up = true;
            conn_opened(&r->w->conn, r->now_ns);
            moved = true;
        }
        if (alive(r)) {
            moved = move_out(r) || moved;
            if (!r->hold_answers) {
                struct buf out;

                fake_conn_push(&r->conn);
                out = r->conn.out;
                r->conn.out = (struct buf){0};
                moved = moved || out.len > 0;
                damage(r, &out);
                rig_feed(r, out.p, out.len);
                buf_fini(&out);
            }
        } else {
            down(r);
        }
        if (!moved) {
            return any;
        }
        any = true;
        handle_step(r->w);
    }
}

static void turn(struct weir *w, int64_t until_ns)
{
    struct rig *r = w->tr_arg;
    int64_t t;

    handle_step(w);
    if (exchange(r)) {
        r->idle_turns = 0;
        return;
    }
    t = handle_deadline(w);
    t = t < until_ns ? t : until_ns;
    if (t == CLOCK_NEVER) {
        t = r->now_ns + (int64_t)3600 * 1000 * CLOCK_NS_PER_MS;
        assert_true(r->idle_turns++ < 100); /* else it waits for what never comes */
    }
    r->now_ns = t > r->now_ns ? t : r->now_ns;
    handle_step(w);
    (void)exchange(r);
}

static void push(struct weir *w)
{
    (void)w;
}

static void finish(struct weir *w, int64_t until_ns)
{
    (void)w;
    (void)until_ns;
}

static int64_t deadline(const struct weir *w)
{
    return w->conn.state == CONN_CONNECT ? w->now_ns : CLOCK_NEVER;
}

static int fd(const struct weir *w)
{
    (void)w;
    return -1;
}

static void interrupt(struct weir *w)
{
    (void)w;
}

static void close_it(struct weir *w)
{
    struct rig *r = w->tr_arg;

    r->w = NULL;
    w->tr = NULL;
}

static const struct transport scripted = {turn, push, finish, deadline, fd, interrupt, close_it};

static void ignore_topic(void *user, const weir_topic *t)
{
    (void)user;
    (void)weir_topic_config(t, "retention.ms");
}

static void ignore_metric(void *user, const char *name, const char *label, const char *label_value,
                          uint64_t value)
{
    (void)user;
    (void)name;
    (void)label;
    (void)label_value;
    (void)value;
}

void rig_open(struct rig *r, const char *options)
{
    const struct clock_source clock = {rig_mono, rig_wall, r};

    down(r);
    r->w = handle_new("weir://localhost", options, clock, 42);
    assert_non_null(r->w);
    r->w->tr = &scripted;
    r->w->tr_arg = r;
}

void rig_init(struct rig *r, const char *options)
{
    memset(r, 0, sizeof *r);
    r->now_ns = (int64_t)1000 * 1000 * CLOCK_NS_PER_MS;
    r->fb = fake_new();
    r->on_topic = ignore_topic;
    r->on_metric = ignore_metric;
    rig_open(r, options);
}

void rig_fini(struct rig *r)
{
    if (r->w) {
        (void)weir_close(r->w, 0);
    }
    down(r);
    fake_free(r->fb);
}

void rig_cut(struct rig *r)
{
    struct werror e;

    werror_set(&e, WERR_CONNECTION_LOST, "test: cut");
    conn_lost(&r->w->conn, r->now_ns, &e);
    down(r);
}

void rig_run(struct rig *r, int64_t ms)
{
    int64_t until = r->now_ns + ms * CLOCK_NS_PER_MS;

    while (r->w && r->now_ns < until) {
        int64_t before = r->now_ns;

        r->w->depth++;
        (void)handle_wait(r->w, until);
        handle_leave(r->w);
        if (r->w && r->now_ns == before && handle_deadline(r->w) > until && !r->up) {
            r->now_ns = until;
        }
    }
}

void rig_sent(void *user, const weir_receipt *receipt)
{
    struct rig *r = user;

    assert_true(r->n_results < 256);
    r->results[r->n_results++] = *receipt;
    r->n_done += receipt->error.outcome == WEIR_DONE;
}

void rig_send(struct rig *r, const char *topic, int32_t partition, const char *value)
{
    weir_send_options o = WEIR_SEND_OPTIONS;
    weir_error e;

    o.partition = partition;
    e = weir_send_async(r->w, topic, weir_str(NULL), weir_str(value), &o, rig_sent, r);
    if (e.outcome != WEIR_DONE) {
        fail_msg("send: %s: %s", weir_code_name(e.code), e.text);
    }
}

void rig_expect(weir_sub *s, const char *value)
{
    const weir_message *m = weir_next(s, 1000);

    if (!m) {
        fail_msg("no message '%s': %s", value, weir_sub_error(s).text);
    }
    assert_int_equal(m->value.size, strlen(value));
    assert_memory_equal(m->value.data, value, m->value.size);
    weir_done(m, WEIR_ACK);
}
