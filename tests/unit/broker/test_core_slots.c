#include "broker/core/slots.h"

#include "tests/lib/test.h"

static void count(const uint16_t *table, uint32_t n, uint32_t *out)
{
    for (uint32_t p = 0; p < n; p++) {
        out[p] = 0;
    }
    for (uint32_t s = 0; s < LIMIT_SLOTS; s++) {
        assert_true(table[s] < n);
        out[table[s]]++;
    }
}

static void test_contiguous(void **state)
{
    uint16_t table[LIMIT_SLOTS];
    struct msg_slot_run runs[LIMIT_SLOTS];
    uint32_t per[LIMIT_PARTITIONS];
    (void)state;

    for (uint32_t n = 1; n <= LIMIT_PARTITIONS; n++) {
        slots_contiguous(table, n);
        count(table, n, per);
        for (uint32_t p = 0; p < n; p++) {
            assert_int_equal(per[p], slots_share(n, p));
        }
        assert_int_equal(slots_runs(table, n, runs), n);
        assert_int_equal(slots_runs(NULL, n, runs), n);
        for (uint32_t p = 0; p < n; p++) {
            assert_int_equal(runs[p].p, p);
            assert_int_equal(runs[p].count, per[p]);
        }
    }
}

/* Everybody has a fair share, and only what the new partitions need has moved, and to them. */
static void check_grow(uint16_t *table, uint32_t from, uint32_t to)
{
    uint16_t before[LIMIT_SLOTS];
    uint32_t per[LIMIT_PARTITIONS], moved = 0, wanted = 0;

    memcpy(before, table, sizeof before);
    slots_grow(table, from, to);
    count(table, to, per);
    for (uint32_t p = 0; p < to; p++) {
        assert_int_equal(per[p], slots_share(to, p));
        wanted += p >= from ? per[p] : 0;
    }
    for (uint32_t s = 0; s < LIMIT_SLOTS; s++) {
        if (table[s] != before[s]) {
            assert_true(table[s] >= from);
            moved++;
        }
    }
    assert_int_equal(moved, wanted);
}

static void test_growing_moves_the_least(void **state)
{
    uint16_t table[LIMIT_SLOTS];
    (void)state;

    for (uint32_t from = 1; from <= 1024; from = from * 3 / 2 + 1) {
        for (uint32_t to = from; to <= 1024; to = to * 5 / 4 + 1) {
            slots_contiguous(table, from);
            check_grow(table, from, to);
        }
    }
    slots_contiguous(table, 1); /* again and again */
    for (uint32_t n = 1; n < 1024; n++) {
        check_grow(table, n, n + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contiguous),
        cmocka_unit_test(test_growing_moves_the_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
