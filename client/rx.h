#ifndef WEIR_CLIENT_RX_H
#define WEIR_CLIENT_RX_H
/*
 * Received bytes, cut into frames. Bytes land in a counted chunk, so that a received batch is used
 * where it lies: whoever keeps a view takes a reference and the next bytes go into a fresh chunk.
 * A chunk grows only as bytes arrive, never because a length was claimed.
 */
#include "proto/buf.h"
#include "proto/error.h"

enum { RX_CHUNK = 256 << 10 };

struct rx {
    struct blob *chunk; /* NULL at first */
    size_t start, end;  /* unread bytes */
};

void rx_fini(struct rx *rx);  /* safe twice and on zeroed memory */
void rx_clear(struct rx *rx); /* forgets unread bytes; a new connection begins */
/* Room for at least one byte: *n > 0. NULL: out of memory. Earlier frames are invalid after it,
 * unless their chunk is referenced. */
uint8_t *rx_space(struct rx *rx, size_t *n);
void rx_filled(struct rx *rx, size_t n);
/* Next whole frame's body. WERR_AGAIN: not yet; WERR_MALFORMED, WERR_TOO_LARGE: *e tells. */
enum werr rx_next(struct rx *rx, size_t limit, struct slice *body, struct werror *e) WEIR_NODISCARD;

#endif
