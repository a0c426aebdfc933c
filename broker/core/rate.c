/* The small bucket: 1 + 1.3 ms of messages, refilled at 1.005 of the rate; the large one: 1 + 100
 * ms.
 */
#include "broker/core/rate.h"

#define FASTER 1.005
#define SMALL_S 0.0013
#define LARGE_S 0.1

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

static void refill(struct rate *r, int64_t now_ns)
{
    const double s = (double)(now_ns - r->at_ns) / 1e9, per_s = speed(r, now_ns);

    r->at_ns = now_ns;
    r->small = least(r->small + s * per_s * FASTER, 1 + per_s * SMALL_S);
    r->large = least(r->large + s * per_s, 1 + per_s * LARGE_S);
}

void rate_set(struct rate *r, uint64_t per_s, int64_t now_ns)
{
    if (r->per_s == 0) {
        r->at_ns = now_ns;
        r->small = r->large = 1;
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

uint32_t rate_quantum(const struct rate *r)
{
    const double n = (double)r->per_s * SMALL_S;

    return r->per_s == 0 ? UINT32_MAX : n < 1 ? 1 : n > 4096 ? 4096 : (uint32_t)n;
}

bool rate_take(struct rate *r, uint32_t n, int64_t now_ns)
{
    if (r->per_s == 0) {
        return true;
    }
    refill(r, now_ns);
    if (r->small < n || r->large < n) {
        return false;
    }
    r->small -= n;
    r->large -= n;
    return true;
}

int64_t rate_when(const struct rate *r, uint32_t n, int64_t now_ns)
{
    const double per_s = speed(r, now_ns);
    const double small_s = (n - r->small) / (per_s * FASTER), large_s = (n - r->large) / per_s;
    const double s = small_s > large_s ? small_s : large_s;

    return r->per_s == 0 || s <= 0 ? now_ns : r->at_ns + (int64_t)(s * 1e9) + 1;
}
