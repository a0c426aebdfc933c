#ifndef WEIR_STORAGE_ROWS_H
#define WEIR_STORAGE_ROWS_H
/* Values of the store's own rows in TABLE_META (see keys.h). All are untrusted when read back. */
#include "storage/front.h"
#include "storage/index.h"

enum { STORE_FORMAT = 1, APPLIED_BYTES = 44, UUID_BYTES = 16 };

void applied_encode(uint8_t out[APPLIED_BYTES], const struct applied *a);
enum werr applied_decode(struct slice v, struct applied *a, struct werror *e) WEIR_NODISCARD;

struct identity {
    uint32_t format;
    uint8_t uuid[UUID_BYTES];
    uint32_t shard;
    uint32_t tables; /* TABLE_COUNT of the writer */
};
void identity_encode(struct buf *b, const struct identity *id);
/* WERR_FORMAT_NEWER names both versions. */
enum werr identity_decode(struct slice v, struct identity *id, struct werror *e) WEIR_NODISCARD;

/* META_BUCKET: a head, then ranges. Build with begin + add; read with open + next. */
void bucket_row_begin(struct buf *b, uint64_t total_bytes);
void bucket_row_add(struct buf *b, uint32_t partition, const struct index_range *r);
struct bucket_row {
    uint32_t bucket; /* from the key */
    uint64_t total_bytes;
    struct slice left;
};
enum werr bucket_row_open(struct bucket_row *row, struct slice key, struct slice value,
                          struct werror *e) WEIR_NODISCARD;
/* WERR_NOT_FOUND at the end. r->bucket is set. */
enum werr bucket_row_next(struct bucket_row *row, uint32_t *partition, struct index_range *r,
                          struct werror *e) WEIR_NODISCARD;

/* META_RANGE: everything of a partition in a bucket below `next` went to TABLE_HOLD. */
struct moved_row {
    uint64_t next;
    uint64_t bytes_left; /* of the range that begins at next, when that range was cut */
};
enum { MOVED_BYTES = 16 };
void moved_row_encode(uint8_t out[MOVED_BYTES], const struct moved_row *m);
enum werr moved_row_decode(struct slice v, struct moved_row *m, struct werror *e) WEIR_NODISCARD;

#endif
