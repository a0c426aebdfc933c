/*
 * Happy path: a join opens a seat; the core's news about its session put it on a list; once per
 * turn, when the connection's output has room, CHANGED goes out, readers that were kept back look
 * again, and a seat that was fenced ends with everything that reads for it.
 *
 * What can fail: the connection, at any time; then all its seats close and the core's grace time
 * begins. Who owns what: a conn owns its seats, a seat owns its core_session.
 */
#include "broker/members.h"

#include <stdlib.h>
#include <string.h>

#include "broker/session.h"
#include "proto/batch.h"

bool as_member_set(struct as_member *a, const struct msg_who *who)
{
    if (who->group.n == 0 || who->group.n > sizeof a->group || who->member.n != sizeof a->member) {
        return false;
    }
    memcpy(a->group, who->group.p, who->group.n);
    memcpy(a->member, who->member.p, who->member.n);
    a->who.group = slice_of(a->group, who->group.n);
    a->who.member = slice_of(a->member, sizeof a->member);
    a->who.epoch = who->epoch;
    return true;
}

static bool same_member(const struct as_member *a, const struct msg_who *who)
{
    return slice_eq(a->who.member, who->member) && slice_eq(a->who.group, who->group);
}

bool as_member_is(const struct as_member *a, const struct as_member *b)
{
    return same_member(a, &b->who);
}

/* ---------------------------------------------------------------- seats */

struct seat *seat_find(struct conn *c, const struct msg_who *who)
{
    struct seat *s;

    LIST_FOREACH (s, &c->seats, of_conn) {
        if (same_member(&s->as, who)) {
            return s;
        }
    }
    return NULL;
}

static void list_seat(struct seat *s)
{
    if (!s->listed) {
        s->listed = true;
        TAILQ_INSERT_TAIL(&s->c->srv->seat_news, s, news_link);
        server_again(s->c->srv);
    }
}

static void unlist_seat(struct seat *s)
{
    if (s->listed) {
        s->listed = false;
        TAILQ_REMOVE(&s->c->srv->seat_news, s, news_link);
    }
}

/* The core is at work: what it says is acted upon in the pump. */
static void on_news(void *arg, enum core_session_news what)
{
    struct seat *s = arg;

    if (what == SESSION_FENCED) {
        s->fenced = true;
    } else {
        s->changed = true;
    }
    list_seat(s);
}

struct seat *seat_open(struct conn *c, const struct msg_who *who, struct werror *e)
{
    struct seat *s;

    if (c->n_seats >= LIMIT_SEATS) {
        werror_set(e, WERR_TOO_LARGE, "%u members on this connection, limit %d", c->n_seats,
                   LIMIT_SEATS);
        return NULL;
    }
    s = calloc(1, sizeof *s);
    if (s == NULL) {
        werror_set(e, WERR_OVERLOADED, "no memory for a member");
        return NULL;
    }
    if (!as_member_set(&s->as, who)) {
        free(s);
        werror_set(e, WERR_MALFORMED, "a group has 1 to %d characters, a member %d bytes",
                   LIMIT_NAME, MSG_MEMBER_BYTES);
        return NULL;
    }
    s->c = c;
    s->session = core_session_new(c->srv->core, on_news, s);
    LIST_INSERT_HEAD(&c->seats, s, of_conn);
    c->n_seats++;
    return s;
}

void seat_close(struct seat *s)
{
    unlist_seat(s);
    LIST_REMOVE(s, of_conn);
    s->c->n_seats--;
    acquires_end(s->c, &s->as, WERR_FENCED_MEMBER);
    join_forget(s->join); /* it is answered without its seat */
    core_session_end(s->session);
    free(s);
}

void seat_close_later(struct seat *s)
{
    s->closing = true;
    list_seat(s);
}

void seats_close(struct conn *c)
{
    while (!LIST_EMPTY(&c->seats)) {
        /* NOLINTNEXTLINE(clang-analyzer-*): each one unlinks itself */
        seat_close(LIST_FIRST(&c->seats));
    }
}

void seats_resume(struct conn *c)
{
    struct seat *s;

    LIST_FOREACH (s, &c->seats, of_conn) {
        if (s->changed || s->fenced) {
            list_seat(s);
        }
    }
}

static void tell(struct seat *s)
{
    struct conn *c = s->c;

    s->changed = false;
    msg_put_changed(conn_ctl(c), "group", s->as.who.group);
    conn_sent(c);
    subs_look_again(c, &s->as);
    fetches_look_again(c, &s->as);
}

void seats_pump(struct server *srv)
{
    struct seat_list todo = TAILQ_HEAD_INITIALIZER(todo);
    struct seat *s;

    TAILQ_CONCAT(&todo, &srv->seat_news, news_link);
    while ((s = TAILQ_FIRST(&todo)) != NULL) {
        /* NOLINTNEXTLINE(clang-analyzer-*): it left its list before it was freed */
        struct conn *c = s->c;

        TAILQ_REMOVE(&todo, s, news_link);
        s->listed = false;
        if (s->closing) {
            seat_close(s);
            continue;
        }
        if (c->state != CONN_READY || conn_output_full(c)) {
            continue; /* its end is near; seats_resume lists it again */
        }
        if (s->changed || s->fenced) {
            tell(s);
        }
        if (s->fenced) {
            subs_fence(c, &s->as);
            seat_close(s);
        }
    }
}

/* ---------------------------------------------------------------- reading for a member */

enum werr member_may_read(struct conn *c, struct as_member *a, uint64_t tid, uint32_t p,
                          struct werror *e)
{
    const struct seat *s = seat_find(c, &a->who);

    if (s != NULL && s->as.who.epoch > a->who.epoch) {
        a->who.epoch = s->as.who.epoch;
    }
    return core_group_may_read(c->srv->core, &a->who, tid, p, e);
}

void member_sends(struct conn *c, const struct as_member *a, uint64_t tid, uint32_t p,
                  struct slice batches)
{
    struct batch_head h;
    uint64_t next = 0;

    while (batches.n >= BATCH_HEAD) {
        batch_head_read(batches.p, &h);
        if (h.length < BATCH_HEAD || h.length > batches.n) {
            break;
        }
        next = h.base_offset + h.count;
        batches.p += h.length;
        batches.n -= h.length;
    }
    if (next > 0) {
        core_group_handed_out(c->srv->core, &a->who, tid, p, next);
    }
}
