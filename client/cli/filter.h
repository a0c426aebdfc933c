#ifndef WEIR_CLI_FILTER_H
#define WEIR_CLI_FILTER_H
/* --filter: which dead letters are meant. Pure but for weir_message_header. */
#include <stdbool.h>

#include <weir/weir.h>

#define HEADER_REASON "weir-reason"

enum filter_kind { FILTER_REASON, FILTER_KEY, FILTER_HEADER };
struct filter {
    enum filter_kind kind;
    char name[256];   /**< of the header, NUL-terminated */
    const char *text; /**< borrowed */
};

/** Reads "reason=TEXT", "key=TEXT" or "header:NAME=TEXT". Keeps a pointer into pair.
 * @return NULL, or what is wrong */
const char *filter_parse(const char *pair, struct filter *out);
/**
 * Does a message fit? reason: the header weir-reason contains the text. key, header: is the text,
 * byte by byte; a message without the key or header never fits.
 */
bool filter_fits(const struct filter *f, const weir_message *m);

#endif
