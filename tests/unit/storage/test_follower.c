/* A follower that has nothing but the log ends in the same state as the leader. */
#include <stdlib.h>

#include "storage/store_mem.h"
#include "tests/lib/store_world.h"
#include "tests/lib/test.h"

static struct store *open_stepped(void *disk, const struct store_conf *conf)
{
    struct store *st = NULL;
    struct werror e;
    if (store_open_mem(&st, disk, STORE_MEM_STEPPED, conf, &e) != WERR_OK)
        fail_msg("%s", e.text);
    return st;
}

/* All records of a log, kept. */
struct kept {
    uint64_t lsn;
    struct buf b;
};
struct history {
    struct kept *records;
    size_t n;
    /* the leader's hash when it had just committed lsn */
    uint64_t *hash_at, *lsn_at;
    size_t n_hashes;
};

static enum werr keep(void *arg, uint64_t lsn, struct slice rec)
{
    struct history *h = arg;
    h->records = realloc(h->records, (h->n + 1) * sizeof(*h->records));
    assert_non_null(h->records);
    h->records[h->n] = (struct kept){.lsn = lsn};
    buf_put(&h->records[h->n++].b, rec.p, rec.n);
    return WERR_OK;
}

static void history_free(struct history *h)
{
    for (size_t i = 0; i < h->n; i++)
        buf_fini(&h->records[i].b);
    free(h->records);
    free(h->hash_at);
    free(h->lsn_at);
}

static void note_hash(struct history *h, struct store *st)
{
    struct store_stats s;
    struct werror e;
    uint64_t hash = 0;
    /* A move that gc submitted is in the index at once, but not yet in the tables. */
    for (store_stats(st, &s); s.queued_bytes > 0; store_stats(st, &s))
        store_step(st);
    assert_int_equal(store_hash(st, &hash, &e), WERR_OK);
    h->hash_at = realloc(h->hash_at, (h->n_hashes + 1) * sizeof(uint64_t));
    h->lsn_at = realloc(h->lsn_at, (h->n_hashes + 1) * sizeof(uint64_t));
    assert_true(h->hash_at != NULL && h->lsn_at != NULL);
    h->hash_at[h->n_hashes] = hash;
    h->lsn_at[h->n_hashes++] = s.lsn;
}

static void apply(struct memdisk *d, const struct history *h, size_t from, size_t to)
{
    struct werror e;
    for (size_t i = from; i < to; i++)
        assert_int_equal(memdisk_apply(d, h->records[i].lsn, buf_slice(&h->records[i].b), &e),
                         WERR_OK);
}

/* Opens the follower, hashes it, compares it with the model at its position. */
static uint64_t look(struct world *w, struct memdisk *d)
{
    struct store *leader = w->st;
    struct werror e;
    uint64_t hash = 0;
    w->st = open_stepped(d, &w->conf);
    assert_int_equal(store_hash(w->st, &hash, &e), WERR_OK);
    world_check(w, world_stored_seq(w));
    store_close(w->st);
    w->st = leader;
    return hash;
}

static size_t index_of(const struct history *h, uint64_t lsn)
{
    size_t i = 0;
    while (i < h->n && h->records[i].lsn != lsn)
        i++;
    assert_true(i < h->n);
    return i;
}

static void run_leader(struct world *w, struct history *h)
{
    struct werror e;
    world_open(w);
    w->roll_percent = 4 + (unsigned)world_random(w, 10);
    w->max_batch_bytes = 200 + (uint32_t)world_random(w, 20000);
    for (int i = 0; i < 250; i++) {
        world_act(w);
        if (world_random(w, 5) == 0)
            store_gc(w->st, (int64_t)i * 1000000000);
        if (world_random(w, 4) == 0) {
            world_settle(w);
            note_hash(h, w->st);
        }
        if (world_random(w, 120) == 0) {
            world_settle(w);
            world_close(w); /* another epoch in the same log */
            world_open(w);
        }
    }
    world_settle(w);
    world_gc(w);
    note_hash(h, w->st);
    world_check(w, w->seq);
    assert_int_equal(store_replay(w->st, 1, keep, h, &e), WERR_OK);
}

static uint64_t n_seeds = 12; /* test_follower N: more */

static void one_seed(uint64_t seed)
{
    struct memdisk *disk = memdisk_new();
    struct world_env env = {disk, open_stepped, true, store_step};
    struct history h = {0};
    struct world w;
    world_init(&w, &env, seed);
    run_leader(&w, &h);
    uint64_t want = h.hash_at[h.n_hashes - 1];

    /* the whole log */
    struct memdisk *d = memdisk_new();
    apply(d, &h, 0, h.n);
    assert_true(look(&w, d) == want);
    memdisk_free(d);

    /* cut where the leader's hash is known */
    size_t at = world_random(&w, h.n_hashes);
    d = memdisk_new();
    apply(d, &h, 0, index_of(&h, h.lsn_at[at]) + 1);
    assert_true(look(&w, d) == h.hash_at[at]);
    memdisk_free(d);

    /* cut anywhere, then an older suffix again: idempotent */
    size_t cut = 1 + world_random(&w, h.n), back = world_random(&w, cut);
    d = memdisk_new();
    apply(d, &h, 0, cut);
    apply(d, &h, back, h.n);
    assert_true(look(&w, d) == want);
    memdisk_free(d);

    /* cut anywhere and opened: the model agrees (look checks that) */
    d = memdisk_new();
    apply(d, &h, 0, cut);
    (void)look(&w, d);
    memdisk_free(d);

    /* the leader itself, from its log alone */
    world_close(&w);
    memdisk_forget_tables(disk);
    world_open(&w);
    struct werror e;
    uint64_t again = 0;
    assert_int_equal(store_hash(w.st, &again, &e), WERR_OK);
    assert_true(again == want);
    world_fini(&w);
    memdisk_free(disk);
    history_free(&h);
}

static void test_shadow_follower(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= n_seeds; seed++) {
        print_message("SEED=%llu\n", (unsigned long long)seed);
        one_seed(seed);
    }
}

/* A record that another leader would not have written must change the hash. */
static void test_hash_notices(void **state)
{
    (void)state;
    struct memdisk *disk = memdisk_new(), *d = memdisk_new();
    struct world_env env = {disk, open_stepped, true, store_step};
    struct history h = {0};
    struct world w;
    struct werror e;
    uint64_t a = 0, b = 0;
    world_init(&w, &env, 5);
    world_open(&w);
    world_append(&w, 0, TABLE_LOG_7D, 500);
    world_append(&w, 1, TABLE_LOG_7D, 500);
    world_settle(&w);
    assert_int_equal(store_hash(w.st, &a, &e), WERR_OK);
    assert_int_equal(store_replay(w.st, 1, keep, &h, &e), WERR_OK);
    /* one byte of a batch's body */
    struct kept *r = &h.records[h.n - 1];
    for (size_t i = 0; i < r->b.len; i++) {
        if (r->b.p[i] == TABLE_LOG_7D && r->b.p[i + 1] == 16) {
            r->b.p[i + 300] ^= 1;
            break;
        }
    }
    apply(d, &h, 0, h.n);
    struct store *st = NULL;
    assert_int_not_equal(store_open_mem(&st, d, STORE_MEM_STEPPED, &w.conf, &e), WERR_OK);
    assert_int_equal(e.code, WERR_CORRUPT);
    (void)b;
    world_fini(&w);
    memdisk_free(d);
    memdisk_free(disk);
    history_free(&h);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        n_seeds = strtoull(argv[1], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shadow_follower),
        cmocka_unit_test(test_hash_notices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
