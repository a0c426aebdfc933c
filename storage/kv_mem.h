#ifndef WEIR_STORAGE_KV_MEM_H
#define WEIR_STORAGE_KV_MEM_H
/* Tables in memory: one skip list each, any number of readers beside one writer. */
#include "storage/kv.h"

struct memkv;
struct memkv *memkv_new(void);
void memkv_free(struct memkv *m);
void memkv_clear(struct memkv *m); /* forgets all rows */
/* Applies a record outside of any store (followers). */
enum werr memkv_apply(struct memkv *m, struct slice rep, struct werror *e) WEIR_NODISCARD;
/* A kv on it; closing that leaves m as it is. Gives. */
struct kv *memkv_open(struct memkv *m);

#endif
