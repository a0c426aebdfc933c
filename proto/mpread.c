/*
 * Happy path: one head byte decides type and width; everything is checked against the bytes left
 * before the cursor moves. What can fail: truncation, a wrong type, a value out of range, a
 * container that announces more elements than bytes. Who owns what: nothing is owned, all slices
 * are views.
 */
#include "proto/mpread.h"

/* The head of one value, decoded: type, how many bytes the head took, and its number. */
struct head {
    enum mp_type type;
    size_t head_bytes;
    uint64_t n;  /* value of an unsigned, payload length, or element count */
    int64_t neg; /* value of a negative integer */
};

void mpread_init(struct mpread *r, const void *p, size_t n)
{
    r->start = r->p = p;
    r->end = n != 0 ? r->p + n : r->p; /* p may be NULL when n is 0 */
    r->err = WERR_OK;
    r->what = NULL;
}

void mpread_fail(struct mpread *r, const char *what)
{
    if (r->err == WERR_OK) {
        r->err = WERR_MALFORMED;
        r->what = what;
    }
}

static uint64_t load_be(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++) {
        v = (v << 8) | p[i];
    }
    return v;
}

static void set(struct head *h, enum mp_type type, size_t head_bytes, uint64_t n)
{
    h->type = type;
    h->head_bytes = head_bytes;
    h->n = n;
}

/* Heads 0xc0..0xdf: all but the fix types. `width` bytes of number follow the head byte. */
static bool wide_head(const uint8_t *p, size_t left, struct head *h)
{
    /* clang-format off */
    static const struct { uint8_t type, width; } table[32] = {
        [0x00] = {MP_NIL, 0},   [0x01] = {MP_BAD, 0},   [0x02] = {MP_BOOL, 0},  [0x03] = {MP_BOOL, 0},
        [0x04] = {MP_BIN, 1},   [0x05] = {MP_BIN, 2},   [0x06] = {MP_BIN, 4},   [0x07] = {MP_EXT, 1},
        [0x08] = {MP_EXT, 2},   [0x09] = {MP_EXT, 4},   [0x0a] = {MP_FLOAT, 4}, [0x0b] = {MP_FLOAT, 8},
        [0x0c] = {MP_UINT, 1},  [0x0d] = {MP_UINT, 2},  [0x0e] = {MP_UINT, 4},  [0x0f] = {MP_UINT, 8},
        [0x10] = {MP_INT, 1},   [0x11] = {MP_INT, 2},   [0x12] = {MP_INT, 4},   [0x13] = {MP_INT, 8},
        [0x14] = {MP_EXT, 0},   [0x15] = {MP_EXT, 0},   [0x16] = {MP_EXT, 0},   [0x17] = {MP_EXT, 0},
        [0x18] = {MP_EXT, 0},   [0x19] = {MP_STR, 1},   [0x1a] = {MP_STR, 2},   [0x1b] = {MP_STR, 4},
        [0x1c] = {MP_ARRAY, 2}, [0x1d] = {MP_ARRAY, 4}, [0x1e] = {MP_MAP, 2},   [0x1f] = {MP_MAP, 4},
    };
    /* clang-format on */
    unsigned i = p[0] - 0xc0U;
    size_t width = table[i].width;
    uint64_t n;

    if (table[i].type == MP_BAD || left < 1 + width) {
        return false;
    }
    n = load_be(p + 1, width);
    set(h, (enum mp_type)table[i].type, 1 + width, n);
    if (h->type == MP_BOOL) {
        h->n = p[0] == 0xc3;
    } else if (h->type == MP_EXT) {
        h->n = 1 + (width == 0 ? (uint64_t)1 << (p[0] - 0xd4) : n); /* type byte and data */
    } else if (h->type == MP_FLOAT) {
        h->head_bytes = 1;
        h->n = width;
    } else if (h->type == MP_INT) {
        unsigned shift = (unsigned)(64 - 8 * width) & 63; /* every integer here has a width */

        h->neg = (int64_t)(n << shift) >> shift;
        if (h->neg >= 0) { /* a signed encoding of a value that is not negative is legal */
            set(h, MP_UINT, 1 + width, (uint64_t)h->neg);
        }
    }
    return true;
}

static bool read_head(const struct mpread *r, struct head *h)
{
    size_t left = (size_t)(r->end - r->p);
    uint8_t b;

    if (r->err != WERR_OK || left == 0) {
        return false;
    }
    b = r->p[0];
    h->neg = 0;
    if (b < 0x80) {
        set(h, MP_UINT, 1, b);
    } else if (b < 0x90) {
        set(h, MP_MAP, 1, b & 0x0fU);
    } else if (b < 0xa0) {
        set(h, MP_ARRAY, 1, b & 0x0fU);
    } else if (b < 0xc0) {
        set(h, MP_STR, 1, b & 0x1fU);
    } else if (b >= 0xe0) {
        set(h, MP_INT, 1, 0);
        h->neg = (int64_t)b - 256;
    } else {
        return wide_head(r->p, left, h);
    }
    return true;
}

enum mp_type mpread_peek(const struct mpread *r)
{
    struct head h;

    return read_head(r, &h) ? h.type : MP_BAD;
}

bool mpread_nil(struct mpread *r)
{
    if (r->err != WERR_OK || r->p == r->end || r->p[0] != 0xc0) {
        return false;
    }
    r->p++;
    return true;
}

/* Reads a head of the wanted type, or fails with `what`. */
static bool want(struct mpread *r, enum mp_type type, struct head *h, const char *what)
{
    if (r->err != WERR_OK) {
        return false;
    }
    if (!read_head(r, h)) {
        mpread_fail(r, r->p == r->end ? "truncated" : "bad or truncated value");
        return false;
    }
    if (h->type != type) {
        mpread_fail(r, what);
        return false;
    }
    return true;
}

static uint32_t container(struct mpread *r, enum mp_type type, unsigned per, const char *what)
{
    struct head h;

    if (!want(r, type, &h, what)) {
        return 0;
    }
    if (h.n * per > (uint64_t)(r->end - r->p) - h.head_bytes) {
        mpread_fail(r, "container announces more elements than bytes");
        return 0;
    }
    r->p += h.head_bytes;
    return (uint32_t)h.n;
}

uint32_t mpread_array(struct mpread *r)
{
    return container(r, MP_ARRAY, 1, "array expected");
}

uint32_t mpread_map(struct mpread *r)
{
    return container(r, MP_MAP, 2, "map expected");
}

uint64_t mpread_uint(struct mpread *r, uint64_t max)
{
    struct head h;

    if (!want(r, MP_UINT, &h, "unsigned integer expected")) {
        return 0;
    }
    if (h.n > max) {
        mpread_fail(r, "integer too large");
        return 0;
    }
    r->p += h.head_bytes;
    return h.n;
}

int64_t mpread_int(struct mpread *r, int64_t min, int64_t max)
{
    struct head h;
    int64_t v;

    if (r->err != WERR_OK) {
        return 0;
    }
    if (!read_head(r, &h)) {
        mpread_fail(r, "truncated");
        return 0;
    }
    if (h.type != MP_UINT && h.type != MP_INT) {
        mpread_fail(r, "integer expected");
        return 0;
    }
    if (h.type == MP_UINT && h.n > INT64_MAX) {
        mpread_fail(r, "integer too large");
        return 0;
    }
    v = h.type == MP_UINT ? (int64_t)h.n : h.neg;
    if (v < min || v > max) {
        mpread_fail(r, "integer out of range");
        return 0;
    }
    r->p += h.head_bytes;
    return v;
}

bool mpread_bool(struct mpread *r)
{
    struct head h;

    if (!want(r, MP_BOOL, &h, "boolean expected")) {
        return false;
    }
    r->p += h.head_bytes;
    return h.n != 0;
}

/* The payload of a str or bin whose head was read. */
static struct slice payload(struct mpread *r, const struct head *h, size_t max)
{
    struct slice s = {NULL, 0};

    if (h->n > (uint64_t)(r->end - r->p) - h->head_bytes) {
        mpread_fail(r, "string longer than the frame");
        return s;
    }
    if (h->n > max) {
        mpread_fail(r, "string too long");
        return s;
    }
    s = slice_of(r->p + h->head_bytes, (size_t)h->n);
    r->p += h->head_bytes + (size_t)h->n;
    return s;
}

/* Length of the UTF-8 sequence at p (RFC 3629: no overlong form, no surrogate), 0 when invalid. */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
    size_t n = p[0] < 0x80   ? 1
               : p[0] < 0xc2 ? 0
               : p[0] < 0xe0 ? 2
               : p[0] < 0xf0 ? 3
               : p[0] < 0xf5 ? 4
                             : 0;

    if (n == 0 || n > left) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) {
        return 0;
    }
    return n;
}

size_t utf8_prefix(struct slice s)
{
    size_t i = 0;

    while (i < s.n) {
        size_t n = utf8_sequence(s.p + i, s.n - i);

        if (n == 0 || s.p[i] == 0) {
            break;
        }
        i += n;
    }
    return i;
}

struct slice mpread_str(struct mpread *r, size_t max)
{
    struct slice s = {NULL, 0};
    struct head h;

    if (!want(r, MP_STR, &h, "string expected")) {
        return s;
    }
    s = payload(r, &h, max);
    if (r->err == WERR_OK && utf8_prefix(s) != s.n) {
        mpread_fail(r, "string is not UTF-8 without NUL");
    }
    return r->err == WERR_OK ? s : (struct slice){NULL, 0};
}

struct slice mpread_bin(struct mpread *r, size_t max)
{
    struct head h;

    if (!want(r, MP_BIN, &h, "bin expected")) {
        return (struct slice){NULL, 0};
    }
    return payload(r, &h, max);
}

struct slice mpread_bytes(struct mpread *r, size_t max)
{
    struct head h;

    if (r->err != WERR_OK) {
        return (struct slice){NULL, 0};
    }
    if (!read_head(r, &h) || (h.type != MP_STR && h.type != MP_BIN)) {
        mpread_fail(r, "str or bin expected");
        return (struct slice){NULL, 0};
    }
    return payload(r, &h, max);
}

struct slice mpread_skip(struct mpread *r)
{
    const uint8_t *from = r->p;
    uint64_t due = 1; /* values still to be passed: a counter instead of a stack */

    while (due > 0 && r->err == WERR_OK) {
        struct head h;
        uint64_t left, more = 0, body = 0;

        if (!read_head(r, &h)) {
            mpread_fail(r, "truncated or bad value");
            break;
        }
        left = (uint64_t)(r->end - r->p) - h.head_bytes;
        if (h.type == MP_ARRAY || h.type == MP_MAP) {
            more = h.type == MP_MAP ? 2 * h.n : h.n;
        } else if (h.type == MP_STR || h.type == MP_BIN || h.type == MP_EXT || h.type == MP_FLOAT) {
            body = h.n;
        }
        due = due - 1 + more;
        if (body > left || due > left - body) {
            mpread_fail(r, "value longer than the frame");
            break;
        }
        r->p += h.head_bytes + (size_t)body;
    }
    return r->err == WERR_OK ? slice_of(from, (size_t)(r->p - from)) : (struct slice){NULL, 0};
}

bool mpread_done(struct mpread *r)
{
    if (r->err == WERR_OK && r->p != r->end) {
        mpread_fail(r, "trailing bytes");
    }
    return r->err == WERR_OK;
}
