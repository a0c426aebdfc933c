/*
 * libweir against a server that is broken or means harm. Random conversations (HOSTILE_ANSWERS,
 * default 50,000; HOSTILE_SEED), and the attacks that have a name.
 *
 * What must hold: the client never crashes, its memory stays bounded, it does not ask without end,
 * every message gets exactly one result, and results have the documented form.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/crc32c.h"
#include "proto/msg_group.h"
#include "tests/faults/hostile/hostile.h"
#include "tests/unit/client/rig.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

enum { MIB = 1 << 20, HEAD = 4, STEPS = 60, SENDS = 20 };

static size_t heap_bytes(void)
{
#ifdef WITH_ASAN
    return __sanitizer_get_current_allocated_bytes();
#else
    const struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
#endif
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 0) : otherwise;
}

/* ---------------------------------------------------------------- random conversations */

struct hostile {
    struct rig r;
    uint64_t rng, answers, tricks[TRICKS];
    unsigned queued; /* sends that were taken */
    struct memory memory;
    size_t heap_before, heap_most;
};

static void check_error(const weir_error *e)
{
    assert_true(e->outcome >= WEIR_DONE && e->outcome <= WEIR_UNKNOWN);
    assert_non_null(memchr(e->text, '\0', sizeof e->text));
    assert_true(e->outcome != WEIR_DONE || e->code == WEIR_OK);
}

/* Gives the client what the server has to say, frame by frame, after tricks. */
static void say(struct hostile *h)
{
    struct buf honest, out = {0};
    size_t at = 0;

    if (!h->r.up) {
        return;
    }
    fake_conn_push(&h->r.conn);
    honest = h->r.conn.out;
    h->r.conn.out = (struct buf){0};
    while (h->r.up && honest.len - at >= HEAD) {
        const uint8_t *p = honest.p + at;
        const size_t n =
            HEAD + ((size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3]);

        const enum trick t = hostile_say(&h->rng, &h->memory, p, n, &out);

        h->answers++;
        h->tricks[t]++;
        rig_feed(&h->r, out.p, out.len);
        if (t == TRICK_CUT && h->r.up) {
            rig_cut(&h->r);
        }
        buf_clear(&out);
        at += n;
    }
    buf_fini(&honest);
    buf_fini(&out);
    if (heap_bytes() > h->heap_most) {
        h->heap_most = heap_bytes();
    }
}

static void read_some(weir_sub *s, uint64_t *rng)
{
    const weir_message *m;
    weir_error e;

    for (int i = 0; i < 5 && (m = weir_next(s, 0)) != NULL; i++) {
        weir_done(m, (weir_verdict)hostile_random(rng, 4));
    }
    e = weir_sub_error(s);
    check_error(&e);
}

static void talk(struct hostile *h)
{
    weir_sub *subs[3] = {
        weir_subscribe(h->r.w, "t", NULL, NULL),
        weir_subscribe(h->r.w, "t,u", "log", "mode=log"),
        weir_subscribe(h->r.w, "t", "queue", "mode=queue prefetch=20"),
    };

    for (int i = 0; i < STEPS; i++) {
        if (i < SENDS) {
            const weir_error e =
                weir_send_async(h->r.w, i % 3 ? "t" : "u", weir_str(i % 2 ? "k" : NULL),
                                weir_str("value"), NULL, rig_sent, &h->r);
            h->queued += e.outcome == WEIR_DONE; /* else: this handle was fenced */
            check_error(&e);
        }
        rig_run(&h->r, 1 + (int64_t)hostile_random(&h->rng, i % 10 == 9 ? 3000 : 20));
        say(h);
        for (int k = 0; k < 3; k++) {
            read_some(subs[k], &h->rng);
        }
    }
}

static void one_conversation(struct hostile *h)
{
    static const char *const values[] = {"one", "two", "three", "four"};
    const size_t before = heap_bytes();

    rig_init(&h->r, "send_timeout_ms=5000 reconnect_min_ms=1 reconnect_max_ms=20");
    h->r.hold_answers = true;
    h->queued = 0;
    fake_topic_add(h->r.fb, "t", 2);
    fake_topic_add(h->r.fb, "u", 1);
    for (int i = 0; i < 4; i++) {
        fake_append(h->r.fb, "t", (uint32_t)i % 2, values, 4,
                    i < 2 ? BATCH_CODEC_NONE : BATCH_CODEC_ZSTD);
    }
    talk(h);
    rig_fini(&h->r);
    assert_int_equal(h->r.n_results, h->queued);
    for (unsigned i = 0; i < h->r.n_results; i++) {
        check_error(&h->r.results[i].error);
    }
    assert_true(h->heap_most < before + 64 * MIB);
}

static void random_conversations(void **state)
{
    const uint64_t want = number_from("HOSTILE_ANSWERS", 50000);
    struct hostile *h = calloc(1, sizeof *h);

    (void)state;
    assert_non_null(h);
    h->rng = number_from("HOSTILE_SEED", 1) * 2 + 1;
    while (h->answers < want) {
        one_conversation(h);
    }
    for (int i = 0; i < TRICKS; i++) {
        assert_true(h->tricks[i] > want / 100);
    }
    print_message("%llu answers, most memory %zu KiB\n", (unsigned long long)h->answers,
                  h->heap_most >> 10);
    memory_fini(&h->memory);
    free(h);
}

/* ---------------------------------------------------------------- closing at every byte */

/* Runs a whole conversation whose connection ends after `k` bytes of the server's. Returns false
 * when it did not have so many. */
static bool ends_after(size_t k)
{
    static const char *const values[] = {"one", "two"};
    struct rig r;
    weir_sub *s;
    size_t told = 0;
    bool cut = false;

    rig_init(&r, "reconnect_min_ms=1 reconnect_max_ms=2");
    fake_topic_add(r.fb, "t", 1);
    fake_append(r.fb, "t", 0, values, 2, BATCH_CODEC_NONE);
    r.hold_answers = true;
    s = weir_subscribe(r.w, "t", NULL, NULL);
    rig_send(&r, "t", 0, "three");
    for (int i = 0; i < 200 && r.n_results == 0; i++) {
        struct buf out;

        rig_run(&r, 1);
        if (!r.up) {
            continue;
        }
        fake_conn_push(&r.conn);
        out = r.conn.out;
        r.conn.out = (struct buf){0};
        if (!cut && told + out.len >= k) {
            rig_feed(&r, out.p, k - told);
            rig_cut(&r);
            cut = true;
        } else {
            rig_feed(&r, out.p, out.len);
        }
        told += out.len;
        buf_fini(&out);
    }
    r.hold_answers = false;
    rig_run(&r, 50);
    assert_int_equal(r.n_results, 1);
    assert_int_equal(r.results[0].error.outcome, WEIR_DONE);
    assert_int_equal(r.results[0].offset, 2);
    rig_expect(s, "one");
    rig_expect(s, "two");
    rig_expect(s, "three");
    rig_fini(&r);
    return cut;
}

static void closing_at_every_byte(void **state)
{
    size_t k = 0;

    (void)state;
    while (ends_after(k)) {
        k++;
    }
    assert_true(k > 300);
    print_message("%zu places\n", k);
}

/* ---------------------------------------------------------------- refusing for ever */

enum { REFUSED_S = 20, REFUSALS_MOST = 100 * REFUSED_S };

struct refusal {
    uint32_t op;
    enum werr code;
    uint64_t times;
};

static enum fake_verdict refuse(void *arg, uint32_t op, const struct msg_produce *m,
                                const struct batch_head *b, struct werror *e)
{
    struct refusal *f = arg;

    (void)m;
    (void)b;
    if (op != f->op) {
        return FAKE_GO;
    }
    if (++f->times > REFUSALS_MOST) { /* here: it may not come to the end of a turn */
        fail_msg("op %u, code %d: asked %llu times in less than %d s", op, (int)f->code,
                 (unsigned long long)f->times, REFUSED_S);
    }
    werror_set(e, f->code, "no");
    return FAKE_REFUSE;
}

/* One operation is refused with one code for 20 s: the client neither gives up its manners nor its
 * memory, and every send ends. */
static void refused_for_ever(uint32_t op, enum werr code)
{
    static const char *const values[] = {"one", "two"};
    struct refusal f = {op, code, 0};
    struct rig r;
    weir_sub *subs[3];

    rig_init(&r, "send_timeout_ms=10000");
    fake_topic_add(r.fb, "t", 2);
    fake_append(r.fb, "t", 0, values, 2, BATCH_CODEC_NONE);
    r.fb->hooks.request = refuse;
    r.fb->hooks.arg = &f;
    subs[0] = weir_subscribe(r.w, "t", NULL, NULL);
    subs[1] = weir_subscribe(r.w, "t", "log", "mode=log");
    subs[2] = weir_subscribe(r.w, "t", "queue", "mode=queue");
    rig_send(&r, "t", 0, "three");
    for (int i = 0; i < REFUSED_S * 10; i++) {
        rig_run(&r, 100);
        for (int k = 0; k < 3; k++) {
            const weir_message *m = weir_next(subs[k], 0);
            const weir_error e = weir_sub_error(subs[k]);

            weir_done(m, WEIR_ACK);
            check_error(&e);
        }
    }
    if (r.connects > REFUSALS_MOST) {
        fail_msg("op %u, code %d: connected %u times in %d s", op, (int)code, r.connects,
                 REFUSED_S);
    }
    if (r.n_results != 1) {
        fail_msg("op %u, code %d: %u results of one send", op, (int)code, r.n_results);
    }
    check_error(&r.results[0].error);
    if (op == OP_PRODUCE && r.results[0].error.outcome == WEIR_DONE) {
        assert_int_equal(code, WERR_DUP_UNKNOWN_OFFSET);
    }
    rig_fini(&r);
}

static void refusing_for_ever(void **state)
{
    static const uint32_t ops[] = {
        OP_HELLO,      OP_INIT_PRODUCER,   OP_METADATA, OP_PRODUCE, OP_SUBSCRIBE, OP_SUB_UPDATE,
        OP_GROUP_JOIN, OP_GROUP_HEARTBEAT, OP_COMMIT,   OP_ACQUIRE, OP_SETTLE};

    (void)state;
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        for (int code = 1; code < 60; code++) { /* with those that nobody knows */
            refused_for_ever(ops[i], (enum werr)code);
        }
    }
}

/* ---------------------------------------------------------------- memory */

static void feed_be32(struct rig *r, uint32_t v)
{
    const uint8_t p[] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};

    rig_feed(r, p, sizeof p);
}

static void connected(struct rig *r)
{
    static const char *const values[] = {"one"};

    rig_init(r, "reconnect_min_ms=1 reconnect_max_ms=2");
    fake_topic_add(r->fb, "t", 1);
    fake_append(r->fb, "t", 0, values, 1, BATCH_CODEC_NONE);
    rig_run(r, 5);
    (void)weir_subscribe(r->w, "t", NULL, NULL);
    rig_run(r, 20);
    assert_int_equal(r->w->conn.state, CONN_READY);
}

/* A frame that is announced and does not come takes no memory. */
static void announced_and_not_sent(void **state)
{
    struct rig r;
    size_t before;

    (void)state;
    connected(&r);
    before = heap_bytes();
    feed_be32(&r, LIMIT_FRAME);
    rig_feed(&r, "\x94\x01", 2);
    assert_true(heap_bytes() < before + 256 * 1024);
    rig_fini(&r);
    connected(&r);
    feed_be32(&r, LIMIT_FRAME + 1);
    assert_int_not_equal(r.w->conn.state, CONN_READY);
    rig_fini(&r);
}

static void put_be32_at(struct buf *b, size_t at, uint32_t v)
{
    for (size_t i = 0; i < 4; i++) {
        b->p[at + i] = (uint8_t)(v >> (24 - 8 * i));
    }
}

/* A zstd frame (RFC 8878) of blocks that repeat one byte: 4 bytes for each 128 KiB. */
static void put_bomb(struct buf *b, uint64_t content, bool with_size)
{
    enum { BLOCK = 128 << 10, RLE = 1, WINDOW_1M = 0x50 };
    static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd};

    buf_put(b, magic, sizeof magic);
    buf_put_u8(b, with_size ? 0xc0 : 0);
    buf_put_u8(b, WINDOW_1M);
    for (int i = 0; i < 8 && with_size; i++) {
        buf_put_u8(b, (uint8_t)(content >> (8 * i)));
    }
    while (content > 0) {
        const uint64_t n = content < BLOCK ? content : BLOCK;
        const uint64_t head = n << 3 | RLE << 1 | (n == content);

        for (int i = 0; i < 3; i++) {
            buf_put_u8(b, (uint8_t)(head >> (8 * i)));
        }
        buf_put_u8(b, 0);
        content -= n;
    }
}

/* A DELIVER whose batch unpacks to `content` bytes. */
static void deliver_bomb(struct rig *r, uint64_t tid, uint64_t content, bool with_size)
{
    enum { AT_LENGTH = 20, AT_CRC = 28, AT_CHECKED = 32, AT_CODEC = 33 };
    struct buf b = {0}, frame = {0};
    struct batch_builder bb;
    struct slice batch;
    size_t before, at;

    batch_builder_init(&bb, 0);
    assert_int_equal(batch_add(&bb, 1, (struct slice){0}, slice_str("x"), NULL, 0), WERR_OK);
    assert_int_equal(batch_finish(&bb, NULL, BATCH_CODEC_NONE, NULL, &batch), WERR_OK);
    buf_put(&b, batch.p, BATCH_HEAD);
    put_bomb(&b, content, with_size);
    b.p[AT_CODEC] = BATCH_CODEC_ZSTD;
    put_be32_at(&b, AT_LENGTH, (uint32_t)b.len);
    put_be32_at(&b, AT_CRC, crc32c(b.p + AT_CHECKED, b.len - AT_CHECKED));
    batch_stamp(b.p, 0, 1700000000000, 1);
    before = heap_bytes();
    at = msg_begin_deliver(&frame, 1, 1);
    msg_put_deliver_part_head(&frame, tid, 0, 1, b.len);
    buf_put(&frame, b.p, b.len);
    frame_end(&frame, at, 0);
    rig_feed(r, frame.p, frame.len);
    rig_run(r, 20);
    assert_true(heap_bytes() < before + 20 * MIB);
    batch_builder_fini(&bb);
    buf_fini(&frame);
    buf_fini(&b);
}

static void zstd_bombs(void **state)
{
    static const uint64_t contents[] = {1 << 20, 17 << 20, 256 << 20, UINT64_C(1) << 31};

    (void)state;
    for (size_t i = 0; i < 2 * sizeof contents / sizeof contents[0]; i++) {
        struct rig r;
        weir_sub *s;
        weir_error e;
        const weir_message *m;

        rig_init(&r, "reconnect_min_ms=1 reconnect_max_ms=2");
        fake_topic_add(r.fb, "t", 1);
        s = weir_subscribe(r.w, "t", NULL, "start=earliest");
        rig_run(&r, 20);
        deliver_bomb(&r, fake_topic(r.fb, "t")->tid, contents[i / 2], i % 2);
        m = weir_next(s, 0);
        assert_null(m); /* no size, too large, or over the ratio */
        e = weir_sub_error(s);
        check_error(&e);
        assert_int_equal(e.code, WEIR_E_CORRUPT);
        rig_fini(&r);
    }
}

/* Answers to questions that nobody asked, and notifies about nothing, by the hundred thousand. */
static void answers_to_nothing(void **state)
{
    struct rig r;
    struct buf b = {0};
    size_t before;

    (void)state;
    connected(&r);
    before = heap_bytes();
    for (uint32_t i = 0; i < 100000; i++) {
        const uint8_t answer[] = {
            0, 0, 0, 9, 0x94, 1, 0xce, 0x7f, (uint8_t)(i >> 8), 0xff, (uint8_t)i, 0xc0, 0x90};
        const uint8_t notify[] = {0, 0, 0, 5, 0x94, 2, 0x63, 0x7f, 0x90};

        buf_clear(&b);
        buf_put(&b, i % 2 ? answer : notify, i % 2 ? sizeof answer : sizeof notify);
        rig_feed(&r, b.p, b.len);
        rig_run(&r, i % 100 ? 0 : 5);
    }
    assert_true(heap_bytes() < before + MIB);
    buf_fini(&b);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closing_at_every_byte),
        cmocka_unit_test(announced_and_not_sent),
        cmocka_unit_test(zstd_bombs),
        cmocka_unit_test(answers_to_nothing),
        cmocka_unit_test(refusing_for_ever),
        cmocka_unit_test(random_conversations),
    };

    return cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
}
