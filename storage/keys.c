#include "storage/keys.h"

void log_key(uint8_t out[LOG_KEY_BYTES], uint32_t bucket, uint32_t partition, uint64_t base_offset)
{
    put_be32(out, bucket);
    put_be32(out + 4, partition);
    put_be64(out + 8, base_offset);
}

void log_key_parse(const uint8_t *key, uint32_t *bucket, uint32_t *partition, uint64_t *base_offset)
{
    *bucket = be32(key);
    *partition = be32(key + 4);
    *base_offset = be64(key + 8);
}

bool meta_tag_is_own(uint8_t tag)
{
    return tag == META_APPLIED || tag == META_BUCKET || tag == META_IDENTITY || tag == META_START ||
           tag == META_DROPPED || tag == META_RANGE || tag == META_GAP;
}

struct meta_key meta_key(enum meta_tag tag)
{
    return (struct meta_key){.p = {(uint8_t)tag}, .n = 1};
}

struct meta_key meta_key_32(enum meta_tag tag, uint32_t a)
{
    struct meta_key k = meta_key(tag);
    put_be32(k.p + 1, a);
    k.n = 5;
    return k;
}

struct meta_key meta_key_32_32(enum meta_tag tag, uint32_t a, uint32_t b)
{
    struct meta_key k = meta_key_32(tag, a);
    put_be32(k.p + 5, b);
    k.n = 9;
    return k;
}

struct meta_key meta_key_32_64(enum meta_tag tag, uint32_t a, uint64_t b)
{
    struct meta_key k = meta_key_32(tag, a);
    put_be64(k.p + 5, b);
    k.n = 13;
    return k;
}

struct meta_key meta_key_64(enum meta_tag tag, uint64_t a)
{
    struct meta_key k = meta_key(tag);
    put_be64(k.p + 1, a);
    k.n = 9;
    return k;
}

struct meta_key meta_key_32_64_64(enum meta_tag tag, uint32_t a, uint64_t b, uint64_t c)
{
    struct meta_key k = meta_key_32_64(tag, a, b);
    put_be64(k.p + 13, c);
    k.n = 21;
    return k;
}

struct meta_key delay_key(uint64_t due_ms, uint32_t partition, uint64_t sequence)
{
    struct meta_key k = {.n = DELAY_KEY_BYTES};
    put_be64(k.p, due_ms);
    put_be32(k.p + 8, partition);
    put_be64(k.p + 12, sequence);
    return k;
}

bool delay_key_parse(struct slice key, uint64_t *due_ms, uint32_t *partition, uint64_t *sequence)
{
    if (key.n != DELAY_KEY_BYTES) {
        return false;
    }
    *due_ms = be64(key.p);
    *partition = be32(key.p + 8);
    *sequence = be64(key.p + 12);
    return true;
}

struct meta_key log_meta_key(uint32_t bucket, uint32_t partition, uint64_t base_offset)
{
    struct meta_key k = {.n = LOG_KEY_BYTES};
    log_key(k.p, bucket, partition, base_offset);
    return k;
}

struct meta_key log_bucket_end(uint32_t bucket)
{
    struct meta_key k = {.n = 4};
    put_be32(k.p, bucket);
    return meta_key_after(&k);
}

struct meta_key meta_key_after(const struct meta_key *k)
{
    struct meta_key a = *k;
    while (a.n > 0 && a.p[a.n - 1] == 0xff) {
        a.n--;
    }
    if (a.n > 0) {
        a.p[a.n - 1]++;
    }
    return a; /* empty = no end, which a cursor takes as "to the end" */
}
