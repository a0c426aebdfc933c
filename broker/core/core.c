/*
 * The core as a whole: opening, closing, the turn of the loop, figures.
 *
 * Opening reads topics, then producers, then dedupe states (which need both). Closing answers
 * whatever still waits: work that was submitted but never came back is INDETERMINATE, work that
 * never left the core was not done.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "broker/core/group_impl.h"
#include "broker/core/mem.h"

enum { DEFAULT_MAX_TOPICS = 100 * 1000, DEFAULT_MAX_PARTITIONS = 200 * 1000 };
static const uint64_t DEFAULT_INFLIGHT_BYTES = UINT64_C(64) << 20;
/* The metadata version stays a u53 and grows over restarts: epoch above, changes below. */
enum { VERSION_EPOCH_SHIFT = 28, TIMERS_PER_TICK = 10000 };

int64_t core_mono_ns(const struct core *co)
{
    return co->env.mono_ns(co->env.arg);
}

void core_log(const struct core *co, int level, const char *event, const char *fmt, ...)
{
    char kv[512];
    va_list ap;

    if (co->env.log == NULL) {
        return;
    }
    va_start(ap, fmt);
    /* NOLINTNEXTLINE(clang-analyzer-*): started one line above */
    vsnprintf(kv, sizeof kv, fmt, ap);
    va_end(ap);
    co->env.log(co->env.arg, level, event, kv);
}

int64_t core_wall_ms(struct core *co)
{
    const int64_t mono_ns = core_mono_ns(co), wall_ms = co->env.wall_ms(co->env.arg);

    switch (walltime_look(&co->wall, mono_ns, wall_ms)) {
    case WALLTIME_SAME:
        break;
    case WALLTIME_FROZEN:
        core_log(co, 1, "clock_jumped", "by_ms=%lld action=\"nothing is deleted by age for 1 h\"",
                 (long long)(co->wall.other_ms - co->wall.offset_ms));
        break;
    case WALLTIME_BELIEVED:
        core_log(co, 1, "clock_believed", "after_s=3600 action=\"deleting by age goes on\"");
        break;
    case WALLTIME_BACK:
        core_log(co, 1, "clock_back", "action=\"deleting by age goes on\"");
        break;
    }
    return walltime_ms(&co->wall, mono_ns);
}

/* ---------------------------------------------------------------- opening */

static void set_defaults(struct core *co)
{
    struct topic_config all;

    if (co->conf.max_topics == 0) {
        co->conf.max_topics = DEFAULT_MAX_TOPICS;
    }
    if (co->conf.max_partitions == 0) {
        co->conf.max_partitions = DEFAULT_MAX_PARTITIONS;
    }
    if (co->conf.inflight_bytes == 0) {
        co->conf.inflight_bytes = DEFAULT_INFLIGHT_BYTES;
    }
    if (co->conf.topic_defaults.partitions == 0) { /* not filled in */
        topic_config_defaults(&all);
        topic_config_merge(&all, &co->conf.topic_defaults);
        co->conf.topic_defaults = all;
    }
}

void core_set_budgets(struct core *co, uint64_t tail_cache_bytes, uint64_t inflight_bytes,
                      uint32_t max_topics)
{
    co->conf.tail_cache_bytes = tail_cache_bytes;
    co->conf.inflight_bytes = inflight_bytes;
    co->conf.max_topics = max_topics;
    tailcache_resize(&co->tail, tail_cache_bytes);
}

enum werr core_open(struct core **out, const struct core_conf *conf, struct store *st,
                    const struct core_env *env, struct werror *e)
{
    struct core *co = core_calloc(1, sizeof *co);
    enum werr rc;

    co->conf = *conf;
    co->env = *env;
    co->st = st;
    co->epoch = (uint32_t)store_epoch(st);
    co->version = ((uint64_t)co->epoch << VERSION_EPOCH_SHIFT) + 1;
    TAILQ_INIT(&co->jobs);
    TAILQ_INIT(&co->changed);
    TAILQ_INIT(&co->rolling);
    TAILQ_INIT(&co->wake);
    TAILQ_INIT(&co->store_queue);
    TAILQ_INIT(&co->aheads);
    co->ahead_most = SIZE_MAX;
    co->max_reads = CORE_READS;
    LIST_INIT(&co->readers);
    LIST_INIT(&co->colds);
    LIST_INIT(&co->sessions);
    TAILQ_INIT(&co->news);
    LIST_INIT(&co->joins);
    LIST_INIT(&co->lags);
    TAILQ_INIT(&co->groups_dirty);
    TAILQ_INIT(&co->gparts_dirty);
    set_defaults(co);
    tailcache_init(&co->tail, conf->tail_cache_bytes);
    walltime_init(&co->wall, core_mono_ns(co), env->wall_ms(env->arg));
    rc = producer_load(co, e);
    if (rc == WERR_OK) {
        rc = topic_load(co, e);
    }
    if (rc == WERR_OK) {
        rc = dedupe_load(co, e);
    }
    if (rc == WERR_OK) {
        rc = delay_load(co, e);
    }
    if (rc == WERR_OK) {
        rc = group_load(co, e);
    }
    if (rc != WERR_OK) {
        core_close(co);
        return rc;
    }
    retention_init(co);
    *out = co;
    return WERR_OK;
}

/* ---------------------------------------------------------------- closing */

static void close_jobs(struct core *co)
{
    struct werror e;
    struct job *j;

    werror_set(&e, WERR_INDETERMINATE, "the broker stopped before this was known to be stored");
    while ((j = TAILQ_FIRST(&co->jobs)) != NULL) {
        TAILQ_REMOVE(&co->jobs, j, link);
        j->run(j, STORE_DONE, WERR_INDETERMINATE, &e);
    }
}

static void close_reads(struct core *co)
{
    struct cold_read *cr;

    while ((cr = LIST_FIRST(&co->colds)) != NULL) {
        LIST_REMOVE(cr, of_core);
        if (cr->rd != NULL) {
            cr->rd->reading = NULL;
        }
        free(cr);
    }
}

void core_close(struct core *co)
{
    if (co == NULL) {
        return;
    }
    co->closing = co->draining = true;
    flight_drop(co, WERR_SHUTTING_DOWN, werr_text(WERR_SHUTTING_DOWN));
    fetch_fini(co);
    topic_change_abort(co);
    close_jobs(co);
    group_fini(co);
    delay_fini(co);
    producer_fini(co);
    close_reads(co);
    while (!LIST_EMPTY(&co->readers)) {
        core_reader_free(LIST_FIRST(&co->readers)); /* its owner was told to free it before */
    }
    while (co->n_names > 0) {
        struct core_topic *t = co->names[--co->n_names];
        HASH_DEL(co->topics, t);
        topic_free(co, t);
    }
    free(co->names);
    free(co->fetches);
    timers_fini(&co->timers);
    free(co);
}

/* ---------------------------------------------------------------- the loop's turn */

void core_flush(struct core *co)
{
    flight_submit(co);
    readers_read_on(co);
    readers_wake(co);
    groups_tell(co);
    flight_submit(co); /* a reader's owner may have produced */
}

int64_t core_deadline_mono_ns(const struct core *co)
{
    const int64_t fetch_ns = fetch_deadline(co), timer_ns = timers_next(&co->timers);
    const int64_t first_ns = fetch_ns < timer_ns ? fetch_ns : timer_ns;

    return first_ns < co->upkeep_mono_ns ? first_ns : co->upkeep_mono_ns;
}

void core_tick(struct core *co)
{
    fetch_expire(co, core_mono_ns(co));
    (void)timers_run(&co->timers, core_mono_ns(co), TIMERS_PER_TICK);
    retention_run(co);
    core_flush(co);
}

void core_drain(struct core *co)
{
    co->draining = true;
    flight_submit(co);
}

bool core_idle(const struct core *co)
{
    return co->flight == NULL && TAILQ_EMPTY(&co->jobs) && co->changes == NULL &&
           LIST_EMPTY(&co->colds) && LIST_EMPTY(&co->joins);
}

bool core_accepts_produce(const struct core *co)
{
    return co->inflight_bytes < co->conf.inflight_bytes;
}

uint64_t core_inflight_bytes(const struct core *co)
{
    return co->inflight_bytes;
}

uint64_t core_read_parts(const struct core *co)
{
    return co->n_rparts;
}

uint64_t core_held_bytes(const struct core *co)
{
    return co->held_bytes;
}

uint64_t core_ahead_bytes(const struct core *co)
{
    return co->ahead_bytes;
}

void core_set_ahead(struct core *co, size_t most)
{
    co->ahead_most = most;
}

void core_stats(struct core *co, struct core_stats *s)
{
    *s = co->stats;
    s->inflight_bytes = co->inflight_bytes;
    s->tail_cache_bytes = co->tail.bytes;
    s->topics = core_topic_count(co);
    s->partitions = co->n_parts;
    s->producers = HASH_COUNT(co->dedupes);
    s->waiting_fetches = co->n_fetches;
}
