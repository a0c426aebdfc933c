#ifndef WEIR_BROKER_CORE_ASSIGN_H
#define WEIR_BROKER_CORE_ASSIGN_H
/*
 * Who shall have which partition. Pure: same input, same answer.
 *
 * Every partition whose topic some member wants gets one of those members. The loads are as even as
 * the wishes allow (no partition can move, not even through others, to a member that would then
 * still have fewer than the giver had before less one). What need not move stays.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct assign_member {
    const uint32_t *topics; /* borrowed: numbers of the topics it wants, each once */
    uint32_t n_topics;
    bool frozen; /* away: keeps what it has, gets nothing, counts for nobody */
};
struct assign_part {
    uint32_t topic;
    int32_t owner;  /* index of the member that has it or will have it; -1 = nobody */
    int32_t target; /* out; -1 = nobody wants it */
};
/* n_topics: more than any number of a topic. Aborts when out of memory. */
void assign_plan(const struct assign_member *members, uint32_t n_members, struct assign_part *parts,
                 uint32_t n_parts, uint32_t n_topics);

#endif
