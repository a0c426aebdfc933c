/*
 * What a group was given, message by message: acknowledged and delivered again (A7, queue mode),
 * and never delivered though the group was drained (A10).
 *
 * Happy path: all deliveries and acknowledgements of one group and place lie side by side, in order
 * of time, and are walked along the final read.
 */
#include "tests/faults/check/impl.h"

#include <stdlib.h>
#include <string.h>

enum act_type { ACT_DELIVERED, ACT_ASKED, ACT_ACKED, ACT_GIVEN_UP, ACT_PRESENT };
enum {
    LEASES_COMPARED = 16,
    FEW_DELIVERIES = 8 /* no group of the suite makes a dead letter so early */
};

/* A worker leaves before it writes so. */
static const int64_t leave_ns = INT64_C(1000000000);

/* Sorted by group, partition, offset, time. */
struct act {
    int64_t offset, at;
    int64_t joined; /* when its member joined */
    int64_t left;   /* when it left or joined anew */
    int64_t newest; /* when the newest message was sent that the member had got before */
    const struct hist_event *e; /* DELIVERED, SETTLE (asked to acknowledge), SETTLED (acked),
                                   SETTLE (given up: any other verdict);
                                   PRESENT: the group has to do with the partition */
    uint32_t group, part, file, ask;
    uint8_t type;
};

struct acts {
    struct act *v;
    size_t n;
};

static int by_place(const void *a, const void *b)
{
    const struct act *x = a, *y = b;
    if (x->group != y->group) {
        return x->group < y->group ? -1 : 1;
    }
    if (x->part != y->part) {
        return x->part < y->part ? -1 : 1;
    }
    if (x->offset != y->offset) {
        return x->offset < y->offset ? -1 : 1;
    }
    return (x->at > y->at) - (x->at < y->at);
}

/* ---------------------------------------------------------------- which was leased later */

/* Why `again` must have left the broker after the lease that `file` had by `at` and that was handed
 * out as `mine` (NULL: not recorded); NULL: it need not. A member hands out what it gets in the
 * order in which it got it, so a copy that lay with it since before `mine` comes before all
 * messages that were sent after `mine` was handed out. */
static const char *proof_of(uint32_t file, int64_t at, const struct act *again,
                            const struct hist_event *mine)
{
    if (again->file == file) {
        return "to the same member";
    }
    if (again->joined > at) {
        return "to a member that joined later";
    }
    if (mine && again->e->extra > mine->extra) {
        return "with a higher count";
    }
    return mine && again->newest > mine->at_ns ? "behind newer messages" : NULL;
}

/* True when the lease of `first` cannot have ended before `again`: it was not given up, and is
 * younger than a lease or an absence may be. */
static bool still_leased(const struct check *c, const struct act *first, const struct act *again)
{
    const uint32_t i = index_message(c, first->e->producer, first->e->counter);
    int64_t leased = first->joined > first->newest ? first->joined : first->newest; /* or later */
    if (i == NONE || c->messages[i].send->extra == HIST_WRITTEN ||
        first->left < again->at + leave_ns) {
        return false;
    }
    leased = c->messages[i].send->at_ns > leased ? c->messages[i].send->at_ns : leased;
    for (const struct act *a = first + 1; a < again; a++) {
        if (a->type == ACT_GIVEN_UP && a->file == first->file) {
            return false;
        }
    }
    return again->at - leased < (int64_t)c->o.min_lease_ms * 900000 &&
           !index_sought(c, first->group, first->part, leased, again->at);
}

/* True when the lease of `first` was good for an acknowledgement that was asked after `again`. */
static bool acked_later(const struct check *c, const struct act *first, const struct act *again,
                        const struct act *end)
{
    for (const struct act *a = again + 1; a < end; a++) {
        if (a->type == ACT_DELIVERED && a->file == first->file) {
            return false; /* that may be a lease of its own */
        }
        if (a->type == ACT_ACKED && a->file == first->file) {
            return c->asks[a->ask].ask->at_ns > again->at && again->file != first->file &&
                   !index_sought(c, first->group, first->part, first->at, a->at);
        }
    }
    return false;
}

/* A delivery against those just before it. */
static bool judge_lease(struct check *c, const struct act *a, size_t i, size_t n)
{
    const size_t from = i > LEASES_COMPARED ? i - LEASES_COMPARED : 0;
    for (size_t k = from; k < i; k++) {
        const char *proof =
            a[k].type == ACT_DELIVERED ? proof_of(a[k].file, a[k].at, &a[i], a[k].e) : NULL;
        if (proof && (still_leased(c, &a[k], &a[i]) || acked_later(c, &a[k], &a[i], a + n))) {
            const struct found v = {.what = CHECK_LEASED_TWICE,
                                    .msg = index_message(c, a[i].e->producer, a[i].e->counter),
                                    .part = a[i].part,
                                    .ev = {a[i].e, a[k].e}};
            report(c, &v,
                   "group %u: offset %lld was delivered again %s, %lld ms after a delivery "
                   "whose lease cannot have ended",
                   a[i].group, (long long)a[i].offset, proof,
                   (long long)(a[i].at - a[k].at) / 1000000);
            return true;
        }
    }
    return false;
}

/* ---------------------------------------------------------------- acknowledged, and again */

/* The delivery that was acknowledged; NULL: not recorded. */
static const struct hist_event *acked_delivery(const struct check *c, const struct act *first,
                                               const struct act *ack)
{
    const struct hist_event *mine = NULL;
    for (const struct act *a = first; a < ack; a++) {
        if (a->type == ACT_DELIVERED && a->file == ack->file &&
            a->at <= c->asks[ack->ask].ask->at_ns) {
            mine = a->e;
        }
    }
    return mine;
}

/* @return true: reported */
static bool judge_again(struct check *c, const struct act *again, const struct act *ack,
                        const struct hist_event *mine)
{
    const char *proof = proof_of(ack->file, ack->at, again, mine);
    if (!proof) {
        c->f.late_deliveries++;
        return false;
    }
    if (index_sought(c, again->group, again->part, c->asks[ack->ask].ask->at_ns, again->at)) {
        return false;
    }
    const struct found v = {.what = CHECK_ACKED_AGAIN,
                            .msg = index_message(c, again->e->producer, again->e->counter),
                            .part = again->part,
                            .ev = {again->e, ack->e, mine}};
    report(c, &v, "group %u: offset %lld was acknowledged and delivered again %s", again->group,
           (long long)again->offset, proof);
    return true;
}

/* All acts of one group and message, in order of time. Reports one thing at most. */
static void judge_message(struct check *c, const struct act *a, size_t n)
{
    const struct act *ack = NULL;
    const struct hist_event *mine = NULL;
    bool found = false;
    for (size_t i = 0; i < n && !found; i++) {
        if (a[i].type == ACT_ACKED && !ack) {
            ack = &a[i];
            mine = acked_delivery(c, a, ack);
        } else if (a[i].type == ACT_DELIVERED && c->files[a[i].file].h.role == HIST_WORKER) {
            found = ack && a[i].at > ack->at ? judge_again(c, &a[i], ack, mine)
                                             : judge_lease(c, a, i, n);
        }
    }
}

/* ---------------------------------------------------------------- drained, and never delivered */

/* A message that workers were handed, that nobody asked to acknowledge or gave up, and that cannot
 * have become a dead letter: the queue is drained without it. */
static void judge_settled(struct check *c, const struct act *a, size_t n,
                          const struct hist_event *drained)
{
    bool handed = false;
    for (size_t i = 0; i < n; i++) {
        const bool delivered = a[i].type == ACT_DELIVERED;
        if (a[i].type == ACT_ASKED || a[i].type == ACT_ACKED || a[i].type == ACT_GIVEN_UP ||
            (delivered && (a[i].at > drained->at_ns || a[i].e->extra >= FEW_DELIVERIES))) {
            return;
        }
        handed = handed || (delivered && c->files[a[i].file].h.role == HIST_WORKER);
    }
    if (handed && !index_sought(c, a->group, a->part, INT64_MIN, INT64_MAX)) {
        const struct found v = {.what = CHECK_UNSETTLED,
                                .msg = index_message(c, a->e->producer, a->e->counter),
                                .part = a->part,
                                .ev = {a->e, drained}};
        report(c, &v, "group %u: offset %lld was handed out, never acknowledged, and is not to go",
               a->group, (long long)a->offset);
    }
}

/* The last time that this group was found drained; NULL: never, or it was not at the last look. */
static const struct hist_event *find_drained(const struct check *c, uint32_t group)
{
    const struct hist_event *last = NULL;
    for (size_t i = 0; i < c->n_director; i++) {
        const struct hist_event *e = c->director[i];
        if (e->kind == HIST_UNSEEN && e->group == group) {
            last = e;
        }
    }
    return last && last->counter == 0 ? last : NULL;
}

/* The end of the partition as it was known when the group was found drained: what came in later
 * need not have been delivered. */
static int64_t known_end(const struct check *c, uint32_t part, int64_t at)
{
    int64_t end = -1;
    for (uint32_t i = c->parts[part].pass[0].from; i < c->parts[part].pass[0].to; i++) {
        const struct final *f = &c->finals[0][i];
        const struct message *m = f->msg == NONE ? NULL : &c->messages[f->msg];
        if (m && m->sent && m->sent->outcome == HIST_OK && m->sent->at_ns < at &&
            m->send->generation == 0) {
            end = f->offset + 1;
        }
    }
    return end;
}

/* The acts of one group and partition against the final read. */
static void judge_coverage(struct check *c, uint32_t part, const struct act *a, size_t n,
                           const struct hist_event *drained)
{
    const struct part *p = &c->parts[part];
    const int64_t end = p->complete ? known_end(c, part, drained->at_ns) : -1;
    size_t at = 0;
    if (index_sought(c, drained->group, part, INT64_MIN, INT64_MAX)) {
        return;
    }
    for (uint32_t i = p->pass[0].from; i < p->pass[0].to; i++) {
        const struct final *f = &c->finals[0][i];
        if (f->offset >= end) {
            return;
        }
        while (at < n && (a[at].offset < f->offset || a[at].type != ACT_DELIVERED)) {
            at++;
        }
        if (at == n || a[at].offset != f->offset) {
            const struct found v = {
                .what = CHECK_UNDELIVERED, .msg = f->msg, .part = part, .ev = {f->e, drained}};
            report(c, &v, "group %u: offset %lld was never delivered", drained->group,
                   (long long)f->offset);
        }
    }
}

/* True when the group was handed the message at this place. */
static bool was_delivered(const struct act *a, size_t n, uint32_t part, int64_t offset)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (a[mid].part < part || (a[mid].part == part && a[mid].offset < offset)) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    for (; lo < n && a[lo].part == part && a[lo].offset == offset; lo++) {
        if (a[lo].type == ACT_DELIVERED) {
            return true;
        }
    }
    return false;
}

/* What came while the group was there is not deleted before the group was handed it. */
static void judge_trimmed(struct check *c, const bool *topics, const struct act *a, size_t n,
                          const struct hist_event *drained)
{
    int64_t *since = check_alloc(c->n_parts, sizeof(*since));
    for (uint32_t part = 0; part < c->n_parts; part++) {
        since[part] = INT64_MAX;
    }
    for (size_t i = 0; i < n; i++) {
        since[a[i].part] = a[i].at < since[a[i].part] ? a[i].at : since[a[i].part];
    }
    for (uint32_t i = 0; i < c->n_messages; i++) {
        const struct message *m = &c->messages[i];
        const struct part *p = m->part == NONE ? NULL : &c->parts[m->part];
        if (!p || !p->complete || !topics[p->topic] || !m->sent || m->sent->outcome != HIST_OK ||
            m->send->generation || m->sent->offset < 0 || m->sent->offset >= p->start ||
            m->send->at_ns < since[m->part] || m->sent->at_ns > drained->at_ns ||
            was_delivered(a, n, m->part, m->sent->offset) ||
            index_sought(c, drained->group, m->part, INT64_MIN, INT64_MAX)) {
            continue;
        }
        const struct found v = {
            .what = CHECK_UNDELIVERED, .msg = i, .part = m->part, .ev = {m->sent, drained}};
        report(c, &v, "group %u: offset %lld was deleted and never delivered", drained->group,
               (long long)m->sent->offset);
    }
    free(since);
}

/* All acts of one group: a drained one had every partition of every topic that it had to do with.
 */
static void judge_group(struct check *c, const struct act *a, size_t n)
{
    const struct hist_event *drained = find_drained(c, a->group);
    bool topics[256] = {false};
    size_t from = 0;
    if (!drained) {
        return;
    }
    for (size_t i = 0, place = 0; i < n; i++) {
        topics[c->parts[a[i].part].topic] = true;
        if (i + 1 == n || a[i + 1].part != a[place].part || a[i + 1].offset != a[place].offset) {
            judge_settled(c, a + place, i + 1 - place, drained);
            place = i + 1;
        }
    }
    judge_trimmed(c, topics, a, n, drained);
    for (uint32_t part = 0; part < c->n_parts; part++) {
        size_t to = from;
        while (to < n && a[to].part == part) {
            to++;
        }
        if (topics[c->parts[part].topic]) {
            judge_coverage(c, part, a + from, to - from, drained);
        }
        from = to;
    }
}

/* ---------------------------------------------------------------- gathering */

static void note_newest(const struct check *c, const struct hist_event *e, int64_t *newest)
{
    const uint32_t i = index_message(c, e->producer, e->counter);
    if (i != NONE && c->messages[i].send->at_ns > *newest) {
        *newest = c->messages[i].send->at_ns;
    }
}

/* What an event of a group is to us. @return false: nothing. */
static bool act_of(const struct check *c, uint32_t file, const struct hist_event *e, struct act *a)
{
    const bool ack = e->extra == 0; /* WEIR_ACK */
    *a = (struct act){.offset = e->offset,
                      .at = e->at_ns,
                      .left = INT64_MAX,
                      .e = e,
                      .group = e->group,
                      .part = index_part(c, e->topic, e->partition),
                      .file = file,
                      .type = ACT_DELIVERED};
    if (a->part == NONE || a->group == 0) {
        return false;
    }
    if (e->kind == HIST_SETTLED && e->outcome == HIST_OK && ack) {
        a->type = ACT_ACKED;
        a->ask = (uint32_t)(index_ask(c, file, e->op) - c->asks);
        return true;
    }
    if (e->kind == HIST_SETTLE) {
        a->type = ack ? ACT_ASKED : ACT_GIVEN_UP;
        return true;
    }
    if (e->kind == HIST_GAINED || e->kind == HIST_POSITION) {
        a->type = ACT_PRESENT;
        a->offset = -1;
        return true;
    }
    return e->kind == HIST_DELIVERED;
}

/* Backwards: when the member of each act left. */
static void note_left(const struct hist_file *h, struct act *first, struct act *end)
{
    int64_t left = INT64_MAX;
    for (size_t k = h->n; k > 0; k--) {
        const struct hist_event *e = &h->events[k - 1];
        if (e->kind == HIST_JOIN || e->kind == HIST_LEFT || e->kind == HIST_SUB_ERROR) {
            left = e->at_ns;
        }
        if (end > first && end[-1].e == e) {
            end--;
            end->left = left;
        }
    }
}

static void gather_file(struct check *c, uint32_t file, struct acts *to)
{
    const struct hist_file *h = &c->files[file].h;
    const size_t first = to->n;
    int64_t joined = h->n ? h->events[0].at_ns : 0;
    int64_t newest[256] = {0}; /* by topic */
    for (size_t k = 0; k < h->n; k++) {
        const struct hist_event *e = &h->events[k];
        struct act a;
        if (e->kind == HIST_JOIN) {
            joined = e->at_ns;
            memset(newest, 0, sizeof(newest));
        } else if (act_of(c, file, e, &a)) {
            a.joined = joined;
            a.newest = newest[e->topic];
            to->v[to->n++] = a;
        }
        if (e->kind == HIST_DELIVERED) {
            c->f.delivered++;
            note_newest(c, e, &newest[e->topic]);
        }
    }
    note_left(h, to->v + first, to->v + to->n);
}

static void gather(struct check *c, struct acts *to)
{
    size_t room = 0;
    for (uint32_t i = 0; i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        for (size_t k = 0; k < h->n; k++) {
            struct act a;
            room += act_of(c, i, &h->events[k], &a);
        }
    }
    to->v = check_alloc(room, sizeof(*to->v));
    for (uint32_t i = 0; i < c->n_files; i++) {
        gather_file(c, i, to);
    }
    qsort(to->v, to->n, sizeof(*to->v), by_place);
}

void judge_queue(struct check *c)
{
    struct acts all = {0};
    size_t place = 0, group = 0;
    gather(c, &all);
    for (size_t i = 1; i <= all.n; i++) {
        const struct act *a = i < all.n ? &all.v[i] : NULL;
        const bool new_group = !a || a->group != a[-1].group;
        if (new_group || a->part != a[-1].part || a->offset != a[-1].offset) {
            if (all.v[place].offset >= 0) {
                judge_message(c, &all.v[place], i - place);
            }
            place = i;
        }
        if (new_group) {
            judge_group(c, &all.v[group], i - group);
            group = i;
        }
    }
    free(all.v);
}
