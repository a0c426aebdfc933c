#ifndef WEIR_STORAGE_CLOG_MEM_H
#define WEIR_STORAGE_CLOG_MEM_H
/* A commit log in memory, with an explicit difference between written and synced. */
#include "storage/clog.h"

struct memlog;
struct memlog *memlog_new(void);
void memlog_free(struct memlog *m);
/* Power cut: forgets what was not synced but for the first `keep` records. No log may be open. */
void memlog_crash(struct memlog *m, unsigned keep);
/* Forgets synced records while more than `bytes` of them are kept; 0 = keeps all (default). */
void memlog_limit(struct memlog *m, uint64_t bytes);
/* Whether records were forgotten by the limit: the log alone no longer makes the state. */
bool memlog_cut(const struct memlog *m);
/* Takes a record that another log committed (followers). */
void memlog_adopt(struct memlog *m, struct clog_pos pos, struct slice rec);

struct memlog_hooks {
    /* Asked before each sync. Non-OK: the sync fails, nothing it covers is durable; *torn: it is
     * all the same after a restart. NULL = never fails. */
    enum werr (*sync)(void *arg, bool *torn);
    void *arg;
};
/*
 * A log on m. threaded: a thread syncs what was appended; otherwise step_sync does. Gives.
 * WERR_NOMEM.
 */
enum werr memlog_open(struct memlog *m, bool threaded, const struct memlog_hooks *hooks,
                      struct clog **out, struct werror *e) WEIR_NODISCARD;
/* From now on nothing is synced, also not by close: what a killed process leaves. */
void memlog_abandon(struct clog *l);
/* An append that survives every crash from now on, synced or not (torn append). */
void memlog_torn(struct clog *l, uint64_t tag, struct clog_pos pos, struct slice rec);

#endif
