#ifndef WEIR_TESTS_UNIT_PROTO_SAMPLES_H
#define WEIR_TESTS_UNIT_PROTO_SAMPLES_H
/*
 * One frame of every message, built by the encoders with fixed content: the same bytes on every
 * run. They are test input, seeds of the fuzz targets and the examples of docs/PROTOCOL.md.
 */
#include "proto/batch.h"
#include "proto/msg.h"

enum sample_from { FROM_CLIENT, FROM_SERVER };

struct sample {
    const char *name;
    enum sample_from from;
    uint32_t op; /* of the request; a response names the op it answers, a notify has 0 */
    void (*put)(struct buf *b);
};

/* All samples; *n is their number. */
const struct sample *samples(size_t *n);
/* The sample of that name, or NULL. */
const struct sample *sample_find(const char *name);
/* The frame of a sample, length prefix included, appended to *b. */
void sample_put(const struct sample *s, struct buf *b);

/* A batch of one record ("42" -> "hello", pid 7, epoch 1, sequence 0) as a producer sends it. */
void sample_batch(struct buf *b);
/* The same after a broker stored it at offset 41, and with zstd and headers. */
void sample_stored_batch(struct buf *b);
void sample_zstd_batch(struct buf *b);

#endif
