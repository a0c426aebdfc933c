#ifndef WEIR_PROTO_BUF_H
#define WEIR_PROTO_BUF_H
/*
 * Bytes: a slice borrows, a buf owns and grows, a blob is shared by counting.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/error.h"

/* A view of somebody else's bytes. Never owns. p may be NULL when n is 0. */
struct slice {
    const uint8_t *p;
    size_t n;
};

static inline struct slice slice_of(const void *p, size_t n)
{
    return (struct slice){(const uint8_t *)p, n};
}

static inline struct slice slice_str(const char *s)
{
    return (struct slice){(const uint8_t *)s, strlen(s)};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/*
 * A growable byte buffer with a hard cap. A failed append (no memory, over the cap) sets `failed`,
 * leaves the content as it was and makes every later append a no-op, so an encoder checks once at
 * the end. Zeroed memory is an empty buffer with no cap.
 */
struct buf {
    uint8_t *p;
    size_t len, cap;
    size_t limit; /* 0 = none */
    bool failed;
};

void buf_init(struct buf *b, size_t limit);
void buf_fini(struct buf *b);  /* frees; safe twice and on zeroed memory */
void buf_clear(struct buf *b); /* len = 0, failed = false; keeps memory */
bool buf_reserve(struct buf *b,
                 size_t more); /* room for `more` bytes after len; false sets failed */
void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_be16(struct buf *b, uint16_t v);
void buf_put_be32(struct buf *b, uint32_t v);
void buf_put_be64(struct buf *b, uint64_t v);
void buf_consume(struct buf *b, size_t n); /* drops n bytes at the front (memmove) */

static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->p, b->len};
}

/* Big-endian loads and stores on unaligned memory. */
static inline uint16_t be16(const uint8_t *p)
{
    return (uint16_t)((p[0] << 8) | p[1]);
}
static inline uint32_t be32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}
static inline uint64_t be64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}
static inline void put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void put_be32(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, 4);
}
static inline void put_be64(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, 8);
}

/*
 * Reference-counted bytes. Immutable once shared (the broker stamps a batch before it shares it).
 * Counting is atomic: the loop, the commit thread and readers hold references side by side.
 */
struct blob {
    _Atomic uint32_t refs;
    uint32_t reserved;
    size_t n;
    uint8_t p[];
};

struct blob *blob_new(size_t n);                 /* one reference; NULL when out of memory */
struct blob *blob_copy(const void *p, size_t n); /* the same, with content */
/* Another size, content kept, for a blob with a single reference. NULL: no memory, b is as it was.
 */
struct blob *blob_resize(struct blob *b, size_t n);
struct blob *blob_ref(struct blob *b); /* returns b */
void blob_unref(struct blob *b);       /* NULL allowed */

/* A view into a blob that holds a reference to it. */
struct bytes {
    struct blob *owner;
    const uint8_t *p;
    size_t n;
};

#endif
