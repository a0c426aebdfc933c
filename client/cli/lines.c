#include "client/cli/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { START_CAP = 256 * 1024 };

bool lines_init(struct lines *l, int fd, size_t max)
{
    *l = (struct lines){.fd = fd, .max = max, .cap = START_CAP, .buf = malloc(START_CAP)};
    return l->buf != NULL;
}

void lines_fini(struct lines *l)
{
    free(l->buf);
    l->buf = NULL;
    l->cap = l->start = l->end = l->scanned = 0;
}

/* What is in the buffer belongs to an overlong line: forget it, keep its size. */
static void drop(struct lines *l)
{
    l->dropping = true;
    l->dropped += l->end - l->start;
    l->start = l->end = l->scanned = 0;
}

enum line_result lines_next(struct lines *l, const char **line, size_t *n)
{
    char *from = l->buf + l->start;
    char *newline =
        l->end > l->scanned ? memchr(l->buf + l->scanned, '\n', l->end - l->scanned) : NULL;
    size_t len = newline ? (size_t)(newline - from) : l->end - l->start;
    if (!newline && !l->eof) {
        l->scanned = l->end;
        if (l->dropping || len > l->max) {
            drop(l);
        }
        return LINE_MORE;
    }
    if (!newline && len == 0 && !l->dropping) {
        return LINE_END;
    }
    l->start += len + (newline ? 1 : 0);
    l->scanned = l->start;
    *line = from;
    *n = len + l->dropped;
    bool too_long = l->dropping || len > l->max;
    l->dropping = false;
    l->dropped = 0;
    return too_long ? LINE_TOO_LONG : LINE_OK;
}

int lines_fill(struct lines *l)
{
    if (l->start > 0) {
        memmove(l->buf, l->buf + l->start, l->end - l->start);
        l->end -= l->start;
        l->scanned -= l->start;
        l->start = 0;
    }
    if (l->end == l->cap) {
        char *more = realloc(l->buf, l->cap * 2);
        if (!more) {
            errno = ENOMEM;
            return -1;
        }
        l->buf = more;
        l->cap *= 2;
    }
    ssize_t r = read(l->fd, l->buf + l->end, l->cap - l->end);
    if (r < 0) {
        return errno == EINTR || errno == EAGAIN ? 0 : -1;
    }
    l->eof = r == 0;
    l->end += (size_t)r;
    return 0;
}
