#ifndef WEIR_STORAGE_FRONT_H
#define WEIR_STORAGE_FRONT_H
/*
 * The half of a store that all implementations share: bucket index, txns, commit queue, readers,
 * space reclamation - on any kv and any clog. Only storage/ includes this.
 */
#include "storage/clog.h"
#include "storage/floor.h"
#include "storage/kv.h"
#include "storage/store.h"

enum front_mode { FRONT_THREADED, FRONT_STEPPED };

/*
 * Loads identity and index from k, scans the active bucket, verifies what recovery must verify
 * (dense offsets per partition, count and sum of the active bucket against META_APPLIED, every
 * floor mark reached), raises the epoch, starts the threads, writes a floor.
 * Takes k and l, on error too. `floor` NULL = none known (new or memory store).
 * WERR_DATA_LOSS names partition and offsets unless conf->accept_data_loss.
 */
enum werr front_open(struct store **out, struct kv *k, struct clog *l, enum front_mode mode,
                     const struct store_conf *conf, const struct kv_floor *floor,
                     struct werror *e) WEIR_NODISCARD;

/*
 * FRONT_STEPPED: nothing happens but in these (store_mem.h gives them to tests). write = one group
 * of everything submitted (a roll ends a group) to the log; sync = the log, reads and helper jobs.
 */
void front_step_write(struct store *st);
void front_step_sync(struct store *st);
/* Drops the store without committing or completing anything. The drivers must not sync in close. */
void front_abandon(struct store *st);
/* The drivers, borrowed: for whoever opened the store. */
struct kv *front_kv(struct store *st);
struct clog *front_clog(struct store *st);

/* META_APPLIED's value: rewritten by every record. */
struct applied {
    uint64_t epoch, lsn;
    uint32_t bucket;      /* active bucket */
    uint64_t rows, bytes; /* log rows and value bytes in it so far */
    uint64_t sum;         /* running sum over them (hash of table, key, value size, batch crcs) */
};

#endif
