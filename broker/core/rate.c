/*
 * Pacing. The small bucket holds 6 ms of the rate: so much is made good at once when ticks come
 * late or nobody asked for a moment. It refills 1 % faster than the rate. The large one holds 50 ms
 * and refills at the rate: what the small one lost comes back, over seconds. When the large one
 * runs over, members ask too slowly for 6 ms at a time: the small one grows, up to 20 ms, and
 * shrinks again when they do not. Nothing of that bounds what 100 ms can see, so that is counted:
 * see fits().
 *
 * An answer that is larger than a bucket (the rate was lowered after it was granted) goes when the
 * bucket is full, and leaves it in debt.
 */
#include "broker/core/rate.h"

#define FASTER 1.01
#define SMALL_MIN_S 0.006
#define SMALL_MAX_S 0.02
#define SHRINK_S 0.003 /* a second */
#define IDLE_S 0.05    /* nobody asked at all for so long */
#define LARGE_S 0.05
#define ANSWER_S 0.002 /* of one answer while others wait */
#define AHEAD_S 0.05   /* granted and not yet gone */
enum { ANSWER_MAX = 4096 };

static const int64_t WINDOW_NS = 100000000;
static const int64_t ENTRY_NS = 400000; /* at most 251 of them in a window */
static const int64_t LOOK_NS = 20000000;

static double speed(const struct rate *r, int64_t now_ns)
{
    const int64_t since = now_ns - r->ramp_from_ns;

    if (r->ramp_ns == 0 || since >= r->ramp_ns) {
        return (double)r->per_s;
    }
    return (double)r->per_s * (0.1 + 0.9 * (double)since / (double)r->ramp_ns);
}

static double least(double a, double b)
{
    return a < b ? a : b;
}

static double most(double a, double b)
{
    return a > b ? a : b;
}

static double small_max(const struct rate *r, double per_s)
{
    return 1 + per_s * r->small_s;
}

static double large_max(double per_s)
{
    return 1 + per_s * LARGE_S;
}

static void refill(struct rate *r, int64_t now_ns)
{
    const double s = (double)(now_ns - r->at_ns) / 1e9, per_s = speed(r, now_ns);

    r->at_ns = now_ns;
    r->large += s * per_s;
    const double lost = most(0, r->large - large_max(per_s));
    r->large -= lost;
    r->small_s += (s < IDLE_S ? lost / per_s : 0) - s * SHRINK_S;
    r->small_s = most(SMALL_MIN_S, least(r->small_s, SMALL_MAX_S));
    r->small = least(r->small + s * per_s * FASTER, small_max(r, per_s));
    while (r->n_gone > 0 && now_ns - r->gone[r->head].at_ns >= WINDOW_NS) {
        r->sum -= r->gone[r->head].n;
        r->head = (r->head + 1) % RATE_LEDGER;
        r->n_gone--;
    }
}

/* Most that any 100 ms may see. */
static uint64_t window_max(const struct rate *r)
{
    return (r->per_s * 102 + 1000) / 1000;
}

/* An entry counts until its last message is 100 ms old, so a window never sees more. */
static void note(struct rate *r, uint64_t n, int64_t now_ns)
{
    struct rate_entry *e = &r->gone[(r->head + r->n_gone + RATE_LEDGER - 1) % RATE_LEDGER];

    r->sum += n;
    if (r->n_gone > 0 && (now_ns - r->newest_from_ns < ENTRY_NS || r->n_gone == RATE_LEDGER)) {
        e->at_ns = now_ns;
        e->n += n;
        return;
    }
    r->gone[(r->head + r->n_gone) % RATE_LEDGER] = (struct rate_entry){now_ns, n};
    r->n_gone++;
    r->newest_from_ns = now_ns;
}

void rate_set(struct rate *r, uint64_t per_s, int64_t now_ns)
{
    if (r->per_s == 0) {
        r->at_ns = now_ns;
        r->small = r->large = 1;
        r->small_s = SMALL_MIN_S;
    } else {
        refill(r, now_ns);
    }
    r->per_s = per_s;
}

void rate_ramp(struct rate *r, int64_t ramp_ns, int64_t now_ns)
{
    r->ramp_ns = ramp_ns;
    r->ramp_from_ns = r->at_ns = now_ns;
    r->small = r->large = 1;
}

uint32_t rate_quantum(struct rate *r, uint64_t ahead, int64_t now_ns)
{
    if (r->per_s == 0) {
        return UINT32_MAX;
    }
    refill(r, now_ns);
    const double per_s = speed(r, now_ns), before = (double)ahead;
    const double usual = most(1, per_s * ANSWER_S);
    const double room = most(usual, per_s * AHEAD_S) - before;
    const double window = (double)(window_max(r) > r->sum ? window_max(r) - r->sum : 0);
    const double now = least(window, least(r->small, r->large));
    const double n = least(most(usual, now - before), room);

    return n < 1 ? 0 : n > ANSWER_MAX ? ANSWER_MAX : (uint32_t)n;
}

/* More than a full bucket, or a window, is not waited for. */
static bool fits(const struct rate *r, double per_s, uint64_t n)
{
    const double want = (double)n;

    return r->small >= least(want, small_max(r, per_s)) &&
           r->large >= least(want, large_max(per_s)) &&
           (r->sum == 0 || r->sum + n <= window_max(r));
}

bool rate_take(struct rate *r, uint64_t n, int64_t now_ns)
{
    if (r->per_s == 0) {
        return true;
    }
    refill(r, now_ns);
    if (!fits(r, speed(r, now_ns), n)) {
        return false;
    }
    r->small -= (double)n;
    r->large -= (double)n;
    note(r, n, now_ns);
    return true;
}

/* When so much has left the window that n more fit. */
static int64_t window_when(const struct rate *r, uint64_t n, int64_t now_ns)
{
    const uint64_t max = window_max(r);
    uint64_t sum = r->sum;
    int64_t when_ns = now_ns;

    for (uint32_t i = 0; i < r->n_gone && sum > 0 && sum + n > max; i++) {
        const struct rate_entry *e = &r->gone[(r->head + i) % RATE_LEDGER];
        sum -= e->n;
        when_ns = e->at_ns + WINDOW_NS;
    }
    return when_ns;
}

int64_t rate_when(struct rate *r, uint64_t n, int64_t now_ns)
{
    if (r->per_s == 0) {
        return now_ns;
    }
    refill(r, now_ns);
    const double per_s = speed(r, now_ns), want = (double)n;
    const double small_s = (least(want, small_max(r, per_s)) - r->small) / (per_s * FASTER);
    const double large_s = (least(want, large_max(per_s)) - r->large) / per_s;
    const double s = most(small_s, large_s);
    int64_t when_ns = s <= 0 ? now_ns : now_ns + (int64_t)(s * 1e9) + 1;

    if (r->ramp_ns > 0 && now_ns - r->ramp_from_ns < r->ramp_ns && when_ns > now_ns + LOOK_NS) {
        when_ns = now_ns + LOOK_NS; /* it is faster then */
    }
    const int64_t window_ns = window_when(r, n, now_ns);
    return when_ns > window_ns ? when_ns : window_ns;
}
