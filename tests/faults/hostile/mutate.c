/* Turns honest frames into what a server might say that is broken or means harm. */
#include "tests/faults/hostile/hostile.h"

#include <string.h>

enum { HEAD = 4, EXTREMES = 12, MEMORY_FRAME = 4096 };

uint64_t hostile_random(uint64_t *rng, uint64_t n)
{
    *rng ^= *rng << 13; /* xorshift64 (Marsaglia 2003) */
    *rng ^= *rng >> 7;
    *rng ^= *rng << 17;
    return (*rng >> 11) % n;
}

void memory_fini(struct memory *m)
{
    for (unsigned i = 0; i < sizeof m->frames / sizeof m->frames[0]; i++) {
        buf_fini(&m->frames[i]);
    }
}

/* A msgpack element: bytes of its head, and of what follows it that is its own. */
struct token {
    size_t head, body;
};

static uint64_t be(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

static struct token token_at(const uint8_t *p, size_t n)
{
    static const uint8_t heads[32] = {
        1, 1, 1, 1, 2, 3, 5, 3,  4,  6, 5, 9, 2, 3, 5, 9, /* c0 .. cf */
        2, 3, 5, 9, 3, 4, 6, 10, 18, 2, 3, 5, 3, 5, 3, 5  /* d0 .. df */
    };
    struct token t = {1, 0};

    if (*p >= 0xc0 && *p < 0xe0) {
        t.head = heads[*p - 0xc0];
    }
    if (t.head > n) {
        return (struct token){n, 0};
    }
    if (*p >= 0xa0 && *p < 0xc0) {
        t.body = *p & 0x1f;
    } else if ((*p >= 0xc4 && *p <= 0xc6) || (*p >= 0xd9 && *p <= 0xdb)) {
        t.body = (size_t)be(p + 1, t.head - 1);
    }
    if (t.body > n - t.head) {
        t.body = n - t.head;
    }
    return t;
}

static void put(struct buf *b, const void *p, size_t n)
{
    buf_put(b, p, n);
}

/* Writes the right length over the first four bytes. */
static void fix_length(struct buf *b, size_t at)
{
    const size_t n = b->len - at - HEAD;

    b->p[at] = (uint8_t)(n >> 24);
    b->p[at + 1] = (uint8_t)(n >> 16);
    b->p[at + 2] = (uint8_t)(n >> 8);
    b->p[at + 3] = (uint8_t)n;
}

static void change_bytes(uint64_t *rng, struct buf *out, size_t at)
{
    const uint64_t times = 1 + hostile_random(rng, 4);

    for (uint64_t i = 0; i < times; i++) {
        const size_t k = at + hostile_random(rng, out->len - at);

        const uint64_t any = hostile_random(rng, 256), bit = UINT64_C(1) << hostile_random(rng, 8);
        out->p[k] = (uint8_t)(hostile_random(rng, 2) ? any : out->p[k] ^ bit);
    }
}

/* An element that nobody expects here. */
static void put_extreme(uint64_t *rng, struct buf *out)
{
    static const struct {
        uint8_t n, p[9];
    } extremes[EXTREMES] = {
        {1, {0xc0}},                                              /* nil */
        {1, {0x00}},                                              /* 0 */
        {1, {0x90}},                                              /* [] */
        {1, {0x80}},                                              /* {} */
        {1, {0xff}},                                              /* -1 */
        {5, {0xce, 0xff, 0xff, 0xff, 0xff}},                      /* 2^32 - 1 */
        {9, {0xcf, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, /* 2^53 - 1 */
        {9, {0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
        {9, {0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0}},
        {5, {0xdd, 0x7f, 0xff, 0xff, 0xff}}, /* an array of 2^31 - 1 */
        {5, {0xc6, 0xff, 0xff, 0xff, 0xff}}, /* bytes that are not there */
        {3, {0xa2, 0xc3, 0x28}},             /* not UTF-8 */
    };
    const uint64_t i = hostile_random(rng, EXTREMES);

    put(out, extremes[i].p, extremes[i].n);
}

/* Replaces, removes or doubles one element of the frame. */
static void change_token(uint64_t *rng, const uint8_t *frame, size_t n, struct buf *out)
{
    enum { MOST = 256 };
    const size_t begin = out->len;
    size_t tokens = 0, which, at = HEAD;

    for (size_t k = HEAD; k < n && tokens < MOST; tokens++) {
        const struct token t = token_at(frame + k, n - k);

        k += t.head + t.body;
    }
    which = hostile_random(rng, tokens ? tokens : 1);
    for (size_t i = 0; i < which && at < n; i++) {
        const struct token t = token_at(frame + at, n - at);

        at += t.head + t.body;
    }
    put(out, frame, at);
    if (at < n) {
        const struct token t = token_at(frame + at, n - at);

        switch (hostile_random(rng, 4)) {
        case 0: /* gone */
            break;
        case 1: /* twice */
            put(out, frame + at, t.head + t.body);
            put(out, frame + at, t.head + t.body);
            break;
        default:
            put_extreme(rng, out);
        }
        put(out, frame + at + t.head + t.body, n - at - t.head - t.body);
    }
    fix_length(out, begin);
}

static void lie_about_length(uint64_t *rng, struct buf *out, size_t at)
{
    static const uint32_t lies[] = {0, 1, 0xffffffff, 0x7fffffff, 16u << 20, (16u << 20) + 1};
    uint32_t v = lies[hostile_random(rng, sizeof lies / sizeof lies[0])];

    if (hostile_random(rng, 2)) {
        v = (uint32_t)(out->len - at - HEAD + hostile_random(rng, 9)) - 4;
    }
    out->p[at] = (uint8_t)(v >> 24);
    out->p[at + 1] = (uint8_t)(v >> 16);
    out->p[at + 2] = (uint8_t)(v >> 8);
    out->p[at + 3] = (uint8_t)v;
}

/* Another number in the place of the correlation. */
static void change_corr(uint64_t *rng, const uint8_t *frame, size_t n, struct buf *out)
{
    const size_t begin = out->len, at = HEAD + 2;
    const struct token t = token_at(frame + at, n > at ? n - at : 1);
    const uint64_t v = hostile_random(rng, 3) ? hostile_random(rng, 64) : *rng;
    const uint8_t corr[5] = {0xce, (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8),
                             (uint8_t)v};

    put(out, frame, at);
    put(out, corr, sizeof corr);
    put(out, frame + at + t.head, n - at - t.head);
    fix_length(out, begin);
}

/* [1, corr, [code, class, "no", {"retry_after_ms": v}], []] */
static void put_error(uint64_t *rng, const uint8_t *frame, size_t n, struct buf *out)
{
    static const uint8_t more[] = {0x81, 0xae, 'r', 'e', 't', 'r', 'y', '_',
                                   'a',  'f',  't', 'e', 'r', '_', 'm', 's'};
    const size_t begin = out->len, at = HEAD + 2;
    const struct token t = token_at(frame + at, n - at);
    const uint8_t code[] = {
        0x94, 0xcc, (uint8_t)hostile_random(rng, 60), (uint8_t)hostile_random(rng, 7), 0xa2,
        'n',  'o'};

    put(out, frame, HEAD);
    put(out, "\x94\x01", 2);
    put(out, frame + at, t.head);
    put(out, code, sizeof code);
    put(out, more, sizeof more);
    put_extreme(rng, out);
    put(out, "\x90", 1);
    fix_length(out, begin);
}

static void put_garbage(uint64_t *rng, struct buf *out)
{
    const uint64_t n = 1 + hostile_random(rng, 200);

    for (uint64_t i = 0; i < n; i++) {
        const uint8_t c = (uint8_t)hostile_random(rng, 256);

        put(out, &c, 1);
    }
}

static void remember(struct memory *m, const uint8_t *frame, size_t n)
{
    struct buf *b = &m->frames[m->next++ % (sizeof m->frames / sizeof m->frames[0])];

    if (n <= MEMORY_FRAME) {
        buf_clear(b);
        put(b, frame, n);
    }
}

enum trick hostile_say(uint64_t *rng, struct memory *m, const uint8_t *frame, size_t n,
                       struct buf *out)
{
    /* Half of all is honest, so that a conversation gets anywhere. */
    const enum trick t = hostile_random(rng, 2) ? (enum trick)hostile_random(rng, TRICKS) : 0;
    const struct buf *old = &m->frames[hostile_random(rng, 16)];
    const size_t begin = out->len;

    switch (t) {
    case TRICK_TOKEN:
        change_token(rng, frame, n, out);
        break;
    case TRICK_CORR:
        change_corr(rng, frame, n, out);
        break;
    case TRICK_ERROR:
        put_error(rng, frame, n, out);
        break;
    case TRICK_CUT:
        put(out, frame, hostile_random(rng, n + 1));
        break;
    case TRICK_SILENCE:
        break;
    case TRICK_OLD:
        put(out, old->p, old->len);
        put(out, frame, n);
        break;
    case TRICK_GARBAGE:
        put_garbage(rng, out);
        put(out, frame, n);
        break;
    case TRICK_NONE:
    case TRICK_BYTES:
    case TRICK_LENGTH:
    case TRICK_SHORT:
    case TRICK_TWICE:
    case TRICKS:
        put(out, frame, n);
    }
    if (t == TRICK_BYTES) {
        change_bytes(rng, out, begin);
    } else if (t == TRICK_LENGTH) {
        lie_about_length(rng, out, begin);
    } else if (t == TRICK_SHORT) {
        out->len = begin + HEAD + hostile_random(rng, n - HEAD + 1);
        fix_length(out, begin);
    } else if (t == TRICK_TWICE) {
        put(out, frame, n);
    }
    remember(m, frame, n);
    return t;
}
