#ifndef WEIR_TESTS_UNIT_PROTO_WALK_GROUP_H
#define WEIR_TESTS_UNIT_PROTO_WALK_GROUP_H
/* The part of walk.h that knows groups, queues, delay and dead letters. UNKNOWN_OP for all else. */
#include "tests/unit/proto/walk.h"

enum werr walk_group_request(struct frame *f, struct werror *e);
enum werr walk_group_response(uint32_t op, struct frame *f, struct werror *e);

#endif
