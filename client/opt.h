#ifndef WEIR_CLIENT_OPT_H
#define WEIR_CLIENT_OPT_H
/*
 * Options as "key=value key=value" text, read by tables. An unknown key is refused and the nearest
 * known one named; a value out of range names key, value and range.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/error.h"
#include "proto/limits.h"

/* Options of a handle. */
struct options {
    char client_id[65];
    char producer[LIMIT_NAME + 1]; /* "" = unnamed */
    uint32_t linger_ms;
    uint32_t batch_bytes, batch_records;
    uint32_t in_flight; /* batches per partition */
    bool compression;   /* zstd */
    uint64_t buffer_bytes;
    uint32_t send_timeout_ms, connect_timeout_ms, reconnect_min_ms, reconnect_max_ms;
};

enum start_kind { START_EARLIEST, START_LATEST, START_OFFSET, START_TIME };

/* Options of a subscription. */
struct sub_options {
    enum start_kind start;
    int64_t start_value; /* offset, or ms since 1970 */
    bool some;           /* only the partitions of the set */
    uint8_t set[LIMIT_PARTITIONS / 8];
    uint32_t window_bytes;
    bool stop_at_end;
    /* with a group */
    bool queue; /* else log */
    bool has_member;
    uint8_t member[16];
    bool manual; /* commit */
    uint32_t commit_ms;
    bool by_key;       /* order */
    uint32_t prefetch; /* 0 = as the work demands */
    uint32_t lease_ms, settle_ms;
};

void options_defaults(struct options *o);
/* `text` NULL = nothing. Pairs are separated by spaces and by `separator`. WERR_INVALID_CONFIG. */
enum werr options_parse(struct options *o, const char *text, char separator,
                        struct werror *e) WEIR_NODISCARD;
void sub_options_defaults(struct sub_options *o);
/* `group`: whether the subscription has one; options that do not fit are refused. */
enum werr sub_options_parse(struct sub_options *o, const char *text, bool group,
                            struct werror *e) WEIR_NODISCARD;

/*
 * Takes the next "key=value" off *text (kept by the caller) into key and value, both cut at their
 * sizes with an error. 1 = got one, 0 = end, -1 = *e tells.
 */
int option_next(const char **text, char separator, char *key, size_t key_size, char *value,
                size_t value_size, struct werror *e);

/* The nearest of n names to `key`, by edit distance. Never NULL when n > 0. */
const char *option_nearest(const char *key, const char *const *names, size_t n);

#endif
