#ifndef WEIR_TESTS_UNIT_PROTO_WALK_H
#define WEIR_TESTS_UNIT_PROTO_WALK_H
/*
 * Decodes a frame the way a server or a client would, walks every list in it and reads every byte
 * that a decoder handed out. Used by unit tests and fuzz targets.
 */
#include "proto/batch.h"
#include "proto/msg.h"

/* A request, or a notify that a client sends. UNKNOWN_OP for what a server does not take. */
enum werr walk_request(struct frame *f, struct werror *e);
/* A response to `op`, or (op 0) a notify that a server sends. */
enum werr walk_response(uint32_t op, struct frame *f, struct werror *e);
/* Batches back to back, with their records. Returns the first error, WERR_OK at a clean end. */
enum werr walk_batches(struct slice run, struct werror *e);
/* A batch as a producer sent it, on a copy: checks, then its records as a consumer would. */
enum werr walk_produced(struct slice batch, bool full, struct werror *e);
/* Reads all bytes of s, so that a sanitizer sees a view that is too long. */
void touch(struct slice s);
/* How many elements the walks have seen since the program began. */
unsigned long walk_elements(void);

#endif
