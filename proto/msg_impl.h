#ifndef WEIR_PROTO_MSG_IMPL_H
#define WEIR_PROTO_MSG_IMPL_H
/* What the message decoders share. Only proto/msg*.c include this. */
#include "proto/mpwrite.h"
#include "proto/msg_group.h"

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

/* ---- groups: what their requests have in common ---- */

/* A group's name: a str that name_check takes. */
enum werr read_group(struct mpread *r, struct slice *group, struct werror *e) WEIR_NODISCARD;
/* A member's id: a bin of 16. */
struct slice read_member(struct mpread *r);
/* group, member, epoch: three arguments in a row. */
void put_who(struct buf *b, const struct msg_who *who);
enum werr read_who(struct mpread *r, struct msg_who *who, struct werror *e) WEIR_NODISCARD;
/* The argument `for`, a list of the three; nil leaves *who empty. `left`: arguments that are left,
 * counted down when there is one. */
void put_for(struct buf *b, const struct msg_who *who);
enum werr read_for(struct mpread *r, uint32_t *left, struct msg_who *who,
                   struct werror *e) WEIR_NODISCARD;
/* A str of at most `max` bytes that may be nil or missing; longer: TOO_LARGE, named `what`. */
enum werr read_text(struct mpread *r, uint32_t *left, size_t max, const char *what,
                    struct slice *out, struct werror *e) WEIR_NODISCARD;
/* Strict list of a request: passes each element with `check` and leaves *view over them. More than
 * `limit`: TOO_LARGE. */
typedef enum werr (*item_fn)(struct mpread *r, struct werror *e);
enum werr read_list(struct mpread *r, struct mpread *view, uint32_t *n, uint32_t limit,
                    const char *what, item_fn check, struct werror *e) WEIR_NODISCARD;
/* The option map as the last argument that is known, then the end of the arguments. */
enum werr options_end(struct mpread *r, uint32_t left, option_fn fn, void *arg,
                      struct werror *e) WEIR_NODISCARD;
/* An option map that holds those flags that are true. */
void put_flags(struct buf *b, bool force, bool dry_run);
/* str, nil when empty */
void put_str_or_nil(struct buf *b, struct slice s);
/* The option map {after, limit} of a listing, both left out when empty or 0; page_end reads it as
 * the last argument that is known. limit <= LIMIT_PAGE. */
void put_page(struct buf *b, struct slice after, uint32_t limit);
enum werr page_end(struct mpread *r, uint32_t left, struct slice *after, uint32_t *limit,
                   struct werror *e) WEIR_NODISCARD;
/* First and last offset of a range; a range that ends before it begins is malformed. */
void read_span(struct mpread *r, uint64_t *first, uint64_t *last);
/* "log" or "queue"; a reader meets an unknown word as a malformed message. */
void put_mode(struct buf *b, enum msg_group_mode mode);
enum msg_group_mode read_mode(struct mpread *r);

#endif
