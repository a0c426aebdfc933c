#ifndef WEIR_CLI_RECORD_H
#define WEIR_CLI_RECORD_H
/* Turns a line into a message: key and value, and the headers that all messages share. */
#include <stdbool.h>

#include <weir/weir.h>

#include "client/cli/args.h"
#include "client/cli/keyscan.h"

enum { RECORD_HEADERS_MAX = 64 };

struct record_maker {
    const char *key_sep; /**< NULL = not asked for */
    struct keyscan keyscan;
    bool key_json;
    weir_header headers[RECORD_HEADERS_MAX]; /**< views into argv */
    weir_send_options send;
};

/** Reads --key-sep, --key-json, --header, --partition, --delay, --at. Prints what is wrong.
 * @return an exit code */
int record_maker_init(struct record_maker *r, const struct args *a);
/**
 * @param key[out],value[out] views into the line or into r, valid until the next call
 * @return NULL, or what is wrong with the line
 */
const char *record_make(struct record_maker *r, const char *line, size_t n, weir_bytes *key,
                        weir_bytes *value);
/** Frees. Safe on zeroed memory and twice. */
void record_maker_fini(struct record_maker *r);

#endif
