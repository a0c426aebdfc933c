/* Assignment against a model: owned once, by who wants it, as even as it can be, little moved. */
#include <stdlib.h>

#include "broker/core/assign.h"
#include "tests/lib/test.h"

enum { MAX_M = 12, MAX_T = 5, MAX_P = 60 };

static uint64_t next_random(uint64_t *s)
{
    *s = *s * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *s >> 33;
}

struct setup {
    struct assign_member members[MAX_M];
    uint32_t topics[MAX_M][MAX_T];
    struct assign_part parts[MAX_P];
    uint32_t n_members, n_topics, n_parts;
};

static bool wants(const struct setup *s, uint32_t m, uint32_t topic)
{
    for (uint32_t i = 0; i < s->members[m].n_topics; i++) {
        if (s->members[m].topics[i] == topic) {
            return !s->members[m].frozen;
        }
    }
    return false;
}

static bool wanted(const struct setup *s, uint32_t topic)
{
    for (uint32_t m = 0; m < s->n_members; m++) {
        if (wants(s, m, topic)) {
            return true;
        }
    }
    return false;
}

static void make(struct setup *s, uint64_t *seed, bool same_wishes)
{
    s->n_members = 1 + (uint32_t)(next_random(seed) % MAX_M);
    s->n_topics = 1 + (uint32_t)(next_random(seed) % MAX_T);
    s->n_parts = (uint32_t)(next_random(seed) % (MAX_P + 1));
    for (uint32_t m = 0; m < s->n_members; m++) {
        struct assign_member *am = &s->members[m];
        *am = (struct assign_member){.topics = s->topics[m]};
        am->frozen = !same_wishes && next_random(seed) % 8 == 0;
        for (uint32_t t = 0; t < s->n_topics; t++) {
            if (same_wishes || next_random(seed) % 3 != 0) {
                s->topics[m][am->n_topics++] = t;
            }
        }
    }
    for (uint32_t i = 0; i < s->n_parts; i++) {
        s->parts[i].topic = (uint32_t)(next_random(seed) % s->n_topics);
        s->parts[i].owner = (int32_t)(next_random(seed) % (s->n_members + 1)) - 1;
        if (next_random(seed) % 3 == 0) { /* uneven */
            s->parts[i].owner = 0;
        }
    }
}

static void plan(struct setup *s)
{
    assign_plan(s->members, s->n_members, s->parts, s->n_parts, s->n_topics);
}

static void check_owners(const struct setup *s)
{
    for (uint32_t i = 0; i < s->n_parts; i++) {
        const struct assign_part *p = &s->parts[i];
        if (p->owner >= 0 && s->members[p->owner].frozen) {
            assert_int_equal(p->target, p->owner);
        } else if (wanted(s, p->topic)) {
            assert_true(p->target >= 0);
            assert_true(wants(s, (uint32_t)p->target, p->topic));
        } else {
            assert_int_equal(p->target, -1);
        }
    }
}

/* No member can get rid of one, over any chain, to one that would be better off by two. */
static void check_even(const struct setup *s)
{
    bool reach[MAX_M][MAX_M] = {{false}};
    uint32_t load[MAX_M] = {0};

    for (uint32_t i = 0; i < s->n_parts; i++) {
        const int32_t x = s->parts[i].target;
        if (x < 0 || s->members[x].frozen) {
            continue;
        }
        load[x]++;
        for (uint32_t y = 0; y < s->n_members; y++) {
            reach[x][y] = reach[x][y] || wants(s, y, s->parts[i].topic);
        }
    }
    for (uint32_t k = 0; k < s->n_members; k++) {
        for (uint32_t x = 0; x < s->n_members; x++) {
            for (uint32_t y = 0; y < s->n_members; y++) {
                reach[x][y] = reach[x][y] || (reach[x][k] && reach[k][y]);
            }
        }
    }
    for (uint32_t x = 0; x < s->n_members; x++) {
        for (uint32_t y = 0; y < s->n_members; y++) {
            assert_true(!reach[x][y] || load[x] < load[y] + 2);
        }
    }
}

static uint32_t moved(const struct setup *s)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->n_parts; i++) {
        n += s->parts[i].owner >= 0 && s->parts[i].target != s->parts[i].owner;
    }
    return n;
}

static int down(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x < y) - (x > y);
}

/* With equal wishes: who has most may keep one more; what is above that has to move. */
static uint32_t least_moves(const struct setup *s)
{
    uint32_t had[MAX_M] = {0}, n = 0;
    const uint32_t low = s->n_parts / s->n_members, more = s->n_parts % s->n_members;

    for (uint32_t i = 0; i < s->n_parts; i++) {
        if (s->parts[i].owner >= 0) {
            had[s->parts[i].owner]++;
        }
    }
    qsort(had, s->n_members, sizeof had[0], down);
    for (uint32_t m = 0; m < s->n_members; m++) {
        const uint32_t quota = low + (m < more);
        n += had[m] > quota ? had[m] - quota : 0;
    }
    return n;
}

static void check_again(struct setup *s)
{
    struct setup twice = *s;

    for (uint32_t m = 0; m < s->n_members; m++) {
        twice.members[m].topics = twice.topics[m];
    }
    plan(&twice); /* the same again */
    for (uint32_t i = 0; i < s->n_parts; i++) {
        assert_int_equal(twice.parts[i].target, s->parts[i].target);
        s->parts[i].owner = s->parts[i].target;
    }
    plan(s); /* nothing more to do */
    assert_int_equal(moved(s), 0);
}

static void test_same_wishes(void **state)
{
    struct setup s;
    uint64_t seed = 1;
    (void)state;

    for (int i = 0; i < 4000; i++) {
        make(&s, &seed, true);
        plan(&s);
        check_owners(&s);
        check_even(&s);
        assert_int_equal(moved(&s), least_moves(&s));
        check_again(&s);
    }
}

static void test_different_wishes(void **state)
{
    struct setup s;
    uint64_t seed = 2;
    (void)state;

    for (int i = 0; i < 4000; i++) {
        make(&s, &seed, false);
        plan(&s);
        check_owners(&s);
        check_even(&s);
        check_again(&s);
    }
}

/* a wants x and y, b only y; all of y is b's and all of x is a's: a chain is no help, a move is. */
static void test_over_a_chain(void **state)
{
    const uint32_t ab[] = {0, 1}, bc[] = {1, 2}, a_only[] = {0};
    const struct assign_member members[] = {{a_only, 1, false}, {ab, 2, false}, {bc, 2, false}};
    struct assign_part parts[6] = {{0, 0, 0}, {0, 0, 0}, {0, 0, 0},
                                   {0, 0, 0}, {1, 1, 0}, {1, 1, 0}};
    (void)state;

    assign_plan(members, 3, parts, 6, 3);
    uint32_t load[3] = {0};
    for (int i = 0; i < 6; i++) {
        load[parts[i].target]++;
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(load[i], 2);
    }
}

static void test_large(void **state)
{
    enum { M = 200, P = 1024 };
    static const uint32_t topic[] = {0};
    static struct assign_member members[M];
    static struct assign_part parts[P];
    uint32_t load[M] = {0};
    (void)state;

    for (uint32_t m = 0; m < M; m++) {
        members[m] = (struct assign_member){.topics = topic, .n_topics = 1};
    }
    for (uint32_t p = 0; p < P; p++) {
        parts[p].owner = 0;
    }
    for (int round = 0; round < 20; round++) {
        assign_plan(members, M, parts, P, 1);
    }
    for (uint32_t p = 0; p < P; p++) {
        load[parts[p].target]++;
    }
    for (uint32_t m = 0; m < M; m++) {
        assert_true(load[m] == 5 || load[m] == 6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_wishes),
        cmocka_unit_test(test_different_wishes),
        cmocka_unit_test(test_over_a_chain),
        cmocka_unit_test(test_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
