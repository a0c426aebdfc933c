#ifndef WEIR_CLI_LINES_H
#define WEIR_CLI_LINES_H
/*
 * Lines from a file descriptor, with bounded memory: a line over the limit is read past and
 * reported with its size, the next one is read as usual. The last line needs no newline.
 */
#include <stdbool.h>
#include <stddef.h>

enum line_result {
    LINE_OK,
    LINE_MORE,     /**< none complete: call lines_fill when the descriptor is readable */
    LINE_TOO_LONG, /**< *n is its size; no text */
    LINE_END
};

struct lines {
    int fd;
    char *buf;
    size_t cap, start, end, scanned; /**< start <= scanned <= end */
    size_t max;                      /**< longest line */
    size_t dropped;                  /**< bytes of an overlong line that were read past */
    bool dropping, eof;
};

/** @param max longest line in bytes, without newline. @return false: out of memory */
bool lines_init(struct lines *l, int fd, size_t max);
/** Next line. @param line[out] valid until the next lines_fill, without newline */
enum line_result lines_next(struct lines *l, const char **line, size_t *n);
/** Reads once (blocks when the descriptor does). @return 0, or -1 with errno */
int lines_fill(struct lines *l);
/** Frees, does not close. Safe on zeroed memory and twice. */
void lines_fini(struct lines *l);

#endif
