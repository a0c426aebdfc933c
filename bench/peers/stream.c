#include "bench/peers/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/peers/peer.h"

enum { READ_BYTES = 256 << 10, READS = 4, FIRST_CAP = 4096 };
#define NEED_NS INT64_C(30000000000)

int stream_open(struct stream *s, const char *address, char *err)
{
    *s = (struct stream){.fd = peer_connect(address, err)};
    s->over = s->fd < 0;
    return s->over ? -1 : 0;
}

void stream_close(struct stream *s)
{
    if (s->fd > 0) {
        (void)close(s->fd);
    }
    free(s->in);
    free(s->out);
    *s = (struct stream){.fd = -1, .over = true};
}

static void grow(unsigned char **data, size_t *cap, size_t size)
{
    size_t n = *cap > 0 ? *cap : FIRST_CAP;

    while (n < size) {
        n *= 2;
    }
    if (n != *cap) {
        *data = realloc(*data, n);
        *cap = n;
        if (*data == NULL) {
            abort();
        }
    }
}

unsigned char *stream_room(struct stream *s, size_t n)
{
    if (s->out_at == s->out_size) {
        s->out_at = s->out_size = 0;
    } else if (s->out_at > s->out_cap / 2) { /* so that a steady queue does not wander off */
        memmove(s->out, s->out + s->out_at, s->out_size - s->out_at);
        s->out_size -= s->out_at;
        s->out_at = 0;
    }
    grow(&s->out, &s->out_cap, s->out_size + n);
    return s->out + s->out_size;
}

void stream_put(struct stream *s, const void *data, size_t n)
{
    memcpy(stream_room(s, n), data, n);
    s->out_size += n;
}

int stream_flush(struct stream *s)
{
    while (!s->over && s->out_at < s->out_size) {
        const ssize_t n =
            send(s->fd, s->out + s->out_at, s->out_size - s->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            break;
        }
        s->over = n < 0 && errno != EINTR;
        s->out_at += n > 0 ? (size_t)n : 0;
    }
    return s->over ? -1 : 0;
}

int stream_read(struct stream *s)
{
    if (s->in_at > 0) {
        memmove(s->in, s->in + s->in_at, s->in_size - s->in_at);
        s->in_size -= s->in_at;
        s->in_at = 0;
    }
    for (int i = 0; i < READS && !s->over; i++) {
        /* Small connections stay small: the buffer grows when it was filled. */
        const size_t want = i == 0 && s->in_cap < READ_BYTES ? FIRST_CAP : READ_BYTES;
        grow(&s->in, &s->in_cap, s->in_size + want);
        const size_t room = s->in_cap - s->in_size;
        const ssize_t n = recv(s->fd, s->in + s->in_size, room, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            break;
        }
        s->over = n == 0 || (n < 0 && errno != EINTR);
        s->in_size += n > 0 ? (size_t)n : 0;
        if (n >= 0 && (size_t)n < room) {
            break;
        }
    }
    return s->over ? -1 : 0;
}

void stream_wait(struct stream *s, int64_t until_ns)
{
    if (stream_flush(s) == 0) {
        const short out = s->out_at < s->out_size ? POLLOUT : 0;
        peer_wait_fd(s->fd, (short)(POLLIN | out), until_ns);
    }
}

size_t stream_left(const struct stream *s)
{
    return s->in_size - s->in_at;
}

int stream_need(struct stream *s, size_t n)
{
    const int64_t until_ns = peer_now_ns() + NEED_NS;

    while (stream_left(s) < n && !s->over && peer_now_ns() < until_ns) {
        stream_wait(s, until_ns);
        (void)stream_read(s);
    }
    return stream_left(s) >= n ? 0 : -1;
}

int stamps_init(struct stamps *q, unsigned cap)
{
    *q = (struct stamps){.ring = calloc(cap > 0 ? cap : 1, sizeof *q->ring), .cap = cap};
    return q->ring != NULL ? 0 : -1;
}

void stamps_fini(struct stamps *q)
{
    free(q->ring);
    *q = (struct stamps){0};
}

bool stamps_full(const struct stamps *q)
{
    return q->n == q->cap;
}

void stamps_add(struct stamps *q, int64_t stamp)
{
    q->ring[(q->first + q->n++) % q->cap] = stamp;
}

int64_t stamps_take(struct stamps *q)
{
    const int64_t stamp = q->ring[q->first];

    q->first = (q->first + 1) % q->cap;
    q->n--;
    return stamp;
}
