#ifndef WEIR_TESTS_FAULTS_HOSTILE_H
#define WEIR_TESTS_FAULTS_HOSTILE_H
/*
 * A server that must not be trusted (F18), against libweir without sockets: tests/unit/client/rig.h
 * gives the client, tests/lib/fake_broker.h an honest server, and mutate.c turns what it says.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/buf.h"

/* What was done to an answer. */
enum trick {
    TRICK_NONE,
    TRICK_BYTES,   /* some bytes have other values */
    TRICK_TOKEN,   /* one element has an extreme value, another type, or another length */
    TRICK_LENGTH,  /* the length prefix lies */
    TRICK_SHORT,   /* the frame ends early, and its length says so */
    TRICK_CORR,    /* the answer to another question, or to none */
    TRICK_TWICE,   /* said twice */
    TRICK_OLD,     /* something that was said before */
    TRICK_ERROR,   /* an error in its place */
    TRICK_GARBAGE, /* bytes in between */
    TRICK_CUT,     /* the connection ends inside */
    TRICK_SILENCE, /* never said */
    TRICKS
};

/* Frames that were said before. Zeroed = none. */
struct memory {
    struct buf frames[16];
    unsigned next;
};
void memory_fini(struct memory *m);

/** Uniform in [0, n). */
uint64_t hostile_random(uint64_t *rng, uint64_t n);
/**
 * Takes one honest frame (n bytes with its length prefix), appends what is said instead to *out.
 * TRICK_CUT: the connection is to end behind it.
 */
enum trick hostile_say(uint64_t *rng, struct memory *m, const uint8_t *frame, size_t n,
                       struct buf *out);

#endif
