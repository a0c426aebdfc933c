#ifndef WEIR_BROKER_REPLY_H
#define WEIR_BROKER_REPLY_H
/*
 * A frame that carries stored batches: its heads are encoded here, its data is only referred to,
 * and both go out together without a copy of large data.
 */
#include "broker/conn.h"

enum { REPLY_PARTS = 128 };

struct reply {
    struct buf heads; /* encode here, starting with a frame_begin_* or msg_begin_* */
    size_t n, data_bytes;
    struct {
        size_t at; /* the data goes out after this many bytes of heads */
        struct bytes data;
    } part[REPLY_PARTS];
};

void reply_init(struct reply *r);
/* Data that follows what was encoded so far. Takes the reference. Beyond REPLY_PARTS it is copied.
 */
void reply_data(struct reply *r, struct bytes data);
/* Patches the frame's length and queues everything. Frees what the reply holds. */
void reply_send(struct reply *r, struct conn *c);

#endif
