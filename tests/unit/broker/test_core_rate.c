/* max_rate is exact, whenever ticks come. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/core/rate.h"
#include "tests/lib/test.h"

static const int64_t S_NS = 1000000000;
static const int64_t MS_NS = 1000000;

struct sim {
    struct rate r;
    int64_t now_ns;
    int64_t late_ns, step_ns; /* ticks come up to so late, and on a multiple of step_ns */
    uint64_t seed;
    int64_t *at; /* of each message */
    size_t n, cap;
    uint64_t granted; /* of answers that wait for their time: one here */
};

static void sim_init(struct sim *s, uint64_t per_s, unsigned seconds)
{
    *s = (struct sim){.seed = per_s + 1, .step_ns = 1};
    s->cap = (size_t)per_s * seconds * 2 + 1000;
    s->at = calloc(s->cap, sizeof *s->at);
    rate_set(&s->r, per_s, 0);
}

static uint64_t sim_random(struct sim *s)
{
    s->seed ^= s->seed << 13;
    s->seed ^= s->seed >> 7;
    s->seed ^= s->seed << 17;
    return s->seed;
}

/* Members take what they get, as many answers as there may be, until end_ns. */
static void sim_run(struct sim *s, int64_t end_ns)
{
    while (s->now_ns < end_ns) {
        for (;;) {
            if (s->granted == 0) {
                s->granted = rate_quantum(&s->r, 0, s->now_ns);
                assert_true(s->granted > 0);
            }
            if (!rate_take(&s->r, s->granted, s->now_ns)) {
                break;
            }
            for (; s->granted > 0; s->granted--) {
                assert_true(s->n < s->cap);
                s->at[s->n++] = s->now_ns;
            }
        }
        int64_t next_ns = rate_when(&s->r, s->granted, s->now_ns);
        assert_true(next_ns > s->now_ns); /* or the loop would spin */
        next_ns = (next_ns + s->step_ns - 1) / s->step_ns * s->step_ns;
        if (s->late_ns > 0) {
            next_ns += (int64_t)(sim_random(s) % (uint64_t)s->late_ns);
        }
        s->now_ns = next_ns;
    }
}

static size_t count(const struct sim *s, int64_t from_ns, int64_t to_ns)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++) {
        n += s->at[i] >= from_ns && s->at[i] < to_ns;
    }
    return n;
}

static size_t fullest(const struct sim *s)
{
    size_t most = 0;

    for (size_t i = 0, first = 0; i < s->n; i++) {
        while (s->at[i] - s->at[first] >= 100 * MS_NS) {
            first++;
        }
        most = i - first + 1 > most ? i - first + 1 : most;
    }
    return most;
}

static void check_window(const struct sim *s, uint64_t per_s)
{
    const uint64_t allowed = (per_s * 102 + 1000) / 1000; /* rate * 0.1 * 1.02 + 1 */

    if (fullest(s) > allowed) {
        fail_msg("%llu/s: %zu in 100 ms, allowed %llu", (unsigned long long)per_s, fullest(s),
                 (unsigned long long)allowed);
    }
}

static void check_mean(const struct sim *s, uint64_t per_s, int64_t from_ns)
{
    const double n = (double)count(s, from_ns, from_ns + 10 * S_NS), want = (double)per_s * 10;

    if (n < want * 0.98 - 1 || n > want * 1.02 + 1) {
        fail_msg("%llu/s: %.0f in 10 s, %.2f %%", (unsigned long long)per_s, n, 100 * n / want);
    }
}

static const uint64_t RATES[] = {1, 7, 100, 1000, 20000, 100000};
enum { N_RATES = sizeof RATES / sizeof RATES[0] };

/* Punctual, late by up to 0.2 to 4 ms, and with the millisecond grain of epoll. */
static void test_exact(void **state)
{
    static const int64_t late_us[] = {0, 200, 1000, 2000, 4000, 200};
    static const int64_t step_us[] = {0, 0, 0, 0, 0, 1000};

    (void)state;
    for (size_t k = 0; k < sizeof late_us / sizeof late_us[0]; k++) {
        for (size_t i = 0; i < N_RATES; i++) {
            struct sim s;
            sim_init(&s, RATES[i], 13);
            s.late_ns = late_us[k] * 1000;
            s.step_ns = step_us[k] > 0 ? step_us[k] * 1000 : 1;
            sim_run(&s, 13 * S_NS);
            check_window(&s, RATES[i]);
            check_mean(&s, RATES[i], 2 * S_NS);
            check_mean(&s, RATES[i], 0);
            free(s.at);
        }
    }
}

/* A loop that was away for half a second, again and again, never makes a burst of it. */
static void test_long_stalls(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_RATES; i++) {
        struct sim s;
        sim_init(&s, RATES[i], 12);
        for (int64_t t = S_NS; t <= 10 * S_NS; t += S_NS) {
            sim_run(&s, t);
            s.now_ns += 500 * MS_NS;
        }
        check_window(&s, RATES[i]);
        free(s.at);
    }
}

/* Nobody asked for a while: what comes then is no flood. */
static void test_idle_saves_little(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_RATES; i++) {
        struct sim s;
        sim_init(&s, RATES[i], 20);
        sim_run(&s, S_NS);
        s.now_ns = 8 * S_NS;
        s.granted = 0;
        sim_run(&s, 18 * S_NS);
        check_window(&s, RATES[i]);
        check_mean(&s, RATES[i], 8 * S_NS);
        assert_true((double)count(&s, 8 * S_NS, 8 * S_NS + MS_NS) <= 1 + 0.008 * (double)RATES[i]);
        free(s.at);
    }
}

/* After a pause: a tenth at first, half way 55 %, then the whole. */
static void test_ramp(void **state)
{
    struct sim s;

    (void)state;
    sim_init(&s, 1000, 30);
    s.late_ns = MS_NS;
    rate_ramp(&s.r, 10 * S_NS, 0);
    sim_run(&s, 22 * S_NS);
    check_window(&s, 1000);
    assert_in_range(count(&s, 0, 500 * MS_NS), 50, 75);
    assert_in_range(count(&s, 4500 * MS_NS, 5500 * MS_NS), 530, 570);
    assert_in_range(count(&s, 9000 * MS_NS, S_NS * 10), 920, 990);
    check_mean(&s, 1000, 11 * S_NS);
    free(s.at);
}

/* At one message a second, too, it rises: the wait is looked at again meanwhile. */
static void test_slow_ramp(void **state)
{
    struct sim s;

    (void)state;
    sim_init(&s, 1, 30);
    rate_ramp(&s.r, 4 * S_NS, 0);
    sim_run(&s, 20 * S_NS);
    assert_in_range(count(&s, 0, 4 * S_NS), 2, 4);
    assert_in_range(count(&s, 5 * S_NS, 15 * S_NS), 9, 11);
    free(s.at);
}

/* An answer that was granted at a high rate is not stuck for ever when the rate is lowered. */
static void test_lowered(void **state)
{
    struct rate r = {0};
    int64_t now_ns = 0;
    unsigned looks = 0;

    (void)state;
    rate_set(&r, 100000, now_ns);
    now_ns += S_NS;
    const uint32_t n = rate_quantum(&r, 0, now_ns);
    assert_true(n >= 200);
    assert_true(rate_take(&r, n, now_ns));
    rate_set(&r, 1, now_ns);
    while (!rate_take(&r, n, now_ns)) {
        now_ns = rate_when(&r, n, now_ns);
        assert_true(++looks < 10);
        assert_true(now_ns < 3 * S_NS);
    }
    /* It is paid for: so long nothing goes. */
    const int64_t next_ns = rate_when(&r, 1, now_ns);
    assert_in_range(next_ns - now_ns, (n - 2) * S_NS, (int64_t)(n + 1) * S_NS);
    assert_false(rate_take(&r, 1, next_ns - 10 * MS_NS));
    assert_true(rate_take(&r, 1, next_ns));
}

static void test_quantum(void **state)
{
    struct rate r = {0};

    (void)state;
    assert_int_equal(rate_quantum(&r, 1000000, 0), UINT32_MAX);
    assert_true(rate_take(&r, 1000000, 0));
    assert_int_equal(rate_when(&r, 1000000, 5), 5);
    /* One a second: one at a time, and only one ahead. */
    rate_set(&r, 1, 0);
    assert_int_equal(rate_quantum(&r, 0, 0), 1);
    assert_int_equal(rate_quantum(&r, 1, 0), 0);
    /* Others wait: 2 ms of the rate each, until 50 ms are ahead. */
    r = (struct rate){0};
    rate_set(&r, 10000, 0);
    assert_int_equal(rate_quantum(&r, 100, 0), 20);
    assert_int_equal(rate_quantum(&r, 490, 0), 10);
    assert_int_equal(rate_quantum(&r, 500, 0), 0);
    /* Nobody did for 5 ms: that may go at once. */
    assert_in_range(rate_quantum(&r, 0, 5 * MS_NS), 50, 53);
    assert_in_range(rate_quantum(&r, 0, 9 * MS_NS), 60, 61); /* and not much more */
    /* No limit any more. */
    rate_set(&r, 0, S_NS);
    assert_true(rate_take(&r, 1000000, S_NS));
}

/* A single member whose next request comes after its disk and its way reaches the rate, too. */
static void test_one_slow_member(void **state)
{
    (void)state;
    for (size_t i = 2; i < N_RATES; i++) {
        struct sim s;
        sim_init(&s, RATES[i], 13);
        while (s.now_ns < 12 * S_NS) {
            const uint32_t n = rate_quantum(&s.r, 0, s.now_ns);
            while (!rate_take(&s.r, n, s.now_ns)) {
                s.now_ns = rate_when(&s.r, n, s.now_ns);
            }
            for (uint32_t k = 0; k < n; k++) {
                s.at[s.n++] = s.now_ns;
            }
            s.now_ns += 8 * MS_NS;
        }
        check_window(&s, RATES[i]);
        check_mean(&s, RATES[i], S_NS);
        free(s.at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_long_stalls),
        cmocka_unit_test(test_idle_saves_little),
        cmocka_unit_test(test_ramp),
        cmocka_unit_test(test_slow_ramp),
        cmocka_unit_test(test_lowered),
        cmocka_unit_test(test_quantum),
        cmocka_unit_test(test_one_slow_member),
    };

    return cmocka_run_group_tests_name("core_rate", tests, NULL, NULL);
}
