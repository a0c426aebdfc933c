#ifndef WEIR_CLI_SPANS_H
#define WEIR_CLI_SPANS_H
/* Sets of messages: lists of (partition, first, last), grown one message at a time. */
#include <stdbool.h>

#include <weir/weir.h>

struct span_list {
    weir_span *v;
    size_t n, cap;
};

/** Reads "PARTITION:OFFSET" or "PARTITION:FIRST-LAST". @return false: neither; *out untouched. */
bool span_parse(const char *s, weir_span *out);
/** Adds messages; those that follow the last ones added extend that entry. @return false: out of
 * memory */
bool spans_add(struct span_list *l, int32_t partition, int64_t first, int64_t last);
/** True when some entry holds the message. */
bool spans_have(const struct span_list *l, int32_t partition, int64_t offset);
/** Number of messages; those in two entries count twice. */
int64_t spans_messages(const struct span_list *l);
/** Frees. Safe on zeroed memory and twice. */
void spans_fini(struct span_list *l);

#endif
