#include "broker/core/walltime.h"

static const int64_t JUMP_MS = 60000;
static const int64_t STABLE_NS = INT64_C(3600) * 1000000000;
static const int64_t NS_PER_MS = 1000000;

static bool near(int64_t a_ms, int64_t b_ms)
{
    return a_ms - b_ms <= JUMP_MS && b_ms - a_ms <= JUMP_MS;
}

void walltime_init(struct walltime *w, int64_t mono_ns, int64_t wall_ms)
{
    *w = (struct walltime){.offset_ms = wall_ms - mono_ns / NS_PER_MS};
}

enum walltime_event walltime_look(struct walltime *w, int64_t mono_ns, int64_t wall_ms)
{
    const int64_t claim_ms = wall_ms - mono_ns / NS_PER_MS;

    if (near(claim_ms, w->offset_ms)) {
        const bool was = w->frozen;
        w->offset_ms = claim_ms; /* slewing and small steps are followed */
        w->frozen = false;
        return was ? WALLTIME_BACK : WALLTIME_SAME;
    }
    if (!w->frozen || !near(claim_ms, w->other_ms)) {
        const bool was = w->frozen;
        w->frozen = true;
        w->other_ms = claim_ms;
        w->since_mono_ns = mono_ns;
        return was ? WALLTIME_SAME : WALLTIME_FROZEN;
    }
    w->other_ms = claim_ms;
    if (mono_ns - w->since_mono_ns < STABLE_NS) {
        return WALLTIME_SAME;
    }
    w->offset_ms = claim_ms;
    w->frozen = false;
    return WALLTIME_BELIEVED;
}

int64_t walltime_ms(const struct walltime *w, int64_t mono_ns)
{
    return mono_ns / NS_PER_MS + w->offset_ms;
}
