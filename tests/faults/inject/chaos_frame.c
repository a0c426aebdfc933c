/*
 * The little that the proxy knows of weir's frames (docs/PROTOCOL.md, sections 2, 7, 8): where one
 * ends, what it is, which batch it brings. A frame that it does not understand has no op, and
 * passes.
 */
#include "tests/faults/inject/chaos.h"

enum { BATCH_PID = 40, BATCH_SEQ = 56, BATCH_EPOCH = 60, BATCH_HEAD = 64, PRODUCE_DUP = 1 };

struct reader {
    const uint8_t *p, *end;
};

static uint64_t be(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

/* The number behind a byte of type; its length is 1, 2, 4 or 8. */
static bool wide(struct reader *r, size_t n, uint64_t *v)
{
    if ((size_t)(r->end - r->p) < 1 + n) {
        return false;
    }
    *v = be(r->p + 1, n);
    r->p += 1 + n;
    return true;
}

static bool get_uint(struct reader *r, uint64_t *v)
{
    if (r->p == r->end) {
        return false;
    }
    switch (*r->p) {
    case 0xcc:
    case 0xd0:
        return wide(r, 1, v);
    case 0xcd:
    case 0xd1:
        return wide(r, 2, v);
    case 0xce:
    case 0xd2:
        return wide(r, 4, v);
    case 0xcf:
    case 0xd3:
        return wide(r, 8, v);
    default:
        *v = *r->p;
        return *r->p < 0x80 && r->p++;
    }
}

static bool get_array(struct reader *r, uint64_t *n)
{
    if (r->p == r->end) {
        return false;
    }
    if (*r->p == 0xdc) {
        return wide(r, 2, n);
    }
    if (*r->p == 0xdd) {
        return wide(r, 4, n);
    }
    *n = *r->p & 0x0f;
    return (*r->p & 0xf0) == 0x90 && r->p++;
}

static bool get_bin(struct reader *r, const uint8_t **p, uint64_t *n)
{
    bool ok = false;

    if (r->p != r->end && *r->p >= 0xc4 && *r->p <= 0xc6) {
        ok = wide(r, (size_t)1 << (*r->p - 0xc4), n);
    }
    *p = r->p;
    if (!ok || *n > (uint64_t)(r->end - r->p)) {
        return false;
    }
    r->p += *n;
    return true;
}

static bool get_nil(struct reader *r)
{
    return r->p != r->end && *r->p == 0xc0 && r->p++;
}

static bool read_head(struct reader *r, struct chaos_head *h)
{
    uint64_t n, kind, corr, op = 0;

    if (!get_array(r, &n) || n < 4 || n > 5 || !get_uint(r, &kind) || kind > CHAOS_NOTIFY ||
        !get_uint(r, &corr) || corr > UINT32_MAX) {
        return false;
    }
    if (kind != CHAOS_RESPONSE && (!get_uint(r, &op) || op >= CHAOS_OPS)) {
        return false;
    }
    *h = (struct chaos_head){(enum chaos_kind)kind, (uint32_t)corr, (uint32_t)op};
    return true;
}

bool chaos_read_head(const uint8_t *p, size_t n, struct chaos_head *h)
{
    struct reader r = {p + 4, p + n};

    return n > 4 && read_head(&r, h);
}

void chaos_read_batch(const uint8_t *p, size_t n, struct chaos_batch *b)
{
    struct reader r = {p + 4, p + n};
    struct chaos_head h;
    const uint8_t *bin;
    uint64_t args, part, size;

    *b = (struct chaos_batch){0};
    if (n <= 4 || !read_head(&r, &h) || !get_array(&r, &args) || args < 3 ||
        !get_uint(&r, &b->tid) || !get_uint(&r, &part) || !get_bin(&r, &bin, &size) ||
        size < BATCH_HEAD) {
        return;
    }
    b->p = (uint32_t)part;
    b->pid = be(bin + BATCH_PID, 8);
    b->seq = (uint32_t)be(bin + BATCH_SEQ, 4);
    b->epoch = (uint16_t)be(bin + BATCH_EPOCH, 2);
    b->known = b->pid != 0;
}

bool chaos_read_offset(const uint8_t *p, size_t n, uint64_t *offset, bool *duplicate)
{
    struct reader r = {p + 4, p + n};
    struct chaos_head h;
    uint64_t args, at, level, flags;

    if (n <= 4 || !read_head(&r, &h) || !get_nil(&r) || !get_array(&r, &args) || args < 4 ||
        !get_uint(&r, offset) || !get_uint(&r, &at) || !get_uint(&r, &level) ||
        !get_uint(&r, &flags)) {
        return false;
    }
    *duplicate = (flags & PRODUCE_DUP) != 0;
    return true;
}
