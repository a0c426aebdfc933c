#include "proto/mpwrite.h"

#include <msgpack/pack.h>

static int put(void *b, const char *p, size_t n)
{
    buf_put(b, p, n);
    return 0; /* failure is sticky in the buffer */
}

static msgpack_packer packer(struct buf *b)
{
    msgpack_packer pk;

    msgpack_packer_init(&pk, b, put);
    return pk;
}

void mpw_array(struct buf *b, size_t n)
{
    msgpack_packer pk = packer(b);

    msgpack_pack_array(&pk, n);
}

void mpw_map(struct buf *b, size_t n)
{
    msgpack_packer pk = packer(b);

    msgpack_pack_map(&pk, n);
}

void mpw_nil(struct buf *b)
{
    msgpack_packer pk = packer(b);

    msgpack_pack_nil(&pk);
}

void mpw_bool(struct buf *b, bool v)
{
    msgpack_packer pk = packer(b);

    if (v) {
        msgpack_pack_true(&pk);
    } else {
        msgpack_pack_false(&pk);
    }
}

void mpw_uint(struct buf *b, uint64_t v)
{
    msgpack_packer pk = packer(b);

    msgpack_pack_uint64(&pk, v);
}

void mpw_int(struct buf *b, int64_t v)
{
    msgpack_packer pk = packer(b);

    msgpack_pack_int64(&pk, v);
}

void mpw_str(struct buf *b, struct slice s)
{
    msgpack_packer pk = packer(b);

    msgpack_pack_str(&pk, s.n);
    buf_put(b, s.p, s.n);
}

void mpw_cstr(struct buf *b, const char *s)
{
    mpw_str(b, slice_str(s));
}

void mpw_bin_head(struct buf *b, size_t n)
{
    msgpack_packer pk = packer(b);

    msgpack_pack_bin(&pk, n);
}

void mpw_bin(struct buf *b, struct slice s)
{
    mpw_bin_head(b, s.n);
    buf_put(b, s.p, s.n);
}
