/* The machine, its clock, its faults, and the course of a run. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gsim.h"

static const int64_t WALL_MS = INT64_C(1700000000000);
static const int64_t MS = 1000000;
const char *const g_group_names[G_GROUPS] = {"queue", "keyed", "log", "log2"};
const char *const g_topic_names[G_TOPICS] = {"work", "later"};

/* ---------------------------------------------------------------- chance, trace, verdict */

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t g_random(struct gsim *s)
{
    s->rng[0] += UINT64_C(0x9e3779b97f4a7c15);
    return mix(s->rng[0] ^ s->rng[1]);
}

uint32_t g_below(struct gsim *s, uint32_t n)
{
    return (uint32_t)((g_random(s) >> 32) * n >> 32);
}

bool g_chance(struct gsim *s, uint32_t percent)
{
    return g_below(s, 100) < percent;
}

void g_trace(struct gsim *s, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    for (const char *p = what; *p != '\0'; p++) {
        s->hash = mix(s->hash ^ (uint8_t)*p);
    }
    s->hash = mix(mix(mix(s->hash ^ a) ^ b) ^ c);
    if (s->verbose) {
        printf("%10lld ms  %-16s %llu %llu %llu\n", (long long)(s->mono_ns / MS), what,
               (unsigned long long)a, (unsigned long long)b, (unsigned long long)c);
    }
}

void g_fail(struct gsim *s, const char *fmt, ...)
{
    va_list ap;

    if (s->failed) {
        return;
    }
    s->failed = true;
    va_start(ap, fmt);
    vsnprintf(s->why, sizeof s->why, fmt, ap);
    va_end(ap);
    if (s->verbose) {
        printf("VIOLATION %s\n", s->why);
    }
}

/* ---------------------------------------------------------------- the machine */

static int64_t mono_ns(void *arg)
{
    return ((struct gsim *)arg)->mono_ns;
}

int64_t g_wall_ms(const struct gsim *s)
{
    return WALL_MS + s->mono_ns / MS;
}

static int64_t wall_ms(void *arg)
{
    const struct gsim *s = arg;

    return g_wall_ms(s) + s->skew_ms;
}

static uint64_t random_u64(void *arg)
{
    return g_random(arg);
}

static void on_log(void *arg, int level, const char *event, const char *kv)
{
    struct gsim *s = arg;

    s->n.grace_over += strcmp(event, "member_lost") == 0;
    if (s->verbose) {
        printf("               log %d %s %s\n", level, event, kv);
    }
}

/* A change whose answer was lost may have happened. */
static void look_at_topics(struct gsim *s)
{
    for (unsigned t = 0; t < G_TOPICS; t++) {
        const struct core_topic *topic = core_topic_by_name(s->co, slice_str(g_topic_names[t]));
        if (topic != NULL) {
            s->tid[t] = core_topic_id(topic);
            s->n_parts[t] = core_topic_config(topic)->partitions;
        }
    }
}

static bool machine_start(struct gsim *s)
{
    const struct core_env env = {
        .arg = s, .mono_ns = mono_ns, .wall_ms = wall_ms, .random = random_u64, .log = on_log};
    struct werror e = {0};

    if (store_open_mem(&s->st, s->disk, STORE_MEM_STEPPED, &s->store_conf, &e) != WERR_OK) {
        s->st = NULL;
        g_fail(s, "the store does not open: %s", e.text);
        return false;
    }
    if (core_open(&s->co, &s->conf, s->st, &env, &e) != WERR_OK) {
        s->co = NULL;
        g_fail(s, "the core does not open: %s", e.text);
        return false;
    }
    s->generation++;
    s->down = false;
    look_at_topics(s);
    return true;
}

/* Ends the process: power = what was not synced may be gone too. */
static void machine_end(struct gsim *s, bool power)
{
    unsigned keep = UINT32_MAX;

    s->down = true;
    members_crashed(s);
    store_abandon(s->st);
    core_close(s->co);
    s->co = NULL;
    s->st = NULL;
    if (power) {
        keep = g_chance(s, 50) ? 0 : g_below(s, 6);
        COUNT(s, power_cut);
    }
    memdisk_crash(s->disk, keep);
    COUNT(s, crash);
    s->skew_ms = 0;
    s->mono_ns += (int64_t)g_below(s, 4000) * MS;
    g_trace(s, "crash", power, keep, 0);
}

static void machine_stop(struct gsim *s)
{
    core_drain(s->co);
    for (int i = 0; i < 100 && !core_idle(s->co); i++) {
        core_flush(s->co);
        store_step(s->st);
    }
    if (!core_idle(s->co)) {
        g_fail(s, "the core does not get idle");
    }
    s->down = true;
    members_crashed(s);
    store_close(s->st);
    core_close(s->co);
    s->co = NULL;
    s->st = NULL;
    s->skew_ms = 0;
    COUNT(s, stop);
    g_trace(s, "stop", 0, 0, 0);
}

static void machine_restart(struct gsim *s, bool crash, bool power)
{
    if (crash) {
        machine_end(s, power);
    } else {
        machine_stop(s);
    }
    if (!s->failed) {
        (void)machine_start(s);
    }
}

static void machine_fault(struct gsim *s)
{
    struct store_fault f = {.kind = FAULT_APPEND, .k = 1 + g_below(s, 3), .rc = WERR_IO};
    const uint32_t dice = g_below(s, 8);

    if (dice < 5) {
        f.rc = WERR_STORAGE_FULL;
        f.sticky = g_chance(s, 30);
        COUNT(s, disk_full);
    } else if (dice == 5) {
        f.torn = g_chance(s, 50);
        COUNT(s, disk_broken);
    } else if (dice == 6) {
        f.kind = FAULT_SYNC;
        f.torn = g_chance(s, 50);
        COUNT(s, disk_broken);
    } else {
        f.kind = FAULT_READ;
        COUNT(s, read_fault);
    }
    store_mem_fault(s->st, &f);
    g_trace(s, "fault", f.kind, (uint64_t)f.rc, f.k);
}

static void machine_heal(struct gsim *s)
{
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        store_mem_fault(s->st, &(struct store_fault){.kind = (enum fault_kind)kind});
    }
}

void g_settle(struct gsim *s)
{
    for (int i = 0; i < 8; i++) {
        core_flush(s->co);
        store_step(s->st);
        if (core_deadline_mono_ns(s->co) <= s->mono_ns) {
            core_tick(s->co);
        }
    }
}

/* ---------------------------------------------------------------- reading a log */

struct fetched {
    bool done;
};

static void on_fetched(struct core_fetch *rq)
{
    ((struct fetched *)rq->arg)->done = true;
}

static uint64_t walk(struct gsim *s, struct slice run, uint64_t from,
                     void (*fn)(struct gsim *, void *, uint64_t, const struct record *), void *arg)
{
    struct buf scratch = {0};
    struct batch_head h;
    struct slice batch;
    uint64_t next = from;

    while (batch_next(&run, true, &h, &batch, NULL) == WERR_OK) {
        struct record_iter it;
        struct record r;
        if (record_open(&it, batch, &h, &scratch, NULL) != WERR_OK) {
            g_fail(s, "a stored batch does not open");
            break;
        }
        for (uint64_t o = h.base_offset; record_next(&it, &r); o++) {
            if (o >= from) {
                fn(s, arg, o, &r);
            }
        }
        next = h.base_offset + h.count;
    }
    buf_fini(&scratch);
    return next;
}

bool g_read(struct gsim *s, uint64_t tid, uint32_t p, uint64_t from,
            void (*fn)(struct gsim *s, void *arg, uint64_t offset, const struct record *r),
            void *arg)
{
    bool ok = true, more = true;

    while (ok && more && !s->failed) {
        struct fetched f = {0};
        struct core_fetch *rq = calloc(1, sizeof *rq);
        if (rq == NULL) {
            abort();
        }
        rq->max_bytes = 1 << 20;
        rq->parts[0] =
            (struct msg_fetch_part){.tid = tid, .p = p, .offset = from, .max_bytes = 1 << 20};
        rq->n_parts = 1;
        rq->done = on_fetched;
        rq->arg = &f;
        core_fetch(s->co, rq);
        for (int i = 0; i < 20 && !f.done; i++) {
            core_tick(s->co);
            store_step(s->st);
        }
        ok = f.done;
        if (!f.done) {
            core_fetch_cancel(rq);
        }
        more = false;
        for (size_t i = 0; f.done && i < rq->n_pieces; i++) {
            if (rq->pieces[i].err.code != WERR_OK) {
                ok = false;
            } else if (rq->pieces[i].data.n > 0) {
                from = walk(s, slice_of(rq->pieces[i].data.p, rq->pieces[i].data.n), from, fn, arg);
                more = true;
            }
        }
        core_fetch_fini(rq);
        free(rq);
    }
    return ok;
}

/* ---------------------------------------------------------------- the course */

static void topic_done(struct core_topic_rq *rq)
{
    *(bool *)rq->arg = true;
}

static void make_topic(struct gsim *s, unsigned t, uint32_t partitions)
{
    bool done = false;
    struct core_topic_rq rq = {
        .verb = s->tid[t] == 0 ? CORE_TOPIC_CREATE : CORE_TOPIC_ALTER,
        .name = slice_str(g_topic_names[t]),
        .conf = {.set = TKEY_PARTITIONS | TKEY_RETENTION_MS, .partitions = partitions},
        .done = topic_done,
        .arg = &done};

    core_topic_change(s->co, &rq);
    for (int i = 0; i < 50 && !done; i++) {
        core_flush(s->co);
        store_step(s->st);
    }
    if (done && rq.err.code == WERR_OK) {
        s->n.grown += s->tid[t] != 0;
        s->tid[t] = rq.tid;
        s->n_parts[t] = partitions;
    } else if (!done) { /* rq is on our stack: the process must not outlive it */
        machine_restart(s, true, false);
    }
    if (s->co != NULL) {
        look_at_topics(s);
    }
}

static void step_time(struct gsim *s)
{
    const int64_t deadline_ns = core_deadline_mono_ns(s->co);

    if (g_chance(s, 40) && deadline_ns > s->mono_ns && deadline_ns < s->mono_ns + 2000 * MS) {
        s->mono_ns = deadline_ns;
    } else {
        s->mono_ns += (int64_t)g_below(s, g_chance(s, 3) ? 15000 : 150) * MS;
    }
    if (s->skew_ms != 0 && s->mono_ns - s->jumped_ns > 1800000 * MS) {
        s->skew_ms = 0; /* not long enough to be believed */
    }
    if (g_chance(s, 1)) {
        /* A jump of less than a minute is believed, and moves what is due with it. */
        s->skew_ms = (g_chance(s, 50) ? 1 : -1) * (int64_t)(61000 + g_below(s, 200000000));
        s->skew_ms = g_chance(s, 50) ? 0 : s->skew_ms;
        s->jumped_ns = s->mono_ns;
        COUNT(s, clock_jump);
    }
    if (core_deadline_mono_ns(s->co) <= s->mono_ns || g_chance(s, 10)) {
        core_tick(s->co);
    }
}

static void step_store(struct gsim *s)
{
    switch (g_below(s, 4)) {
    case 0:
        core_flush(s->co);
        break;
    case 1:
        store_step_write(s->st);
        break;
    case 2:
        store_step_sync(s->st);
        break;
    default:
        core_flush(s->co);
        store_step(s->st);
        break;
    }
    store_poll(s->st);
}

static void step(struct gsim *s)
{
    const uint32_t dice = g_below(s, 1000);

    if (dice < 60) {
        produce_step(s);
    } else if (dice < 520) {
        actor_step(s, &s->members[g_below(s, G_GROUPS)][g_below(s, G_MEMBERS)]);
    } else if (dice < 780) {
        step_store(s);
    } else if (dice < 900) {
        step_time(s);
    } else if (dice < 930) {
        delay_step(s);
    } else if (dice < 940) {
        delay_look(s);
    } else if (dice < 955) {
        log_check(s);
    } else if (dice < 965) {
        dlq_step(s);
    } else if (dice < 973) {
        group_admin_step(s);
    } else if (dice < 975) {
        const unsigned t = g_below(s, G_TOPICS);
        if (s->n_parts[t] < G_PARTS) {
            make_topic(s, t, s->n_parts[t] + 1);
        }
    } else if (dice < 982) {
        machine_fault(s);
    } else if (dice < 992) {
        machine_heal(s);
    } else if (dice < 995) {
        machine_restart(s, g_chance(s, 85), g_chance(s, 60));
    }
    if (!s->failed && store_state(s->st) == STORE_FAILED) {
        machine_restart(s, true, g_chance(s, 30));
    }
}

/* Faults end; everybody must get through. */
static void heal(struct gsim *s)
{
    s->healing = true;
    s->skew_ms = 0;
    machine_restart(s, g_chance(s, 50), g_chance(s, 50));
    for (int i = 0; i < 6000 && !s->failed; i++) {
        for (unsigned g = 0; g < G_GROUPS; g++) {
            for (unsigned k = 0; k < G_MEMBERS; k++) {
                actor_step(s, &s->members[g][k]);
            }
        }
        core_flush(s->co);
        store_step(s->st);
        s->mono_ns += (int64_t)(i % 10 == 0 ? 2000 : 20) * MS;
        core_tick(s->co);
        store_step(s->st);
        if (i > 60 && i % 20 == 0 && queue_drained(s) && delay_drained(s)) {
            break;
        }
    }
    if (!s->failed && !(queue_drained(s) && delay_drained(s))) {
        queue_show(s);
        g_fail(s, "no progress after all faults ended: queues %s, delayed %s",
               queue_drained(s) ? "drained" : "stuck", delay_drained(s) ? "drained" : "stuck");
    }
}

void g_run(struct gsim *s, uint64_t seed, unsigned events, bool verbose)
{
    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->rng[0] = mix(seed);
    s->rng[1] = mix(seed ^ UINT64_C(0x5851f42d4c957f2d));
    s->verbose = verbose;
    s->disk = memdisk_new();
    s->mono_ns = 1000 * MS;
    topic_config_defaults(&s->conf.topic_defaults);
    s->conf.broker_id = 1;
    s->conf.tail_cache_bytes = g_chance(s, 40) ? 0 : UINT64_C(1) << (8 + g_below(s, 10));
    s->conf.inflight_bytes = UINT64_C(1) << 24;
    s->store_conf.memory_bytes = 64 << 20;
    s->store_conf.bucket_bytes = UINT64_C(1) << (13 + g_below(s, 6));
    for (unsigned g = 0; g < G_GROUPS; g++) {
        for (unsigned k = 0; k < G_MEMBERS; k++) {
            struct g_member *m = &s->members[g][k];
            *m = (struct g_member){.s = s, .group = g, .index = k, .slow = g_chance(s, 20)};
            m->id[0] = (uint8_t)(g + 1);
            m->id[15] = (uint8_t)(k + 1);
        }
    }
    if (!machine_start(s)) {
        return;
    }
    for (unsigned t = 0; t < G_TOPICS && !s->failed; t++) {
        make_topic(s, t, 1 + g_below(s, G_PARTS));
    }
    if (!s->failed) {
        groups_begin(s);
    }
    for (unsigned i = 0; i < events && !s->failed; i++) {
        step(s);
    }
    if (!s->failed) {
        heal(s);
    }
    if (!s->failed) {
        log_converged(s);
        queue_final(s);
        delay_final(s);
    }
    if (!s->failed) {
        machine_restart(s, true, true); /* everything was answered: nothing may go */
    }
    if (!s->failed) {
        log_check(s);
        queue_final(s);
        delay_final(s);
    }
}

void g_fini(struct gsim *s)
{
    s->down = true;
    if (s->co != NULL) {
        members_crashed(s);
    }
    if (s->st != NULL) {
        store_abandon(s->st);
    }
    core_close(s->co);
    memdisk_free(s->disk);
}
