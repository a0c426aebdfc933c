#ifndef WEIR_PROTO_FRAME_H
#define WEIR_PROTO_FRAME_H
/*
 * Frame = u32 big-endian length, then exactly one msgpack array (docs/PROTOCOL.md section "Frame"):
 *   [0, corr, op, args, ?meta] request   [1, corr, err, result, ?meta] response
 *   [2, id, op, args, ?meta] notify
 */
#include "proto/buf.h"
#include "proto/error.h"
#include "proto/mpread.h"

enum frame_kind { FRAME_REQUEST = 0, FRAME_RESPONSE = 1, FRAME_NOTIFY = 2 };

enum { FRAME_HEAD = 4 };

/*
 * How long is the frame that starts at p[0..n)? Writes the total (length prefix included) to
 * *total_bytes. WERR_AGAIN: fewer than 4 bytes there. WERR_TOO_LARGE or WERR_MALFORMED (length 0):
 * *e names the limit and the value. Claims are checked before anything is allocated.
 */
enum werr frame_length(const uint8_t *p, size_t n, size_t limit, size_t *total_bytes,
                       struct werror *e) WEIR_NODISCARD;

/* A parsed envelope. All views are into the frame. */
struct frame {
    enum frame_kind kind;
    uint32_t id;        /* corr, or the notify's id */
    uint32_t op;        /* request, notify */
    struct mpread args; /* request, notify: cursor at the args array; response: at the result */
    struct slice err;   /* response: the error element's bytes (may be nil) */
    struct slice traceparent; /* meta "tp", n = 0 when absent */
    uint32_t deadline_ms;     /* meta "dl", 0 = none */
};

/*
 * Parses the body (without the length prefix). Checks the whole frame: shape of the envelope,
 * well-formed elements, meta rules, depth <= LIMIT_MP_DEPTH below args, nothing after the array.
 */
enum werr frame_parse(struct slice body, struct frame *out, struct werror *e) WEIR_NODISCARD;

/*
 * Writing: frame_begin reserves the length prefix and writes the envelope up to where args
 * (request, notify) or the result (response) belong; the caller packs them; frame_end patches the
 * length. `tail` bytes will be sent by the caller right after the buffer's content (a bin sent by
 * writev).
 */
size_t frame_begin_request(struct buf *b, uint32_t corr, uint32_t op);
size_t frame_begin_response(struct buf *b, uint32_t corr);
size_t frame_begin_notify(struct buf *b, uint32_t id, uint32_t op);
void frame_end(struct buf *b, size_t begin, size_t tail);

/*
 * A whole error response: [1, corr, [code, class, text, detail], []]. Detail pairs from the table:
 * retry_after_ms when not 0, then the n pairs given (names are static strings).
 */
struct frame_detail {
    const char *name;
    const char *str; /* used when not NULL */
    uint64_t num;
};
void frame_put_error(struct buf *b, uint32_t corr, const struct werror *e,
                     const struct frame_detail *d, size_t n);
/* Only the 4-element error array (or nil when e->code is OK), for per-item errors in results. */
void frame_put_error_array(struct buf *b, const struct werror *e, const struct frame_detail *d,
                           size_t n);

/* Decodes an error element: nil gives code OK. Unknown codes keep their number; *cls is the class.
 */
enum werr frame_get_error(struct slice err, struct werror *out,
                          enum werr_class *cls) WEIR_NODISCARD;
/* A number from the detail map of an error element; def when absent. */
uint64_t frame_error_detail(struct slice err, const char *name, uint64_t def);

#endif
