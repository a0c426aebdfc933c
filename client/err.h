#ifndef WEIR_CLIENT_ERR_H
#define WEIR_CLIENT_ERR_H
/* From the shared vocabulary (proto/error.h) to the public weir_error: code, outcome, text. */
#include <weir/weir.h>

#include "proto/error.h"

/* Writes "done" into *e without touching the rest of its text. For hot paths. */
void err_set_done(weir_error *e);
weir_error err_done(void);
/* Code with its usual outcome and a text of its own. */
weir_error err_make(enum werr code, const char *fmt, ...) WEIR_PRINTF(2, 3);
/* The same with another outcome. */
weir_error err_make_as(enum werr code, weir_outcome o, const char *fmt, ...) WEIR_PRINTF(3, 4);
/* From an error of ours or of the wire; `cls` decides for codes that this build does not know. */
weir_error err_from(const struct werror *e, enum werr_class cls);
weir_error err_from_local(const struct werror *e);
/* Did it happen? One table for the whole library. */
weir_outcome err_outcome(enum werr code, enum werr_class cls);
/* Puts "prefix: " before the text. */
void err_wrap(weir_error *e, const char *fmt, ...) WEIR_PRINTF(2, 3);

#endif
