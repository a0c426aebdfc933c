#ifndef WEIR_BENCH_PEERS_STREAM_H
#define WEIR_BENCH_PEERS_STREAM_H
/*
 * A TCP connection with an input and an output buffer, and a queue of the stamps of messages that
 * are not answered yet: for the drivers that speak their protocol themselves.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream {
    int fd;
    unsigned char *in, *out;
    size_t in_size, in_cap, in_at; /* [in_at, in_size) is not looked at yet */
    size_t out_size, out_cap, out_at;
    bool over; /* closed, or broken */
};

/** @return 0, or -1 with a sentence in err (PEER_ERROR_BYTES) */
int stream_open(struct stream *s, const char *address, char *err);
/** Safe on a zeroed struct. */
void stream_close(struct stream *s);
/** Room for n bytes at the end of the output; the caller adds what it wrote to out_size. */
unsigned char *stream_room(struct stream *s, size_t n);
void stream_put(struct stream *s, const void *data, size_t n);
/** Writes what can be written now. @return 0, or -1 when the connection is over */
int stream_flush(struct stream *s);
/** Reads what is there now, at most about 1 MB. @return 0, or -1 when the connection is over */
int stream_read(struct stream *s);
/** Flushes, then waits until there is input (or room, when output waits). */
void stream_wait(struct stream *s, int64_t until_ns);
/** Input not looked at. */
size_t stream_left(const struct stream *s);
/** Flushes and reads until n bytes lie there. @return 0, or -1: over, or 30 s passed */
int stream_need(struct stream *s, size_t n);

/** Stamps, first in first out. */
struct stamps {
    int64_t *ring;
    unsigned cap, first, n;
};
int stamps_init(struct stamps *q, unsigned cap);
void stamps_fini(struct stamps *q);
bool stamps_full(const struct stamps *q);
void stamps_add(struct stamps *q, int64_t stamp);
int64_t stamps_take(struct stamps *q);

#endif
