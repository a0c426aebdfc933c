#include "tests/unit/proto/mpdiff.h"

#include <msgpack.h>

#include "proto/mpread.h"

static const char *compare(struct mpread *r, const msgpack_object *o);

static const char *compare_scalar(struct mpread *r, const msgpack_object *o)
{
    struct slice s;

    switch (o->type) {
    case MSGPACK_OBJECT_NIL:
        return mpread_nil(r) ? NULL : "nil";
    case MSGPACK_OBJECT_BOOLEAN:
        return mpread_peek(r) == MP_BOOL && mpread_bool(r) == o->via.boolean ? NULL : "bool";
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return mpread_peek(r) == MP_UINT && mpread_uint(r, UINT64_MAX) == o->via.u64 ? NULL
                                                                                     : "uint";
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return mpread_peek(r) == MP_INT && mpread_int(r, INT64_MIN, -1) == o->via.i64 ? NULL
                                                                                      : "int";
    case MSGPACK_OBJECT_STR:
    case MSGPACK_OBJECT_BIN:
        if (mpread_peek(r) != (o->type == MSGPACK_OBJECT_STR ? MP_STR : MP_BIN)) {
            return "str or bin";
        }
        s = mpread_bytes(r, SIZE_MAX);
        return slice_eq(s, slice_of(o->via.str.ptr, o->via.str.size)) ? NULL : "bytes";
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return mpread_peek(r) == MP_FLOAT && mpread_skip(r).n > 4 ? NULL : "float";
    case MSGPACK_OBJECT_EXT:
        return mpread_peek(r) == MP_EXT && mpread_skip(r).n > o->via.ext.size ? NULL : "ext";
    case MSGPACK_OBJECT_ARRAY:
    case MSGPACK_OBJECT_MAP:
    default:
        return "type";
    }
}

static const char *compare(struct mpread *r, const msgpack_object *o)
{
    const char *what = NULL;

    if (o->type == MSGPACK_OBJECT_ARRAY) {
        if (mpread_peek(r) != MP_ARRAY || mpread_array(r) != o->via.array.size) {
            return "array";
        }
        for (uint32_t i = 0; what == NULL && i < o->via.array.size; i++) {
            what = compare(r, &o->via.array.ptr[i]);
        }
        return what;
    }
    if (o->type == MSGPACK_OBJECT_MAP) {
        if (mpread_peek(r) != MP_MAP || mpread_map(r) != o->via.map.size) {
            return "map";
        }
        for (uint32_t i = 0; what == NULL && i < o->via.map.size; i++) {
            what = compare(r, &o->via.map.ptr[i].key);
            what = what == NULL ? compare(r, &o->via.map.ptr[i].val) : what;
        }
        return what;
    }
    return compare_scalar(r, o);
}

/* msgpack-c allocates what a head claims: it only sees refused input that claims nothing big. */
static int claims_little(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] >= 0xdc && p[i] <= 0xdf) {
            return 0;
        }
    }
    return 1;
}

const char *mp_differs(const uint8_t *p, size_t n)
{
    struct mpread r;
    msgpack_unpacked u;
    msgpack_unpack_return got;
    const char *what = NULL;
    size_t off = 0, ours;

    mpread_init(&r, p, n);
    ours = mpread_skip(&r).n;
    if (r.err != WERR_OK && !claims_little(p, n)) {
        return NULL;
    }
    msgpack_unpacked_init(&u);
    got = msgpack_unpack_next(&u, (const char *)p, n, &off);
    if (r.err != WERR_OK) {
        what = got == MSGPACK_UNPACK_SUCCESS ? "refused here only" : NULL;
    } else if (got == MSGPACK_UNPACK_NOMEM_ERROR) {
        what = NULL; /* its limit of 32 levels */
    } else if (got != MSGPACK_UNPACK_SUCCESS && got != MSGPACK_UNPACK_EXTRA_BYTES) {
        what = "accepted here only";
    } else if (off != ours) {
        what = "length";
    } else {
        mpread_init(&r, p, n);
        what = compare(&r, &u.data);
        if (what == NULL && (r.err != WERR_OK || (size_t)(r.p - r.start) != ours)) {
            what = "reads and skip disagree";
        }
    }
    msgpack_unpacked_destroy(&u);
    return what;
}
