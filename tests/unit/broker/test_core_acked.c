/* Settled and taken messages of a partition, against a plain array. */
#include <stdlib.h>
#include <string.h>

#include "broker/core/acked.h"
#include "tests/lib/test.h"

enum { SPAN = 8000, START = 1000 }; /* offsets START to START + SPAN; not at a chunk's edge */

struct plain {
    bool done[SPAN], taken[SPAN];
};

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static uint64_t plain_next(const bool *v, uint64_t from)
{
    while (from < START + SPAN && v[from - START]) {
        from++;
    }
    return from;
}

static void compare(const struct acked *a, const struct plain *pl, uint64_t floor, uint64_t *seed)
{
    uint64_t n_done = 0;

    for (uint64_t o = floor; o < START + SPAN; o++) {
        assert_int_equal(acked_is_done(a, o), pl->done[o - START]);
        assert_int_equal(acked_is_taken(a, o), pl->taken[o - START]);
        n_done += pl->done[o - START];
    }
    assert_int_equal(acked_count_done(a, floor), n_done);
    for (int i = 0; i < 200; i++) {
        const uint64_t o = floor + next_random(seed) % (START + SPAN - floor);
        assert_int_equal(acked_next_free(a, o), plain_next(pl->taken, o));
        assert_int_equal(acked_next_undone(a, o), plain_next(pl->done, o));
        uint64_t end = o;
        const uint64_t limit = o + next_random(seed) % (START + SPAN - o + 1);
        while (end < limit && !pl->taken[end - START]) {
            end++;
        }
        assert_int_equal(acked_free_run(a, o, limit), end);
    }
}

static void drop_below(struct acked *a, uint64_t floor)
{
    struct chunk *c;

    while ((c = acked_pop_below(a, floor)) != NULL) {
        assert_true((c->number + 1) * CHUNK_MESSAGES <= floor);
        free(c);
    }
}

static void mark(struct acked *a, struct plain *pl, uint64_t floor, uint64_t *seed)
{
    const uint64_t o = floor + next_random(seed) % (START + SPAN - floor);
    uint64_t last = o + next_random(seed) % 300;

    last = last < START + SPAN ? last : START + SPAN - 1;
    switch (next_random(seed) % 4) {
    case 0:
        acked_take(a, o, last);
        memset(pl->taken + o - START, true, last - o + 1);
        break;
    case 1:
        acked_untake(a, o);
        pl->taken[o - START] = false;
        break;
    case 2:
        for (uint64_t i = o; i <= last; i++) {
            acked_done(a, i);
            pl->done[i - START] = pl->taken[i - START] = true;
        }
        break;
    default:
        if (pl->done[o - START]) {
            acked_undone(a, o);
            pl->done[o - START] = false;
        }
        break;
    }
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t s = 1; s <= 20; s++) {
        struct plain *pl = calloc(1, sizeof *pl);
        struct acked a = {0};
        uint64_t floor = START, seed = s * 7919;
        acked_reset(&a, START);
        for (int round = 0; round < 12; round++) {
            for (int i = 0; i < 20; i++) {
                mark(&a, pl, floor, &seed);
            }
            compare(&a, pl, floor, &seed);
            if (next_random(&seed) % 3 == 0) { /* the floor goes on, by chunks or by one */
                floor += next_random(&seed) % 2 == 0 ? 1 : next_random(&seed) % 1500;
                floor = floor < START + SPAN ? floor : START + SPAN - 1;
                drop_below(&a, floor);
                compare(&a, pl, floor, &seed);
            }
        }
        acked_fini(&a);
        free(pl);
    }
}

/* A million messages settled out of order are a thousand chunks, and none when the gaps close. */
static void test_million(void **state)
{
    struct acked a = {0};
    size_t chunks = 0;

    (void)state;
    acked_reset(&a, 0);
    for (uint64_t o = 1000000; o > 0; o--) {
        acked_done(&a, o);
    }
    assert_int_equal(acked_next_undone(&a, 0), 0);
    assert_int_equal(acked_next_undone(&a, 1), 1000001);
    assert_int_equal(acked_count_done(&a, 0), 1000000);
    for (size_t i = 0; i < a.n; i++) {
        chunks += a.v[a.head + i] != NULL;
    }
    assert_int_equal(chunks, 1000000 / CHUNK_MESSAGES + 1);
    acked_done(&a, 0);
    assert_int_equal(acked_next_undone(&a, 0), 1000001);
    drop_below(&a, 1000001);
    assert_true(a.n <= 1);
    acked_fini(&a);
}

/* A window that moves on for ever does not grow. */
static void test_moving(void **state)
{
    struct acked a = {0};

    (void)state;
    acked_reset(&a, 0);
    for (uint64_t floor = 0; floor < 3000000; floor += 500) {
        acked_take(&a, floor, floor + 4000);
        for (uint64_t o = floor; o < floor + 500; o++) {
            acked_done(&a, o);
        }
        drop_below(&a, floor + 500);
        assert_true(a.cap < 64);
    }
    acked_fini(&a);
}

/* Far ahead of everything, with nothing in between; below the floor nothing is kept. */
static void test_far(void **state)
{
    struct acked a = {0};

    (void)state;
    acked_reset(&a, 5000);
    acked_done(&a, 5000 + 10 * 1000 * 1000);
    assert_false(acked_is_taken(&a, 5000));
    assert_true(acked_is_done(&a, 10005000));
    assert_int_equal(acked_free_run(&a, 5000, 20000000), 10005000);
    assert_null(acked_chunk(&a, 1000, true));
    acked_reset(&a, 7);
    assert_false(acked_is_done(&a, 10005000));
    acked_fini(&a);
}

/* A row is written for a chunk only when it tells more than the floor does. */
static void test_has_done(void **state)
{
    struct acked a = {0};

    (void)state;
    acked_reset(&a, 0);
    acked_done(&a, 0);
    acked_done(&a, 70);
    struct chunk *c = acked_chunk(&a, 0, false);
    assert_true(c->dirty);
    assert_ptr_equal(TAILQ_FIRST(&a.dirty), c);
    acked_clean(&a, c);
    assert_true(TAILQ_EMPTY(&a.dirty));
    acked_done_run(&a, 1, 20);
    assert_true(c->dirty);
    assert_false(acked_is_done(&a, 21));
    assert_int_equal(acked_next_undone(&a, 0), 21);
    assert_true(acked_has_done(c, 0));
    assert_true(acked_has_done(c, 1));
    assert_true(acked_has_done(c, 70));
    assert_false(acked_has_done(c, 71));
    acked_done(&a, 127);
    assert_true(acked_has_done(c, 71));
    assert_true(acked_has_done(c, 127));
    assert_false(acked_has_done(c, 128));
    acked_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),   cmocka_unit_test(test_million),
        cmocka_unit_test(test_moving),   cmocka_unit_test(test_far),
        cmocka_unit_test(test_has_done),
    };

    return cmocka_run_group_tests_name("core_acked", tests, NULL, NULL);
}
