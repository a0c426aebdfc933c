#ifndef WEIR_PROTO_MSG_IMPL_H
#define WEIR_PROTO_MSG_IMPL_H
/* What the message decoders share. Only proto/msg*.c include this. */
#include "proto/mpwrite.h"
#include "proto/msg.h"

/* Opens an args array with at least `min` elements; the rest is judged by args_end. */
uint32_t args_begin(struct mpread *r, uint32_t min);
/* The other `left` arguments must be nil: a server never ignores what it does not know. */
enum werr args_end(struct mpread *r, uint32_t left, struct werror *e) WEIR_NODISCARD;
/* Opens an array of a response; its extra elements are skipped by result_end. */
uint32_t result_begin(struct mpread *r, uint32_t min);
enum werr result_end(struct mpread *r, uint32_t left, struct werror *e) WEIR_NODISCARD;
/* MALFORMED with the cursor's reason, or WERR_OK. */
enum werr read_error(const struct mpread *r, struct werror *e);
/* A str argument that may be nil. */
struct slice str_or_nil(struct mpread *r, size_t max);
/*
 * An option map: calls fn(arg, key, r) for each pair whose value is not nil (nil = absent); false =
 * unknown key (UNSUPPORTED_FIELD). A key may come once.
 */
typedef bool (*option_fn)(void *arg, struct slice key, struct mpread *r);
enum werr read_options(struct mpread *r, option_fn fn, void *arg, struct werror *e) WEIR_NODISCARD;

/*
 * Lists: `view` becomes a cursor over exactly the elements that r stands at the first of, once the
 * caller has passed all of them. A walk ends when list_next says so, without an error.
 */
static inline void list_begin(struct mpread *view, const struct mpread *r)
{
    *view = *r;
}
static inline void list_end(struct mpread *view, const struct mpread *r)
{
    view->end = r->p;
}
static inline bool list_next(const struct mpread *view)
{
    return view->err == WERR_OK && view->p < view->end;
}
/* Opens an array, passes its elements and leaves *view over them. Returns their number. */
uint32_t list_skip(struct mpread *r, struct mpread *view);

/* A partition error inside a response: reads the element into *err and its class. */
enum werr read_item_error(struct mpread *r, struct werror *err, enum werr_class *cls,
                          struct slice *raw);

#endif
