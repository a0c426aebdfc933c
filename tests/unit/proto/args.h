#ifndef WEIR_TESTS_UNIT_PROTO_ARGS_H
#define WEIR_TESTS_UNIT_PROTO_ARGS_H
/* Short cuts of the message tests. */
#include "proto/mpwrite.h"
#include "proto/msg.h"
#include "tests/lib/test.h"
#include "tests/unit/proto/samples.h"

/* Parses the one frame that b holds; its length prefix must be right. */
static inline struct frame parse_frame(const struct buf *b)
{
    struct frame f;
    struct werror e;
    size_t total;

    assert_false(b->failed);
    assert_int_equal(frame_length(b->p, b->len, LIMIT_FRAME, &total, &e), WERR_OK);
    assert_int_equal(total, b->len);
    assert_int_equal(frame_parse(slice_of(b->p + FRAME_HEAD, b->len - FRAME_HEAD), &f, &e),
                     WERR_OK);
    return f;
}

/* The parsed frame of a sample; b keeps its bytes. */
static inline struct frame sample_frame(const char *name, struct buf *b)
{
    const struct sample *s = sample_find(name);

    assert_non_null(s);
    buf_clear(b);
    sample_put(s, b);
    return parse_frame(b);
}

/* A cursor over literal msgpack. */
static inline struct mpread args_of(const char *p, size_t n)
{
    struct mpread r;

    mpread_init(&r, p, n);
    return r;
}
#define ARGS(s) args_of("" s, sizeof(s) - 1)

#endif
