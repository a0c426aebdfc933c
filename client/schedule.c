/* Delayed messages that wait: listing and cancelling them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/admin.h"
#include "client/handle.h"
#include "proto/msg_group.h"

enum { LIST_PAGE = 1000, CANCEL_PAGE = 256 };

/* Begins a call about a topic; false: c.error tells. */
static bool begin(struct call *c, weir *w, const char *name, int timeout_ms, bool repeat,
                  struct topic **t)
{
    return call_begin(c, w, repeat, timeout_ms) && (*t = handle_topic(w, name, &c->error)) &&
           handle_wait_topic(w, *t, c->req.deadline_mono_ns, &c->error);
}

/* One request's worth of ids. */
static bool cancel_some(struct call *c, uint64_t tid, const char *const *ids, size_t n, int *status)
{
    struct slice names[CANCEL_PAGE];
    struct werror e = {0};
    uint32_t got = 0, one = 0;
    enum werr rc;

    for (size_t i = 0; i < n; i++) {
        names[i] = slice_str(ids[i] ? ids[i] : "");
        if (names[i].n == 0 || names[i].n > LIMIT_DELAY_ID) {
            c->error = err_make(WERR_MISUSE, "id '%.80s': 1 to %d characters are needed",
                                ids[i] ? ids[i] : "", LIMIT_DELAY_ID);
            return false;
        }
    }
    msg_put_cancel(&c->req.frame, c->req.corr, tid, names, n);
    if (!call_run(c)) {
        return false;
    }
    rc = msg_get_cancel_ok(&c->cur, &got, &e);
    if (rc == WERR_OK && got != n) {
        rc = werror_set(&e, WERR_MALFORMED, "cancel_delayed: %u results for %zu", got, n);
    }
    for (size_t i = 0; rc == WERR_OK && i < n; i++) {
        rc = msg_get_cancelled(&c->cur, &one, &e);
        if (rc == WERR_OK && status) {
            status[i] = (int)one;
        }
    }
    return rc == WERR_OK || call_broken(c, &e);
}

weir_error weir_schedule_cancel(weir *w, const char *topic, const char *const *ids, size_t n,
                                int *status, int timeout_ms)
{
    struct topic *t = NULL;
    struct call c;
    /* Asking again is harmless: what was cancelled is then unknown, so it is not done inside. */
    bool good = begin(&c, w, topic, timeout_ms, false, &t);

    if (good && n > 0 && !ids) {
        c.error = err_make(WERR_MISUSE, "ids is NULL");
        good = false;
    }
    for (size_t at = 0; good && at < n;) {
        size_t some = n - at < CANCEL_PAGE ? n - at : CANCEL_PAGE;

        good = (at == 0 || call_again(&c)) &&
               cancel_some(&c, t->tid, ids + at, some, status ? status + at : NULL);
        at += some;
    }
    return call_end(&c);
}

/* Hands one page to the caller. False: error, the end, or fn has seen enough. */
static bool list_page(struct call *c, char *after, int (*fn)(void *user, const weir_scheduled *s),
                      void *user)
{
    struct msg_delayed_list_ok ok;
    struct msg_delayed d;
    struct werror e = {0};
    char id[LIMIT_DELAY_ID + 1];
    bool more = true;

    if (msg_get_delayed_list_ok(&c->cur, &ok, &e) != WERR_OK) {
        return call_broken(c, &e);
    }
    while (more && !c->w->closing && msg_next_delayed(&ok.items, &d)) {
        const weir_scheduled s = {id, (int32_t)d.p, d.due_ms, d.count, d.bytes};

        snprintf(id, sizeof id, "%.*s", (int)d.id.n, (const char *)d.id.p);
        c->w->in_callback = true;
        more = fn(user, &s) != 0;
        c->w->in_callback = false;
    }
    if (ok.next.n > LIMIT_DELAY_ID || (ok.next.n > 0 && slice_eq(ok.next, slice_str(after)))) {
        werror_set(&e, WERR_MALFORMED, "delayed_list: the listing does not advance");
        return call_broken(c, &e);
    }
    if (ok.next.n) {
        memcpy(after, ok.next.p, ok.next.n);
    }
    after[ok.next.n] = 0;
    return more && ok.next.n > 0;
}

weir_error weir_schedule_list(weir *w, const char *topic,
                              int (*fn)(void *user, const weir_scheduled *s), void *user,
                              int timeout_ms)
{
    struct topic *t = NULL;
    struct call c;
    char after[LIMIT_DELAY_ID + 1] = "";
    bool more = begin(&c, w, topic, timeout_ms, true, &t);

    if (more && !fn) {
        c.error = err_make(WERR_MISUSE, "fn is NULL");
        more = false;
    }
    while (more) {
        msg_put_delayed_list(&c.req.frame, c.req.corr, t->tid, slice_str(after), LIST_PAGE);
        more = call_run(&c) && list_page(&c, after, fn, user) && call_again(&c);
    }
    return call_end(&c);
}
