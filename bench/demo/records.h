#ifndef WEIR_BENCH_DEMO_RECORDS_H
#define WEIR_BENCH_DEMO_RECORDS_H
/* The real input: JSON lines from a .zst file, each with the value of its "origin" as key. */
#include <stddef.h>
#include <stdint.h>

struct record {
    const char *value; /* the line without its end, borrowed from the set */
    const char *key;   /* inside value */
    uint32_t value_bytes, key_bytes;
};

struct records {
    char *text;
    struct record *items;
    size_t n;
};

/** Loads all. @return 0, or -1 with a sentence in err. Free with records_free either way. */
int records_load(struct records *r, const char *path, char *err, size_t err_size);
/** Safe on a zeroed struct. */
void records_free(struct records *r);

#endif
