#include "tests/lib/test.h"

#include "client/cli/pending.h"

/* Many under way at a time keep apart; what is given back is used again. */
static void slots_are_reused(void **state)
{
    enum { N = 3000 };
    static struct pending *slots[N];
    struct pending_pool p = {0};
    int owner;
    (void)state;
    for (int64_t i = 0; i < N; i++) {
        slots[i] = pending_take(&p, &owner, i);
        assert_non_null(slots[i]);
    }
    for (int64_t i = 0; i < N; i++) {
        assert_int_equal(slots[i]->number, i);
        assert_ptr_equal(slots[i]->owner, &owner);
    }
    const struct pending_block *before = p.blocks;
    for (int64_t i = 0; i < N; i++) {
        pending_give(&p, slots[i]);
    }
    for (int64_t i = 0; i < N; i++) {
        assert_non_null(pending_take(&p, &owner, -i));
    }
    assert_ptr_equal(p.blocks, before);
    pending_fini(&p);
    pending_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(slots_are_reused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
