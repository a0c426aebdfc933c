#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---------------------------------------------------------------- chance, trace, verdict */

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* xoroshiro128+ */
uint64_t sim_random(struct sim *s)
{
    const uint64_t a = s->rng[0], sum = a + s->rng[1];
    uint64_t b = s->rng[1] ^ a;

    s->rng[0] = ((a << 24) | (a >> 40)) ^ b ^ (b << 16);
    s->rng[1] = (b << 37) | (b >> 27);
    return sum;
}

uint32_t sim_below(struct sim *s, uint32_t n)
{
    return (uint32_t)((sim_random(s) >> 32) * n >> 32);
}

bool sim_chance(struct sim *s, uint32_t percent)
{
    return sim_below(s, 100) < percent;
}

void sim_trace(struct sim *s, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    for (const char *p = what; *p != '\0'; p++) {
        s->hash = mix(s->hash ^ (uint8_t)*p);
    }
    s->hash = mix(mix(mix(s->hash ^ a) ^ b) ^ c);
    if (s->verbose) {
        printf("%10lld ms  %-14s %llu %llu %llu\n", (long long)(s->mono_ns / 1000000), what,
               (unsigned long long)a, (unsigned long long)b, (unsigned long long)c);
    }
}

void sim_fail(struct sim *s, const char *fmt, ...)
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
    return ((struct sim *)arg)->mono_ns;
}

static int64_t wall_ms(void *arg)
{
    const struct sim *s = arg;

    return SIM_WALL_MS + s->mono_ns / 1000000 + s->wall_skew_ms;
}

static uint64_t random_u64(void *arg)
{
    return sim_random(arg);
}

static void on_log(void *arg, int level, const char *event, const char *kv)
{
    const struct sim *s = arg;

    if (s->verbose) {
        printf("               log %d %s %s\n", level, event, kv);
    }
}

static bool machine_start(struct sim *s)
{
    const struct core_env env = {
        .arg = s, .mono_ns = mono_ns, .wall_ms = wall_ms, .random = random_u64, .log = on_log};
    struct werror e = {0};

    if (store_open_mem(&s->st, s->disk, STORE_MEM_STEPPED, &s->store_conf, &e) != WERR_OK) {
        s->st = NULL;
        sim_fail(s, "the store does not open: %s", e.text);
        return false;
    }
    if (core_open(&s->co, &s->conf, s->st, &env, &e) != WERR_OK) {
        s->co = NULL;
        sim_fail(s, "the core does not open: %s", e.text);
        return false;
    }
    s->fault_armed = s->log_fault = false;
    return true;
}

/* The process ends without a word. power: what was not synced may be gone too. */
static void machine_crash(struct sim *s, bool power)
{
    readers_cut(s);
    store_abandon(s->st);
    core_close(s->co);
    s->co = NULL;
    s->st = NULL;
    unsigned keep = UINT32_MAX;
    if (power) {
        keep = sim_chance(s, 50) ? 0 : sim_below(s, 6);
    }
    memdisk_crash(s->disk, keep);
    producers_cut(s);
    s->n_crashes++;
    s->n_power_cuts += power;
    s->wall_skew_ms = 0;
    s->mono_ns += (int64_t)sim_below(s, 3000) * 1000000;
    sim_trace(s, "crash", power, keep, 0);
}

/* SIGTERM: everything in flight is answered, then an orderly end. */
static void machine_stop(struct sim *s)
{
    core_drain(s->co);
    for (int i = 0; i < 100 && !core_idle(s->co); i++) {
        core_flush(s->co);
        store_step(s->st);
    }
    if (!core_idle(s->co)) {
        sim_fail(s, "the core does not get idle");
    }
    readers_cut(s);
    store_close(s->st);
    core_close(s->co);
    s->co = NULL;
    s->st = NULL;
    producers_cut(s);
    s->wall_skew_ms = 0;
    sim_trace(s, "stop", 0, 0, 0);
}

static void machine_restart(struct sim *s, bool crash, bool power)
{
    const bool lossy = (crash && power) || s->log_fault;

    if (crash) {
        machine_crash(s, power);
    } else {
        machine_stop(s);
    }
    if (!s->failed && machine_start(s)) {
        admin_restarted(s);
        model_restarted(s, lossy);
    }
}

static void machine_fault(struct sim *s)
{
    struct store_fault f = {.kind = FAULT_APPEND, .k = 1 + sim_below(s, 3), .rc = WERR_IO};

    switch (sim_below(s, 6)) {
    case 0:
    case 1:
    case 2:
        f.rc = WERR_STORAGE_FULL;
        f.sticky = sim_chance(s, 20);
        break;
    case 3:
        f.torn = sim_chance(s, 50);
        break;
    case 4:
        f.kind = FAULT_SYNC;
        f.torn = sim_chance(s, 50);
        break;
    default:
        f.kind = FAULT_READ;
        break;
    }
    store_mem_fault(s->st, &f);
    s->n_faults++;
    s->log_fault = s->log_fault || (f.kind != FAULT_READ && f.rc == WERR_IO);
    s->fault_armed = true;
    sim_trace(s, "fault", f.kind, (uint64_t)f.rc, f.k);
}

static void machine_heal(struct sim *s)
{
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        store_mem_fault(s->st, &(struct store_fault){.kind = (enum fault_kind)kind});
    }
}

/* ---------------------------------------------------------------- one step */

static void step_store(struct sim *s)
{
    switch (sim_below(s, 4)) {
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
        break;
    }
    store_poll(s->st);
}

static void step_time(struct sim *s)
{
    s->mono_ns += (int64_t)sim_below(s, sim_chance(s, 5) ? 20000 : 300) * 1000000;
    if (sim_chance(s, 2)) {
        s->wall_skew_ms = sim_chance(s, 50) ? 0 : (int64_t)sim_below(s, 1000000000) - 100000000;
    }
    if (core_deadline_mono_ns(s->co) <= s->mono_ns || sim_chance(s, 10)) {
        core_tick(s->co);
    }
}

static void step(struct sim *s)
{
    struct mproducer *p = &s->producers[sim_below(s, SIM_PRODUCERS)];
    const uint32_t dice = sim_below(s, 1000);

    if (dice < 250) {
        producer_step(s, p);
    } else if (dice < 500) {
        producer_deliver(s, p);
    } else if (dice < 720) {
        step_store(s);
    } else if (dice < 820) {
        reader_step(s, &s->readers[sim_below(s, SIM_READERS)]);
    } else if (dice < 850) {
        fetch_step(s);
    } else if (dice < 940) {
        step_time(s);
    } else if (dice < 955) {
        admin_step(s);
    } else if (dice < 965) {
        producer_restart(s, p);
    } else if (dice < 975) {
        machine_fault(s);
    } else if (dice < 982) {
        machine_heal(s);
    } else if (dice < 992) {
        machine_restart(s, sim_chance(s, 80), sim_chance(s, 60));
    }
    if (!s->failed && store_state(s->st) == STORE_FAILED) {
        machine_restart(s, true, sim_chance(s, 30)); /* a real broker answers and exits */
    }
}

/* Faults end; everybody must get through, and everything must be there. */
static void heal(struct sim *s)
{
    s->healing = true;
    s->wall_skew_ms = 0;
    machine_restart(s, sim_chance(s, 50), sim_chance(s, 50));
    if (s->failed) {
        return;
    }
    machine_heal(s);
    for (int i = 0; i < 3000 && !s->failed; i++) {
        for (unsigned k = 0; k < SIM_PRODUCERS; k++) {
            producer_step(s, &s->producers[k]);
            producer_deliver(s, &s->producers[k]);
        }
        core_flush(s->co);
        store_step(s->st);
        for (unsigned k = 0; k < SIM_READERS; k++) {
            reader_step(s, &s->readers[k]);
        }
        s->mono_ns += 20 * 1000000;
        core_tick(s->co);
        store_step(s->st);
        if (i > 20 && producers_settled(s) && readers_settled(s)) {
            return;
        }
    }
    if (!s->failed) {
        sim_fail(s, "no progress after all faults ended: producers %s, readers %s",
                 producers_settled(s) ? "done" : "stuck", readers_settled(s) ? "done" : "stuck");
    }
}

void sim_run(struct sim *s, uint64_t seed, bool verbose)
{
    *s = (struct sim){.seed = seed,
                      .rng = {mix(seed), mix(seed ^ UINT64_C(0x5851f42d4c957f2d))},
                      .verbose = verbose,
                      .disk = memdisk_new(),
                      .mono_ns = INT64_C(1000000000),
                      .next_id = 1};
    topic_config_defaults(&s->conf.topic_defaults);
    s->conf.broker_id = 1;
    s->conf.tail_cache_bytes = sim_chance(s, 30) ? 0 : UINT64_C(1) << (8 + sim_below(s, 10));
    s->conf.inflight_bytes = UINT64_C(1) << (10 + sim_below(s, 12));
    s->store_conf.memory_bytes = 64 << 20;
    s->store_conf.bucket_bytes = UINT64_C(1) << (11 + sim_below(s, 8));
    producers_init(s);
    if (!machine_start(s)) {
        return;
    }
    admin_create_missing(s);
    const unsigned n_steps = 300 + sim_below(s, 900);
    for (unsigned i = 0; i < n_steps && !s->failed; i++) {
        step(s);
    }
    if (!s->failed) {
        heal(s);
    }
    if (!s->failed) {
        model_scan(s);
    }
    if (!s->failed) {
        machine_restart(s, true, true); /* everything was acknowledged: nothing may go */
    }
    if (!s->failed) {
        model_scan(s);
    }
}

void sim_fini(struct sim *s)
{
    readers_cut(s);
    if (s->st != NULL) {
        store_abandon(s->st);
    }
    core_close(s->co);
    for (unsigned i = 0; i < SIM_TOPICS; i++) {
        model_forget(&s->topics[i]);
    }
    producers_fini(s);
    memdisk_free(s->disk);
}
