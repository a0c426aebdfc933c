/* What requests of groups, queues and dead letters have in common: names, members, lists. */
#include "proto/msg_group.h"
#include "proto/msg_impl.h"

enum werr read_group(struct mpread *r, struct slice *group, struct werror *e)
{
    *group = mpread_str(r, LIMIT_FRAME);
    return r->err == WERR_OK ? name_check(*group, false, e) : read_error(r, e);
}

void put_who(struct buf *b, const struct msg_who *who)
{
    mpw_str(b, who->group);
    mpw_bin(b, who->member);
    mpw_uint(b, who->epoch);
}

struct slice read_member(struct mpread *r)
{
    struct slice member = mpread_bin(r, LIMIT_FRAME);

    if (r->err == WERR_OK && member.n != MSG_MEMBER_BYTES) {
        mpread_fail(r, "member must have 16 bytes");
    }
    return member;
}

enum werr read_who(struct mpread *r, struct msg_who *who, struct werror *e)
{
    enum werr rc = read_group(r, &who->group, e);

    if (rc != WERR_OK) {
        return rc;
    }
    who->member = read_member(r);
    who->epoch = mpread_uint(r, LIMIT_UINT);
    return read_error(r, e);
}

void put_for(struct buf *b, const struct msg_who *who)
{
    mpw_array(b, 3);
    put_who(b, who);
}

enum werr read_for(struct mpread *r, uint32_t *left, struct msg_who *who, struct werror *e)
{
    uint32_t more;
    enum werr rc;

    *who = (struct msg_who){0};
    if (*left == 0) {
        return read_error(r, e);
    }
    (*left)--;
    if (mpread_nil(r)) {
        return WERR_OK;
    }
    more = args_begin(r, 3);
    if (r->err != WERR_OK) {
        return read_error(r, e);
    }
    rc = read_who(r, who, e);
    return rc != WERR_OK ? rc : args_end(r, more, e);
}

enum werr read_text(struct mpread *r, uint32_t *left, size_t max, const char *what,
                    struct slice *out, struct werror *e)
{
    *out = (struct slice){NULL, 0};
    if (*left == 0) {
        return read_error(r, e);
    }
    (*left)--;
    *out = str_or_nil(r, LIMIT_FRAME);
    if (r->err == WERR_OK && out->n > max) {
        return werror_set(e, WERR_TOO_LARGE, "%s of %zu bytes, limit %zu", what, out->n, max);
    }
    return read_error(r, e);
}

enum werr read_list(struct mpread *r, struct mpread *view, uint32_t *n, uint32_t limit,
                    const char *what, item_fn check, struct werror *e)
{
    *n = mpread_array(r);
    if (r->err == WERR_OK && *n > limit) {
        return werror_set(e, WERR_TOO_LARGE, "%u %s, limit %u", *n, what, limit);
    }
    list_begin(view, r);
    for (uint32_t i = 0; i < *n && r->err == WERR_OK; i++) {
        enum werr rc = check(r, e);

        if (rc != WERR_OK) {
            return rc;
        }
    }
    list_end(view, r);
    return read_error(r, e);
}

enum werr options_end(struct mpread *r, uint32_t left, option_fn fn, void *arg, struct werror *e)
{
    if (left > 0) {
        enum werr rc = read_options(r, fn, arg, e);

        if (rc != WERR_OK) {
            return rc;
        }
        left--;
    }
    return args_end(r, left, e);
}

void put_flags(struct buf *b, bool force, bool dry_run)
{
    mpw_map(b, (size_t)force + (size_t)dry_run);
    if (force) {
        mpw_cstr(b, "force");
        mpw_bool(b, true);
    }
    if (dry_run) {
        mpw_cstr(b, "dry_run");
        mpw_bool(b, true);
    }
}

void put_str_or_nil(struct buf *b, struct slice s)
{
    if (s.n != 0) {
        mpw_str(b, s);
    } else {
        mpw_nil(b);
    }
}

void read_span(struct mpread *r, uint64_t *first, uint64_t *last)
{
    *first = mpread_uint(r, LIMIT_UINT);
    *last = mpread_uint(r, LIMIT_UINT);
    if (r->err == WERR_OK && *last < *first) {
        mpread_fail(r, "range ends before it begins");
    }
}

static const char *const mode_words[] = {"log", "queue"};

void put_mode(struct buf *b, enum msg_group_mode mode)
{
    mpw_cstr(b, mode_words[mode]);
}

enum msg_group_mode read_mode(struct mpread *r)
{
    struct slice word = mpread_str(r, LIMIT_FRAME);

    if (slice_eq(word, slice_str(mode_words[GROUP_MODE_QUEUE]))) {
        return GROUP_MODE_QUEUE;
    }
    if (r->err == WERR_OK && !slice_eq(word, slice_str(mode_words[GROUP_MODE_LOG]))) {
        mpread_fail(r, "unknown mode");
    }
    return GROUP_MODE_LOG;
}

/* ---- pages ---- */

void put_page(struct buf *b, struct slice after, uint32_t limit)
{
    mpw_map(b, (size_t)(after.n != 0) + (size_t)(limit != 0));
    if (after.n != 0) {
        mpw_cstr(b, "after");
        mpw_str(b, after);
    }
    if (limit != 0) {
        mpw_cstr(b, "limit");
        mpw_uint(b, limit);
    }
}

struct page {
    struct slice after;
    uint32_t limit;
};

static bool page_option(void *arg, struct slice key, struct mpread *r)
{
    struct page *page = arg;

    if (slice_eq(key, slice_str("after"))) {
        page->after = mpread_str(r, LIMIT_NAME);
        return true;
    }
    if (slice_eq(key, slice_str("limit"))) {
        page->limit = (uint32_t)mpread_uint(r, LIMIT_PAGE);
        return true;
    }
    return false;
}

enum werr page_end(struct mpread *r, uint32_t left, struct slice *after, uint32_t *limit,
                   struct werror *e)
{
    struct page page = {{NULL, 0}, 0};
    enum werr rc = options_end(r, left, page_option, &page, e);

    *after = page.after;
    *limit = page.limit;
    return rc;
}
