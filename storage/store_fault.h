#ifndef WEIR_STORAGE_STORE_FAULT_H
#define WEIR_STORAGE_STORE_FAULT_H
/*
 * Faults for any kv and clog: wraps both and fails the k-th operation of a kind. A wrapped log
 * cannot take a record back, so a failed sync there leaves the record in the log; memory takes it
 * out unless `torn` (its own hook, see fault_sync).
 */
#include "storage/clog.h"
#include "storage/kv.h"
#include "storage/store_mem.h"

struct fault_plan;
struct fault_plan *fault_plan_new(void);
void fault_plan_free(struct fault_plan *p);
/* Any thread. Replaces the fault of that kind. */
void fault_plan_set(struct fault_plan *p, const struct store_fault *f);
/* Counts one operation; true = it has to fail. *f = the fault. Any thread. */
bool fault_fire(struct fault_plan *p, enum fault_kind kind, struct store_fault *f);
/* How many faults have fired. Any thread. */
unsigned fault_fired(struct fault_plan *p);
/* For struct memlog_hooks; arg = the plan. */
enum werr fault_sync(void *plan, bool *torn);

/* Wrappers: take the inner one, keep the plan. */
struct kv *fault_kv(struct kv *inner, struct fault_plan *p);
/*
 * torn: how a record gets into the log so that it survives, NULL = a plain append. The outcome is
 * hidden either way. own_sync: the inner log asks fault_sync itself.
 */
struct clog *fault_clog(struct clog *inner, struct fault_plan *p, bool own_sync,
                        void (*torn)(struct clog *inner, uint64_t tag, struct clog_pos pos,
                                     struct slice rec));
struct clog *fault_clog_inner(struct clog *wrapped);
struct fault_plan *fault_clog_plan(struct clog *wrapped);

#endif
