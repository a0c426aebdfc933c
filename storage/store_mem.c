#include "storage/store_mem.h"

#include "storage/alloc.h"
#include "storage/clog_mem.h"
#include "storage/front.h"
#include "storage/kv_mem.h"
#include "storage/store_fault.h"

struct memdisk {
    struct memlog *log;
    struct memkv *kv;
    struct fault_plan *plan; /* lives here so that a store's threads may use it until it is gone */
};

struct memdisk *memdisk_new(void)
{
    struct memdisk *d = must_calloc(1, sizeof(*d));
    d->log = memlog_new();
    d->kv = memkv_new();
    d->plan = fault_plan_new();
    return d;
}

void memdisk_free(struct memdisk *d)
{
    if (d == NULL) {
        return;
    }
    memlog_free(d->log);
    memkv_free(d->kv);
    fault_plan_free(d->plan);
    free(d);
}

void memdisk_crash(struct memdisk *d, unsigned keep)
{
    memlog_crash(d->log, keep);
}

void memdisk_forget_tables(struct memdisk *d)
{
    if (!memlog_cut(d->log)) {
        memkv_clear(d->kv);
    }
}

void memdisk_log_limit(struct memdisk *d, uint64_t bytes)
{
    memlog_limit(d->log, bytes);
}

enum werr memdisk_apply(struct memdisk *d, uint64_t lsn, struct slice rec, struct werror *e)
{
    enum werr rc = memkv_apply(d->kv, rec, e);
    if (rc == WERR_OK) {
        memlog_adopt(d->log, (struct clog_pos){0, lsn}, rec);
    }
    return rc;
}

enum werr store_open_mem(struct store **out, struct memdisk *d, enum store_mem_mode mode,
                         const struct store_conf *conf, struct werror *e)
{
    bool threaded = mode == STORE_MEM_THREADED;
    struct memlog_hooks hooks = {.sync = fault_sync, .arg = d->plan};
    struct clog *log = NULL;
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        fault_plan_set(d->plan, &(struct store_fault){.kind = (enum fault_kind)kind});
    }
    enum werr rc = memlog_open(d->log, threaded, &hooks, &log, e);
    if (rc != WERR_OK) {
        return rc;
    }
    struct kv *kv = fault_kv(memkv_open(d->kv), d->plan);
    return front_open(out, kv, fault_clog(log, d->plan, true, memlog_torn),
                      threaded ? FRONT_THREADED : FRONT_STEPPED, conf, NULL, e);
}

void store_step_write(struct store *st)
{
    front_step_write(st);
}

void store_step_sync(struct store *st)
{
    front_step_sync(st);
}

void store_step(struct store *st)
{
    front_step_write(st);
    front_step_sync(st);
    store_poll(st);
}

void store_abandon(struct store *st)
{
    memlog_abandon(fault_clog_inner(front_clog(st)));
    front_abandon(st);
}

void store_mem_fault(struct store *st, const struct store_fault *f)
{
    fault_plan_set(fault_clog_plan(front_clog(st)), f);
}

unsigned store_mem_faults_fired(struct store *st)
{
    return fault_fired(fault_clog_plan(front_clog(st)));
}
