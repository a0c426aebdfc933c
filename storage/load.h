#ifndef WEIR_STORAGE_LOAD_H
#define WEIR_STORAGE_LOAD_H
/*
 * Recovery: from the tables back to the index, verified. Nothing is written here; what has to be
 * written (identity, accepted holes, a higher epoch) is handed back for the first record.
 */
#include "storage/rows.h"

struct load_gap {
    uint32_t partition;
    uint64_t first, next;
};
struct load_dropped {
    uint32_t partition, bucket;
};
struct loaded {
    struct index ix;
    struct applied at;
    struct identity id;
    bool fresh;                   /* nothing there: a new store */
    struct load_dropped *dropped; /* by partition */
    size_t n_dropped;
    struct load_gap *accepted; /* holes that the caller asked to accept: to be written */
    size_t n_accepted;
};

/*
 * Replays a log that does not apply by itself, reads and checks everything. WERR_DATA_LOSS names
 * partition and offsets (conf->log gets one line for each), unless conf->accept_data_loss.
 */
enum werr load_store(struct loaded *out, struct kv *kv, struct clog *log,
                     const struct store_conf *conf, const struct kv_floor *floor,
                     struct werror *e) WEIR_NODISCARD;
void loaded_fini(struct loaded *l);

#endif
