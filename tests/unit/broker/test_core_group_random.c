/*
 * Log groups under random events: members that join, leave, vanish, come back, act with what they
 * knew long ago; power cuts, full disks, topics that grow. Checked after every event: only the
 * member that was last told a partition can commit it, and what was answered as committed stays.
 * At the end of each stretch: everything belongs to exactly one live member, evenly.
 */
#include "group_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/test.h"

enum { PEERS = 6, MAX_PARTS = 12, SEEDS = 60, EVENTS = 250 };
enum event { JOIN, LEAVE, DROP, BEAT, GIVE_UP, COMMIT, STALE, PASS, PRODUCE, CRASH, FULL, GROW, N };
static unsigned counts[N], stale_refused, resumed, converged;

struct game {
    struct world w;
    struct peer m[PEERS];
    struct peer old[PEERS]; /* what they knew once; parts are not theirs to free */
    uint64_t tid, seed;
    uint32_t n_parts;
    int told[MAX_PARTS];          /* who was last told that it has p; -1 = nobody */
    uint64_t acked[MAX_PARTS];    /* highest commit answered with OK */
    uint64_t produced[MAX_PARTS]; /* high watermark */
};

static uint64_t dice(struct game *g, uint64_t n)
{
    g->seed = g->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (g->seed >> 33) % n;
}

static void note_told(struct game *g, int i)
{
    for (size_t k = 0; k < g->m[i].n_parts; k++) {
        g->told[g->m[i].parts[k].p] = i;
        assert_true(g->m[i].parts[k].epoch <= g->m[i].epoch);
    }
}

static void check_positions(struct game *g)
{
    if (core_group_by_name(g->w.co, slice_str("g")) == NULL) {
        return;
    }
    for (uint32_t p = 0; p < g->n_parts; p++) {
        const struct msg_committed c = world_committed(&g->w, "g", g->tid, p);
        assert_true(c.offset >= g->acked[p]);
        assert_true(c.offset <= g->produced[p]);
    }
}

/* The member is gone for itself: it will have to join. */
static void forget(struct peer *m)
{
    peer_drop(m);
    free(m->parts);
    m->parts = NULL;
    m->n_parts = 0;
    m->changed = 0;
}

static bool joined(const struct peer *m)
{
    return m->session != NULL && m->epoch > 0;
}

static void do_join(struct game *g, int i)
{
    struct peer *m = &g->m[i];

    if (joined(m) && dice(g, 3) != 0) {
        return;
    }
    if (joined(m)) { /* over a second connection: the first is fenced */
        struct peer twin = *m;
        m->session = NULL;
        m->changed = 0;
        peer_join_start(m, "t");
        world_step(&g->w);
        core_session_end(twin.session);
    } else {
        peer_join_start(m, "t");
        world_step(&g->w);
    }
    assert_int_equal(m->done, 1);
    if (m->err.code != WERR_OK) {
        forget(m);
        m->epoch = 0;
        return;
    }
    resumed += m->resumed;
    for (size_t k = 0; k < m->n_parts; k++) {
        assert_true(m->parts[k].offset >= g->acked[m->parts[k].p]);
    }
    note_told(g, i);
}

static void do_beat(struct game *g, int i, bool owning)
{
    struct peer *m = &g->m[i];

    if (!joined(m)) {
        return;
    }
    if (owning) {
        for (uint32_t p = 0; p < g->n_parts; p++) {
            g->told[p] = g->told[p] == i && !peer_has(m, g->tid, p) ? -1 : g->told[p];
        }
        peer_beat_owning(m, WERR_OK);
    } else {
        peer_beat(m, WERR_OK);
    }
    note_told(g, i);
}

static void do_commit(struct game *g, int i, const struct peer *as)
{
    struct peer copy = *as;
    const uint32_t p = (uint32_t)dice(g, g->n_parts);
    const uint64_t at = g->acked[p] + dice(g, g->produced[p] - g->acked[p] + 1);

    if (as->epoch == 0) {
        return;
    }
    if (peer_commit(&copy, g->tid, p, at) != WERR_OK) {
        stale_refused += as != &g->m[i];
        return;
    }
    const int told = g->told[p]; /* one that is away may have lost it to a member not yet told */
    assert_true(told == i || told < 0 || !joined(&g->m[told]));
    assert_true(at >= g->acked[p]);
    g->acked[p] = at;
}

static void do_crash(struct game *g)
{
    for (int i = 0; i < PEERS; i++) {
        peer_drop(&g->m[i]);
        g->m[i].changed = 0;
    }
    core_flush(g->w.co);
    store_step_write(g->w.st);
    world_crash(&g->w, (unsigned)dice(g, 3));
    world_open(&g->w);
    for (uint32_t p = 0; p < g->n_parts; p++) {
        struct msg_part_stat stats[MAX_PARTS];
        core_topic_stats(g->w.co, core_topic_by_id(g->w.co, g->tid), stats);
        g->produced[p] = stats[p].hw;
    }
}

static void do_grow(struct game *g)
{
    struct topic_config c = {.set = TKEY_PARTITIONS, .partitions = g->n_parts + 1};

    if (g->n_parts < MAX_PARTS && dice(g, 4) == 0) {
        struct core_topic_rq rq;
        world_change(&g->w, CORE_TOPIC_ALTER, "t", &c, WERR_OK, &rq);
        g->told[g->n_parts++] = -1;
    }
}

static void do_full(struct game *g)
{
    const struct store_fault full = {.kind = FAULT_APPEND, .k = 1, .rc = WERR_STORAGE_FULL};
    const int i = (int)dice(g, PEERS);

    store_mem_fault(g->w.st, &full);
    if (dice(g, 2) == 0) {
        do_join(g, i);
    } else {
        do_commit(g, i, &g->m[i]);
    }
    store_mem_fault(g->w.st, &(struct store_fault){.k = 0});
    world_pass(&g->w, 1500);
}

static void play(struct game *g, enum event ev)
{
    const int i = (int)dice(g, PEERS);
    struct peer *m = &g->m[i];

    counts[ev]++;
    switch (ev) {
    case JOIN:
        do_join(g, i);
        break;
    case LEAVE:
        if (joined(m) && peer_leave(m) == WERR_OK) {
            forget(m);
            m->epoch = 0;
            for (uint32_t p = 0; p < g->n_parts; p++) {
                g->told[p] = g->told[p] == i ? -1 : g->told[p];
            }
        }
        break;
    case DROP:
        g->old[i] = *m;
        peer_drop(m);
        m->changed = 0;
        break;
    case BEAT:
        do_beat(g, i, false);
        break;
    case GIVE_UP:
        do_beat(g, i, true);
        break;
    case COMMIT:
        do_commit(g, i, m);
        break;
    case STALE:
        do_commit(g, i, &g->old[i]);
        break;
    case PASS:
        world_pass(&g->w, dice(g, 5) == 0 ? CORE_GRACE_MS + 1 : (int64_t)dice(g, 3000));
        break;
    case PRODUCE: {
        const uint32_t p = (uint32_t)dice(g, g->n_parts);
        world_produce(&g->w, g->tid, p, 0, 0, 3, WERR_OK);
        g->produced[p] += 3;
        break;
    }
    case CRASH:
        if (dice(g, 4) == 0) {
            do_crash(g);
        }
        break;
    case FULL:
        do_full(g);
        break;
    case GROW:
        do_grow(g);
        break;
    case N:
        break;
    }
}

/* Members that were removed while they still had a session join again, as a client would. */
static void come_back(struct game *g)
{
    for (int i = 0; i < PEERS; i++) {
        struct peer *m = &g->m[i];
        if (m->session == NULL) {
            m->epoch = 0;
        }
    }
}

static void check_converged(struct game *g)
{
    int owners[MAX_PARTS] = {0};
    size_t live = 0, least = SIZE_MAX, most = 0;

    world_pass(&g->w, CORE_GRACE_MS + 2000); /* who is away is gone */
    come_back(g);
    do_join(g, 0);
    peers_settle(g->m, PEERS);
    for (int i = 0; i < PEERS; i++) {
        if (!joined(&g->m[i])) {
            continue;
        }
        peer_beat(&g->m[i], WERR_OK); /* nobody waits for news */
        note_told(g, i);
        live++;
        least = g->m[i].n_parts < least ? g->m[i].n_parts : least;
        most = g->m[i].n_parts > most ? g->m[i].n_parts : most;
        for (size_t k = 0; k < g->m[i].n_parts; k++) {
            const uint32_t p = g->m[i].parts[k].p;
            owners[p]++;
            assert_int_equal(peer_may_read(&g->m[i], g->tid, p), WERR_OK);
        }
    }
    assert_true(live > 0);
    for (uint32_t p = 0; p < g->n_parts; p++) {
        assert_int_equal(owners[p], 1);
    }
    assert_true(most - least <= 1);
    assert_string_equal(world_group_state(&g->w, "g"), "active");
    converged++;
}

static void run(uint64_t seed)
{
    static struct game g;

    g = (struct game){.seed = seed * 77 + 1, .n_parts = 5};
    world_init(&g.w);
    world_open(&g.w);
    g.tid = world_topic(&g.w, "t", "partitions", "5", NULL);
    for (int i = 0; i < PEERS; i++) {
        peer_init(&g.m[i], &g.w, "g", (char)('a' + i));
        g.old[i] = g.m[i];
    }
    for (uint32_t p = 0; p < MAX_PARTS; p++) {
        g.told[p] = -1;
    }
    do_join(&g, 0);
    for (int e = 0; e < EVENTS; e++) {
        play(&g, (enum event)dice(&g, N));
        check_positions(&g);
        if (e % 50 == 49) {
            check_converged(&g);
            check_positions(&g);
        }
    }
    for (int i = 0; i < PEERS; i++) {
        peer_fini(&g.m[i]);
    }
    world_fini(&g.w);
}

static void test_random(void **state)
{
    const char *more = getenv("WEIR_SEEDS");
    const uint64_t n = more != NULL ? strtoull(more, NULL, 10) : SEEDS;
    (void)state;

    for (uint64_t seed = 1; seed <= n; seed++) {
        run(seed);
    }
    for (int ev = 0; ev < N; ev++) {
        assert_true(counts[ev] > 0);
    }
    assert_true(stale_refused > 0 && resumed > 0 && converged > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
