#ifndef WEIR_BENCH_PEERS_PAYLOAD_H
#define WEIR_BENCH_PEERS_PAYLOAD_H
/* Values to send: pieces of a random block, or the lines of a .zst file in turn. */
#include <stddef.h>
#include <stdint.h>

struct payload {
    char *block;
    size_t n_block;
    size_t size; /* of each random value */
    struct piece {
        size_t at, size;
    } * lines; /* NULL for random bytes */
    size_t n_lines;
};

/** @param path a .zst file of lines, NULL = random. @return 0, or -1 with a sentence in err */
int payload_init(struct payload *p, const char *path, size_t size, char *err, size_t err_size);
/** The i-th value, a view. @param n[out] its size */
const void *payload_value(const struct payload *p, uint64_t i, size_t *n);
/** Safe on a zeroed struct. */
void payload_fini(struct payload *p);

#endif
