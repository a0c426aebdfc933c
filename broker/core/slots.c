#include "broker/core/slots.h"

uint32_t slots_share(uint32_t n, uint32_t p)
{
    return LIMIT_SLOTS / n + (p < LIMIT_SLOTS % n ? 1 : 0);
}

void slots_contiguous(uint16_t table[LIMIT_SLOTS], uint32_t n)
{
    uint32_t s = 0;

    for (uint32_t p = 0; p < n; p++) {
        for (uint32_t k = slots_share(n, p); k > 0; k--) {
            table[s++] = (uint16_t)p;
        }
    }
}

void slots_grow(uint16_t table[LIMIT_SLOTS], uint32_t from, uint32_t to)
{
    uint32_t spare[LIMIT_PARTITIONS]; /* slots that an old partition has to give away */
    bool given[LIMIT_SLOTS] = {false};

    for (uint32_t p = 0; p < from; p++) {
        spare[p] = slots_share(from, p) - slots_share(to, p);
    }
    for (uint32_t s = LIMIT_SLOTS; s > 0; s--) {
        if (spare[table[s - 1]] > 0) {
            spare[table[s - 1]]--;
            given[s - 1] = true;
        }
    }
    uint32_t p = from;
    uint32_t left = from < to ? slots_share(to, p) : 0;
    for (uint32_t s = 0; s < LIMIT_SLOTS && p < to; s++) {
        if (!given[s]) {
            continue;
        }
        table[s] = (uint16_t)p;
        if (--left == 0) {
            p++;
            left = p < to ? slots_share(to, p) : 0;
        }
    }
}

size_t slots_runs(const uint16_t *table, uint32_t n, struct msg_slot_run runs[LIMIT_SLOTS])
{
    size_t n_runs = 0;

    if (table == NULL) {
        for (uint32_t p = 0; p < n; p++) {
            runs[p] = (struct msg_slot_run){.count = slots_share(n, p), .p = p};
        }
        return n;
    }
    for (uint32_t s = 0; s < LIMIT_SLOTS; s++) {
        if (n_runs > 0 && runs[n_runs - 1].p == table[s]) {
            runs[n_runs - 1].count++;
        } else {
            runs[n_runs++] = (struct msg_slot_run){.count = 1, .p = table[s]};
        }
    }
    return n_runs;
}
