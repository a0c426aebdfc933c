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

enum act_type { ACT_DELIVERED, ACT_SETTLED };

/* Sorted by group, partition, offset, time. */
struct act {
    int64_t offset, at;
    int64_t joined; /* when its member joined */
    int64_t newest; /* when the newest message was sent that the member had got before */
    const struct hist_event *e; /* DELIVERED, or SETTLED */
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

/* ---------------------------------------------------------------- acknowledged, and again */

/* Why a delivery must have left the broker after the acknowledgement; NULL: it need not. A member
 * hands out what it gets in the order in which it got it, so a copy that lay with it since before
 * `mine` comes before all messages that were sent after `mine` was handed out. */
static const char *proof_of(const struct act *ack, const struct act *again,
                            const struct hist_event *mine)
{
    if (again->file == ack->file) {
        return "to the same member";
    }
    if (again->joined > ack->at) {
        return "to a member that joined later";
    }
    if (mine && again->e->extra > mine->extra) {
        return "with a higher count";
    }
    return mine && again->newest > mine->at_ns ? "behind newer messages" : NULL;
}

/* The deliveries and acknowledgements of one message to one group. */
static void judge_message(struct check *c, const struct act *a, size_t n)
{
    const struct act *ack = NULL;
    const struct hist_event *mine = NULL; /* the delivery that was acknowledged */
    for (size_t i = 0; i < n; i++) {
        if (a[i].type == ACT_SETTLED && !ack) {
            ack = &a[i];
            for (size_t k = 0; k < i; k++) {
                mine = a[k].type == ACT_DELIVERED && a[k].file == ack->file &&
                               a[k].at <= c->asks[ack->ask].ask->at_ns
                           ? a[k].e
                           : mine;
            }
        }
        if (a[i].type != ACT_DELIVERED || !ack || a[i].at <= ack->at) {
            continue;
        }
        const char *proof = proof_of(ack, &a[i], mine);
        if (!proof) {
            c->f.late_deliveries++;
        } else if (!index_sought(c, a[i].group, a[i].part, c->asks[ack->ask].ask->at_ns, a[i].at)) {
            const struct found v = {.what = CHECK_ACKED_AGAIN,
                                    .msg = index_message(c, a[i].e->producer, a[i].e->counter),
                                    .part = a[i].part,
                                    .ev = {a[i].e, ack->e, mine}};
            report(c, &v, "group %u: offset %lld was acknowledged and delivered again %s",
                   a[i].group, (long long)a[i].offset, proof);
            return;
        }
    }
}

/* ---------------------------------------------------------------- drained, and never delivered */

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
    for (size_t i = 0; i < n; i++) {
        topics[c->parts[a[i].part].topic] = true;
    }
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

/* An offset of -1 marks that the group has to do with the partition. */
static void gather_file(const struct check *c, uint32_t file, struct acts *to)
{
    const struct hist_file *h = &c->files[file].h;
    int64_t joined = h->n ? h->events[0].at_ns : 0;
    int64_t newest[256] = {0}; /* by topic */
    for (size_t k = 0; k < h->n; k++) {
        const struct hist_event *e = &h->events[k];
        struct act a = {.offset = e->offset,
                        .at = e->at_ns,
                        .joined = joined,
                        .newest = newest[e->topic],
                        .e = e,
                        .group = e->group,
                        .part = index_part(c, e->topic, e->partition),
                        .file = file,
                        .type = ACT_DELIVERED};
        if (e->kind == HIST_JOIN) {
            joined = e->at_ns;
            memset(newest, 0, sizeof(newest));
        } else if (e->kind == HIST_DELIVERED) {
            to->v[to->n++] = a;
            note_newest(c, e, &newest[e->topic]);
        } else if (e->kind == HIST_SETTLED && e->outcome == HIST_OK && e->extra == 0) {
            a.type = ACT_SETTLED;
            a.ask = (uint32_t)(index_ask(c, file, e->op) - c->asks);
            to->v[to->n++] = a;
        } else if (e->kind == HIST_GAINED || e->kind == HIST_POSITION) {
            a.offset = -1;
            a.type = ACT_SETTLED;
            to->v[to->n++] = a;
        }
    }
}

static void gather(struct check *c, struct acts *to)
{
    size_t room = 0;
    for (size_t i = 0; i < c->n_files; i++) {
        const struct hist_file *h = &c->files[i].h;
        for (size_t k = 0; k < h->n; k++) {
            const uint8_t kind = h->events[k].kind;
            room += kind == HIST_DELIVERED || kind == HIST_SETTLED || kind == HIST_GAINED ||
                    kind == HIST_POSITION;
        }
    }
    to->v = check_alloc(room, sizeof(*to->v));
    for (uint32_t i = 0; i < c->n_files; i++) {
        gather_file(c, i, to);
    }
    size_t n = 0;
    for (size_t i = 0; i < to->n; i++) {
        to->v[n] = to->v[i];
        n += to->v[i].part != NONE && to->v[i].group;
        c->f.delivered += to->v[i].e->kind == HIST_DELIVERED;
    }
    to->n = n;
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
