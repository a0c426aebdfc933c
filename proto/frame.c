/*
 * Frames and envelopes. Happy path: length prefix, one array, positions 0 to 3. What can fail:
 * every claim of a peer; frame_parse walks the whole frame once, so that later decoders meet
 * well-formed bytes only. Who owns what: everything is a view into the frame.
 */
#include "proto/frame.h"

#include "proto/limits.h"
#include "proto/mpwrite.h"

enum { META_TP_BYTES = 64, META_KEY_BYTES = 64 };
_Static_assert(sizeof((struct werror *)0)->text <= LIMIT_DETAIL_TEXT, "a text always fits");

enum werr frame_length(const uint8_t *p, size_t n, size_t limit, size_t *total_bytes,
                       struct werror *e)
{
    uint32_t len;

    if (n < FRAME_HEAD) {
        return WERR_AGAIN;
    }
    len = be32(p);
    if (len == 0) {
        return werror_set(e, WERR_MALFORMED, "frame length 0");
    }
    if (len > limit) {
        return werror_set(e, WERR_TOO_LARGE, "frame of %u bytes, limit %zu", len, limit);
    }
    *total_bytes = (size_t)len + FRAME_HEAD;
    return WERR_OK;
}

/*
 * Passes one value, checking types that are never legal (ext, float) and the depth of containers:
 * the value itself and LIMIT_MP_DEPTH levels inside it. Iterative: left[d] counts the values still
 * due at depth d.
 */
static void check_value(struct mpread *r, bool allow_float)
{
    uint64_t left[LIMIT_MP_DEPTH + 2];
    unsigned d = 0;

    left[0] = 1;
    while (r->err == WERR_OK) {
        enum mp_type t;

        while (d > 0 && left[d] == 0) {
            d--;
        }
        if (left[d] == 0) {
            return;
        }
        left[d]--;
        t = mpread_peek(r);
        if (t == MP_ARRAY || t == MP_MAP) {
            uint64_t n = t == MP_ARRAY ? mpread_array(r) : 2 * (uint64_t)mpread_map(r);

            if (d > LIMIT_MP_DEPTH) {
                mpread_fail(r, "nested too deep");
                return;
            }
            left[++d] = n;
        } else if (t == MP_EXT) {
            mpread_fail(r, "ext type");
        } else if (t == MP_FLOAT && !allow_float) {
            mpread_fail(r, "float");
        } else {
            (void)mpread_skip(r);
        }
    }
}

/* meta: a small map; unknown keys are ignored, but it must be a map of str keys, each once. */
static void parse_meta(struct mpread *r, struct frame *f)
{
    struct slice seen[LIMIT_META_PAIRS];
    const uint8_t *from = r->p;
    uint32_t pairs;

    if (mpread_nil(r)) {
        return;
    }
    pairs = mpread_map(r);
    if (pairs > LIMIT_META_PAIRS) {
        mpread_fail(r, "meta has too many pairs");
    }
    for (uint32_t i = 0; i < pairs && r->err == WERR_OK; i++) {
        struct slice key = mpread_str(r, META_KEY_BYTES);

        for (uint32_t k = 0; k < i; k++) {
            if (slice_eq(seen[k], key)) {
                mpread_fail(r, "meta key twice");
            }
        }
        seen[i] = key;
        if (slice_eq(key, slice_str("tp"))) {
            f->traceparent = mpread_str(r, META_TP_BYTES);
        } else if (slice_eq(key, slice_str("dl"))) {
            f->deadline_ms = (uint32_t)mpread_uint(r, UINT32_MAX);
        } else {
            check_value(r, false);
        }
    }
    if ((size_t)(r->p - from) > LIMIT_META_BYTES) {
        mpread_fail(r, "meta too long");
    }
}

/* Walks one element and leaves *view as a cursor over exactly its bytes. */
static void take_value(struct mpread *r, struct mpread *view, bool allow_float)
{
    const uint8_t *from = r->p;

    check_value(r, allow_float);
    mpread_init(view, from, (size_t)(r->p - from));
}

enum werr frame_parse(struct slice body, struct frame *out, struct werror *e)
{
    struct mpread r;
    uint32_t n;

    *out = (struct frame){0};
    mpread_init(&r, body.p, body.n);
    n = mpread_array(&r);
    if (r.err == WERR_OK && n != 4 && n != 5) {
        mpread_fail(&r, "envelope must have 4 or 5 elements");
    }
    out->kind = (enum frame_kind)mpread_uint(&r, FRAME_NOTIFY);
    out->id = (uint32_t)mpread_uint(&r, UINT32_MAX);
    if (out->kind == FRAME_RESPONSE) {
        struct mpread err;

        take_value(&r, &err, false);
        out->err = slice_of(err.start, (size_t)(err.end - err.start));
    } else {
        out->op = (uint32_t)mpread_uint(&r, UINT32_MAX);
    }
    if (r.err == WERR_OK && mpread_peek(&r) != MP_ARRAY) {
        mpread_fail(&r, "args must be an array");
    }
    take_value(&r, &out->args, out->kind == FRAME_RESPONSE);
    if (n == 5) {
        parse_meta(&r, out);
    }
    if (!mpread_done(&r)) {
        return werror_set(e, WERR_MALFORMED, "frame malformed at byte %zu: %s",
                          (size_t)(r.p - r.start), r.what);
    }
    return WERR_OK;
}

static size_t begin(struct buf *b, enum frame_kind kind, uint32_t id)
{
    size_t at = b->len;

    buf_put_be32(b, 0); /* patched by frame_end */
    mpw_array(b, 4);
    mpw_uint(b, (uint64_t)kind);
    mpw_uint(b, id);
    return at;
}

size_t frame_begin_request(struct buf *b, uint32_t corr, uint32_t op)
{
    size_t at = begin(b, FRAME_REQUEST, corr);

    mpw_uint(b, op);
    return at;
}

size_t frame_begin_response(struct buf *b, uint32_t corr)
{
    size_t at = begin(b, FRAME_RESPONSE, corr);

    mpw_nil(b);
    return at;
}

size_t frame_begin_notify(struct buf *b, uint32_t id, uint32_t op)
{
    size_t at = begin(b, FRAME_NOTIFY, id);

    mpw_uint(b, op);
    return at;
}

void frame_end(struct buf *b, size_t begin_at, size_t tail)
{
    if (!b->failed) {
        put_be32(b->p + begin_at, (uint32_t)(b->len - begin_at - FRAME_HEAD + tail));
    }
}

/*
 * Copies text for people: what is not UTF-8 (a name cut in the middle, bytes of a peer) and control
 * characters become '?', so that neither a strict reader nor a terminal stumbles over it. `out` has
 * room for LIMIT_DETAIL_TEXT bytes. Returns the length.
 */
static size_t clean_text(char *out, struct slice in)
{
    size_t n = in.n < LIMIT_DETAIL_TEXT ? in.n : LIMIT_DETAIL_TEXT;

    for (size_t i = 0; i < n;) {
        size_t good = utf8_prefix(slice_of(in.p + i, n - i));

        for (size_t k = i; k < i + good; k++) {
            out[k] = in.p[k] < 0x20 || in.p[k] == 0x7f ? '?' : (char)in.p[k];
        }
        i += good;
        if (i < n) {
            out[i++] = '?';
        }
    }
    return n;
}

static void put_text(struct buf *b, const char *s)
{
    char text[LIMIT_DETAIL_TEXT];

    mpw_str(b, slice_of(text, clean_text(text, slice_str(s))));
}

void frame_put_error_array(struct buf *b, const struct werror *e, const struct frame_detail *d,
                           size_t n)
{
    /* Local codes never travel: a peer learns that something inside failed. */
    enum werr code = e->code < WERR_IO ? e->code : WERR_INTERNAL;

    if (code == WERR_OK) {
        mpw_nil(b);
        return;
    }
    mpw_array(b, 4);
    mpw_uint(b, (uint64_t)code);
    mpw_uint(b, (uint64_t)werr_class(code));
    put_text(b, e->text[0] != '\0' ? e->text : werr_text(code));
    mpw_map(b, n + (e->retry_after_ms != 0 ? 1 : 0));
    if (e->retry_after_ms != 0) {
        mpw_cstr(b, "retry_after_ms");
        mpw_uint(b, e->retry_after_ms);
    }
    for (size_t i = 0; i < n; i++) {
        mpw_cstr(b, d[i].name);
        if (d[i].str != NULL) {
            put_text(b, d[i].str);
        } else {
            mpw_uint(b, d[i].num);
        }
    }
}

void frame_put_error(struct buf *b, uint32_t corr, const struct werror *e,
                     const struct frame_detail *d, size_t n)
{
    size_t at = begin(b, FRAME_RESPONSE, corr);

    frame_put_error_array(b, e, d, n);
    mpw_array(b, 0);
    frame_end(b, at, 0);
}

enum werr frame_get_error(struct slice err, struct werror *out, enum werr_class *cls)
{
    struct mpread r;
    struct slice text;
    uint64_t class_number;
    uint32_t n;

    *out = (struct werror){.code = WERR_OK};
    *cls = WCLASS_NEVER;
    mpread_init(&r, err.p, err.n);
    if (mpread_nil(&r)) {
        return WERR_OK;
    }
    n = mpread_array(&r);
    if (r.err == WERR_OK && n < 4) {
        mpread_fail(&r, "error with fewer than 4 elements");
    }
    out->code = (enum werr)mpread_uint(&r, WERR_IO - 1); /* local codes never travel */
    class_number = mpread_uint(&r, UINT32_MAX);
    *cls = class_number <= WCLASS_FENCED ? (enum werr_class)class_number : WCLASS_UNKNOWN;
    text = mpread_bytes(&r, SIZE_MAX);
    if (r.err == WERR_OK && out->code == WERR_OK) {
        mpread_fail(&r, "error with code 0");
    }
    if (r.err != WERR_OK) {
        return werror_set(out, WERR_MALFORMED, "bad error element: %s", r.what);
    }
    if (text.n >= sizeof out->text) {
        text.n = sizeof out->text - 1;
    }
    out->text[clean_text(out->text, text)] = '\0';
    out->retry_after_ms = (uint32_t)frame_error_detail(err, "retry_after_ms", 0);
    return WERR_OK;
}

uint64_t frame_error_detail(struct slice err, const char *name, uint64_t def)
{
    struct mpread r;
    uint32_t pairs;

    mpread_init(&r, err.p, err.n);
    if (mpread_array(&r) < 4) {
        return def;
    }
    (void)mpread_skip(&r);
    (void)mpread_skip(&r);
    (void)mpread_skip(&r);
    pairs = mpread_map(&r);
    for (uint32_t i = 0; i < pairs && r.err == WERR_OK; i++) {
        struct slice key = mpread_str(&r, SIZE_MAX);

        if (slice_eq(key, slice_str(name)) && mpread_peek(&r) == MP_UINT) {
            return mpread_uint(&r, UINT64_MAX); /* whole: its head was looked at */
        }
        (void)mpread_skip(&r);
    }
    return def;
}
