#ifndef WEIR_BROKER_MEMORY_H
#define WEIR_BROKER_MEMORY_H
/*
 * How much memory connections may use in all, and how much they do. What a class may use of it is
 * bounded, so that what one kind of peer holds never keeps the others waiting for good: readers
 * that do not read cannot stop producers. Loop thread only.
 */
#include <stdbool.h>
#include <stdint.h>

#include "broker/config.h"

struct conn;
struct server;

enum memory_class {
    MEMORY_CONNECTIONS, /* the connections themselves */
    MEMORY_INPUT,       /* small requests that are arriving */
    MEMORY_LARGE_INPUT, /* large ones: bounded by `input` */
    MEMORY_OUTPUT,      /* what was not taken yet: bounded by `output` */
    MEMORY_REQUESTS,    /* requests that wait, subscriptions: bounded by a quarter */
    MEMORY_READ_AHEAD,  /* read for queues and not handed out: bounded by an eighth */
    MEMORY_PRODUCE,     /* what waits for the disk: bounded by `inflight` */
    MEMORY_CLASSES
};

enum {
    MEMORY_TIGHT_PERCENT = 80, /* of the budget: producers go on slowly */
    MEMORY_OUT_PERCENT = 95,   /* of the budget: no new connections */
    /* So much may be on its way to the disk even then: what waits to be produced holds memory
     * itself, and others who hold it may do so for as long as they like. */
    MEMORY_PRODUCE_LEAST = 1 << 20,
};

struct memory {
    uint64_t budget;                              /* bytes in all */
    uint64_t input, output, requests, read_ahead; /* of it, for these classes */
    uint64_t peak;                                /* most in use since memory was last given back */
    int64_t gave_back_mono_ns;
};

/* Takes the settings; a budget of 0 is derived from what the machine, or the control group, has. */
void memory_init(struct memory *m, const struct config *conf);
/* 60 % of `machine_bytes` less what the store and the tail cache take; at least 64 MiB. */
uint64_t memory_budget_of(uint64_t machine_bytes, const struct config *conf);
/* What there is to have: memory of the machine, or less when a control group says so. */
uint64_t memory_machine_bytes(void);

const char *memory_class_name(enum memory_class c);
uint64_t memory_used(const struct server *srv, enum memory_class c);
/* All classes together. */
uint64_t memory_in_use(const struct server *srv);
/* Over 80 %: producers go on slowly. */
bool memory_is_tight(const struct server *srv);
/* A PRODUCE may go to the disk now: while memory is tight, MEMORY_PRODUCE_LEAST at a time. */
bool memory_takes_produce(const struct server *srv);
/* Over 95 %: nobody new comes in. */
bool memory_is_out(const struct server *srv);
enum memory_state {
    MEMORY_FREE,
    MEMORY_OUTPUT_USED, /* the output of all: who holds more than its share waits */
    MEMORY_TIGHT,
    MEMORY_OUT
};
/* For the log; a text that names it. */
enum memory_state memory_state(const struct server *srv);
const char *memory_state_name(enum memory_state s);
/* To be called once a second. After a flood, what the allocator keeps goes back to the system: when
 * less than half of the most that was in use still is, and 32 MiB were freed; every 10 s at most.
 * It takes about a millisecond for each 16 MiB. True: it did. */
bool memory_give_back(struct server *srv, int64_t now_mono_ns);
/* How many store reads there may be at once: few when nobody takes what was read, none when all
 * memory is used up and output has more than its part. */
unsigned memory_reads(const struct server *srv);
/* Readers and waiting requests have used up their part, and `c` would have more than its share of
 * it (64 KiB at least) with one that is `body` bytes long; or half as much again is used. */
bool memory_refuses_request(const struct conn *c, size_t body);

#endif
