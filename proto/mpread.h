#ifndef WEIR_PROTO_MPREAD_H
#define WEIR_PROTO_MPREAD_H
/*
 * Bounded MessagePack cursor for bytes that nobody vouches for (docs/PROTOCOL.md, "Parse rules").
 * Reads never pass the end, never allocate, never recurse; a container may not announce more
 * elements than bytes are left. The first failure is remembered: every later read fails the same
 * way, so a decoder checks `r->err` once. Strings and bins are views into the input.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proto/buf.h"

struct mpread {
    const uint8_t *start, *p, *end;
    enum werr err;    /* WERR_OK, or WERR_MALFORMED */
    const char *what; /* static text: what was wrong at `p` */
};

enum mp_type {
    MP_NIL,
    MP_BOOL,
    MP_UINT,
    MP_INT, /* negative */
    MP_FLOAT,
    MP_STR,
    MP_BIN,
    MP_ARRAY,
    MP_MAP,
    MP_EXT,
    MP_BAD,
};

void mpread_init(struct mpread *r, const void *p, size_t n);
enum mp_type mpread_peek(const struct mpread *r); /* type of the next value; MP_BAD at the end */
bool mpread_nil(struct mpread *r);                /* consumes a nil if one is next */
uint32_t mpread_array(struct mpread *r);          /* element count; 0 on failure */
uint32_t mpread_map(struct mpread *r);            /* pair count */
uint64_t mpread_uint(struct mpread *r, uint64_t max);
int64_t mpread_int(struct mpread *r, int64_t min, int64_t max);
bool mpread_bool(struct mpread *r);
struct slice mpread_str(struct mpread *r, size_t max); /* valid UTF-8 without NUL */
struct slice mpread_bin(struct mpread *r, size_t max);
struct slice mpread_bytes(struct mpread *r, size_t max); /* str (not UTF-8 checked) or bin */
struct slice mpread_skip(struct mpread *r);           /* one whole value; its bytes. O(1) memory */
void mpread_fail(struct mpread *r, const char *what); /* first failure wins; `what` is static */
/* How many bytes at the start of s are valid UTF-8 without NUL (RFC 3629); s.n = all of them. */
size_t utf8_prefix(struct slice s);
bool mpread_done(
    struct mpread *r); /* true when no error and nothing left; else records "trailing" */

#endif
