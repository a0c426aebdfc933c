/*
 * What the caller is to hear, from inside calls that may run callbacks: messages of callback-style
 * subscriptions, partitions that come and go, verdicts that could not be kept. A callback may
 * unsubscribe and close: a subscription is held while its function runs.
 */
#include <stdlib.h>

#include "client/group.h"
#include "client/handle.h"

static bool has_news(const struct weir_sub *s)
{
    return s->g && ((s->g->telling && s->g->on_assignment) || !TAILQ_EMPTY(&s->g->unsettled));
}

static void tell_unsettled(struct weir_sub *s)
{
    struct sub_group *g = s->g;
    struct unsettled *u = TAILQ_FIRST(&g->unsettled);

    TAILQ_REMOVE(&g->unsettled, u, link);
    s->w->in_callback = true;
    for (uint64_t o = u->first; o <= u->last && g->on_unsettled && !s->gone; o++) {
        g->on_unsettled(g->on_unsettled_user, s, u->topic, (int32_t)u->p, (int64_t)o, &u->error);
    }
    if (!s->gone && s->w) {
        s->w->in_callback = false;
    }
    free(u);
}

/* Runs one function of s. */
static void run_one(struct weir *w, struct weir_sub *s)
{
    const weir_message *m;

    sub_hold(s);
    if (s->g && s->g->telling && s->g->on_assignment) {
        assign_tell(s);
    } else if (has_news(s)) {
        tell_unsettled(s);
    } else {
        while (!s->gone && !w->closing && s->on_message && !sub_stopped(s) && (m = sub_take(s))) {
            w->in_callback = true;
            s->on_message(s->on_message_user, s, m);
            w->in_callback = false;
        }
    }
    w->in_callback = false;
    (void)sub_unhold(s);
}

static bool has_messages(const struct weir_sub *s)
{
    return s->on_message && !sub_stopped(s) && (s->cur || !TAILQ_EMPTY(&s->queue));
}

void subs_run_callbacks(struct weir *w)
{
    struct weir_sub *s, *found;
    size_t rounds = 0;

    if (w->in_callback) {
        return;
    }
    do {
        found = NULL;
        TAILQ_FOREACH (s, &w->subs, link) {
            found = !found && has_news(s) ? s : found;
        }
        if (found) {
            run_one(w, found);
        }
    } while (found && !w->closing);
    /* Messages: every subscription once, so that none is starved; the list may change meanwhile. */
    for (rounds = 0; !w->closing; rounds++) {
        size_t i = 0;

        TAILQ_FOREACH (s, &w->subs, link) {
            if (i++ == rounds) {
                break;
            }
        }
        if (!s) {
            break;
        }
        if (has_messages(s)) {
            run_one(w, s);
        }
    }
}

bool subs_want_step(const struct weir *w)
{
    const struct weir_sub *s;

    TAILQ_FOREACH (s, &w->subs, link) {
        if (has_news(s)) {
            return true;
        }
    }
    return false;
}

void weir_on_message(weir_sub *s, weir_message_fn fn, void *user)
{
    if (s) {
        s->on_message = fn;
        s->on_message_user = user;
        if (s->w && fn) {
            handle_dirty(s->w);
        }
    }
}

void weir_on_unsettled(weir_sub *s, weir_unsettled_fn fn, void *user)
{
    if (s && s->g) {
        s->g->on_unsettled = fn;
        s->g->on_unsettled_user = user;
    }
}
