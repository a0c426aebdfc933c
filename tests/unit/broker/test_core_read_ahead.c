/* What is read ahead for queues, and how much of it is kept. */
#include "queue_world.h"
#include "tests/lib/test.h"

/* Takes 100 messages until all of 8 partitions are taken, each partition in order; returns the most
 * that was kept of what had been read. */
static size_t drain_eight(struct world *w, struct peer *m, uint64_t tid, uint64_t per_part)
{
    struct take t = {.rq.max_wait_ms = 100};
    uint64_t next[8] = {0}, left = 8 * per_part;
    size_t most = 0;

    for (uint64_t i = 1; left > 0; i++) {
        assert_true(take(&t, m, i, 100) > 0);
        for (size_t k = 0; k < t.n; k++) {
            const struct slip *s = &t.v[k];
            assert_int_equal(s->tid, tid);
            assert_int_equal(s->first, next[s->p]);
            left -= s->last + 1 - next[s->p];
            next[s->p] = s->last + 1;
            assert_int_equal(ack(m, s), WERR_OK);
        }
        most = core_ahead_bytes(w->co) > most ? core_ahead_bytes(w->co) : most;
    }
    return most;
}

/* What is read ahead for many partitions is bounded in all; the rest is read again when its turn
 * comes, and nothing is given twice or out of order. */
static void test_read_ahead_is_bounded(void **state)
{
    size_t most[2];
    (void)state;

    for (int bounded = 0; bounded < 2; bounded++) {
        struct world w;
        struct peer m;
        world_init(&w);
        w.conf.tail_cache_bytes = 1;
        world_open(&w);
        const uint64_t tid = world_topic(&w, "t", "partitions", "8", NULL);
        for (uint32_t p = 0; p < 8; p++) {
            for (unsigned i = 0; i < 10; i++) {
                world_produce(&w, tid, p, 0, 0, 100, WERR_OK);
            }
        }
        if (bounded) {
            core_set_ahead(w.co, most[0] / 3);
        }
        worker_join(&m, &w, "g", 'a', "t");
        most[bounded] = drain_eight(&w, &m, tid, 1000);
        world_change(&w, CORE_TOPIC_DELETE, "t", NULL, WERR_OK, NULL);
        assert_int_equal(core_ahead_bytes(w.co), 0);
        peer_fini(&m);
        world_fini(&w);
    }
    assert_true(most[1] > 0);
    assert_in_range(most[1], 1, most[0] / 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read_ahead_is_bounded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
