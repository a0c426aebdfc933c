#ifndef WEIR_PROTO_MPWRITE_H
#define WEIR_PROTO_MPWRITE_H
/* MessagePack packing of control messages into a buf, by msgpack-c. Failure is sticky in the buf.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proto/buf.h"

void mpw_array(struct buf *b, size_t n);
void mpw_map(struct buf *b, size_t n);
void mpw_nil(struct buf *b);
void mpw_bool(struct buf *b, bool v);
void mpw_uint(struct buf *b, uint64_t v);
void mpw_int(struct buf *b, int64_t v);
void mpw_str(struct buf *b, struct slice s);
void mpw_cstr(struct buf *b, const char *s);
void mpw_bin(struct buf *b, struct slice s);
void mpw_bin_head(struct buf *b,
                  size_t n); /* only the header: the caller sends the n bytes itself */

#endif
