/* Dead letters: which are there, giving them back to their group, removing them. */
#include <stdlib.h>

#include "client/admin.h"
#include "client/handle.h"
#include "proto/msg_group.h"

enum { LIST_PAGE = 10000 };

static bool check_name(const char *name, weir_error *e)
{
    struct werror we = {0};

    if (name_check(slice_str(name ? name : ""), true, &we) != WERR_OK) {
        *e = err_from_local(&we);
        err_wrap(e, "dead-letter topic");
        return false;
    }
    return true;
}

/* Hands one page to the caller. False: error, or the end. */
static bool list_page(struct call *c, uint64_t *from,
                      void (*fn)(void *user, int64_t first, int64_t last, int state), void *user)
{
    struct msg_dlq_list_ok ok;
    struct msg_dlq_range g;
    struct werror e = {0};

    if (msg_get_dlq_list_ok(&c->cur, &ok, &e) != WERR_OK) {
        return call_broken(c, &e);
    }
    while (!c->w->closing && msg_next_dlq_range(&ok.ranges, &g)) {
        c->w->in_callback = true;
        fn(user, (int64_t)g.first, (int64_t)g.last, (int)g.state);
        c->w->in_callback = false;
    }
    if (ok.has_next && ok.next <= *from) {
        werror_set(&e, WERR_MALFORMED, "dlq_list: the listing does not advance");
        return call_broken(c, &e);
    }
    *from = ok.next;
    return ok.has_next;
}

weir_error weir_dlq_list(weir *w, const char *dlq_topic, int32_t partition,
                         void (*fn)(void *user, int64_t first, int64_t last, int state), void *user,
                         int timeout_ms)
{
    struct call c;
    struct msg_dlq_list m = {.p = (uint32_t)partition, .limit = LIST_PAGE};
    bool more = call_begin(&c, w, true, timeout_ms) && check_name(dlq_topic, &c.error);

    if (more && (!fn || partition < 0)) {
        c.error = err_make(WERR_MISUSE, "fn is NULL, or partition %d", partition);
        more = false;
    }
    while (more) {
        m.topic = slice_str(dlq_topic);
        msg_put_dlq_list(&c.req.frame, c.req.corr, &m);
        more = call_run(&c) && list_page(&c, &m.from, fn, user) && call_again(&c);
    }
    return call_end(&c);
}

struct move {
    const char *topic;
    bool redrive, dry_run;
    uint32_t rate;
    uint64_t moved, skipped;
};

/* One request's worth of spans. */
static bool move_some(struct call *c, struct move *m, const weir_span *spans, size_t n,
                      struct msg_dlq_span *wire)
{
    const struct slice topic = slice_str(m->topic);
    uint64_t moved = 0, skipped = 0;
    struct werror e = {0};

    for (size_t i = 0; i < n; i++) {
        if (spans[i].partition < 0 || spans[i].first < 0 || spans[i].last < spans[i].first) {
            c->error =
                err_make(WERR_MISUSE, "partition %d, offsets %lld to %lld", spans[i].partition,
                         (long long)spans[i].first, (long long)spans[i].last);
            return false;
        }
        wire[i] = (struct msg_dlq_span){(uint32_t)spans[i].partition, (uint64_t)spans[i].first,
                                        (uint64_t)spans[i].last};
    }
    if (m->redrive) {
        msg_put_dlq_redrive(&c->req.frame, c->req.corr, topic, wire, n, m->rate, m->dry_run);
    } else {
        msg_put_dlq_purge(&c->req.frame, c->req.corr, topic, wire, n, m->dry_run);
    }
    if (!call_run(c)) {
        return false;
    }
    if (msg_get_dlq_moved(&c->cur, &moved, &skipped, &e) != WERR_OK) {
        return call_broken(c, &e);
    }
    m->moved += moved;
    m->skipped += skipped;
    return true;
}

static weir_error move(weir *w, struct move *m, const weir_span *spans, size_t n, uint64_t *moved,
                       uint64_t *skipped, int timeout_ms)
{
    struct msg_dlq_span *wire =
        calloc((n < LIMIT_DLQ_SPANS ? n : LIMIT_DLQ_SPANS) + 1, sizeof *wire);
    struct call c;
    bool good = call_begin(&c, w, false, timeout_ms) && check_name(m->topic, &c.error);

    if (good && (!wire || (n > 0 && !spans))) {
        c.error = err_make(wire ? WERR_MISUSE : WERR_NOMEM, "%zu spans", n);
        good = false;
    }
    for (size_t at = 0; good && at < n;) {
        size_t some = n - at < LIMIT_DLQ_SPANS ? n - at : LIMIT_DLQ_SPANS;

        good = (at == 0 || call_again(&c)) && move_some(&c, m, spans + at, some, wire);
        at += some;
    }
    if (moved) {
        *moved = m->moved;
    }
    if (skipped) {
        *skipped = m->skipped;
    }
    free(wire);
    return call_end(&c);
}

weir_error weir_dlq_redrive(weir *w, const char *dlq_topic, const weir_span *spans, size_t n,
                            uint32_t rate, unsigned flags, uint64_t *moved, uint64_t *skipped,
                            int timeout_ms)
{
    struct move m = {
        .topic = dlq_topic, .redrive = true, .rate = rate, .dry_run = flags & WEIR_DRY_RUN};

    return move(w, &m, spans, n, moved, skipped, timeout_ms);
}

weir_error weir_dlq_purge(weir *w, const char *dlq_topic, const weir_span *spans, size_t n,
                          unsigned flags, uint64_t *moved, uint64_t *skipped, int timeout_ms)
{
    struct move m = {.topic = dlq_topic, .dry_run = flags & WEIR_DRY_RUN};

    return move(w, &m, spans, n, moved, skipped, timeout_ms);
}
