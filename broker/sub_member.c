/*
 * Subscriptions for a member of a group. Happy path: the core is asked about every piece before it
 * goes out, and told what went.
 *
 * What can fail: a partition that the member has no more ends with SUB_ERROR; one of a paused group
 * leaves the reader and comes back where it stood, when there is news. Who owns what: a sub owns
 * the list of its partitions, those that are held and those in its reader.
 */
#include "broker/sub_impl.h"

#include <stdlib.h>

#include "broker/session.h"
#include "proto/batch.h"

static struct sub_part *part_find(struct sub *s, uint64_t tid, uint32_t p)
{
    for (size_t i = 0; i < s->n_parts; i++) {
        if (s->parts[i].tid == tid && s->parts[i].p == p) {
            return &s->parts[i];
        }
    }
    return NULL;
}

static void part_drop(struct sub *s, struct sub_part *sp)
{
    s->n_held -= sp->held;
    *sp = s->parts[--s->n_parts];
}

/* It ends: the client hears why. */
static void part_end(struct sub *s, uint64_t tid, uint32_t p, const struct werror *why)
{
    struct sub_part *sp = part_find(s, tid, p);

    if (sp != NULL) {
        (void)core_reader_drop(s->rd, tid, p);
        part_drop(s, sp);
        sub_put_error(s, &(struct core_piece){.tid = tid, .p = p, .err = *why});
    }
}

static void part_hold(struct sub *s, uint64_t tid, uint32_t p, uint64_t offset)
{
    struct sub_part *sp = part_find(s, tid, p);

    if (sp != NULL && !sp->held) {
        (void)core_reader_drop(s->rd, tid, p);
        sp->held = true;
        sp->offset = offset;
        s->n_held++;
    }
}

/* Where the piece begins; at the high watermark when it is empty. */
static uint64_t piece_start(const struct core_piece *p)
{
    struct batch_head h;

    if (p->data.n < BATCH_HEAD) {
        return p->hw;
    }
    batch_head_read(p->data.p, &h);
    return h.base_offset;
}

size_t sub_sift(struct sub *s, struct core_piece *p, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        struct werror e = {.code = WERR_OK};
        struct sub_part *sp = part_find(s, p[i].tid, p[i].p);
        enum werr rc = WERR_OK;

        if (p[i].err.code != WERR_OK) { /* its end anyway */
            if (sp != NULL) {
                part_drop(s, sp);
            }
        } else if (sp == NULL || sp->held) {
            rc = WERR_AGAIN; /* behind one that was taken out above */
        } else {
            rc = member_may_read(s->c, s->as, p[i].tid, p[i].p, &e);
            if (rc == WERR_AGAIN) {
                part_hold(s, p[i].tid, p[i].p, piece_start(&p[i]));
            } else if (rc != WERR_OK) {
                part_end(s, p[i].tid, p[i].p, &e);
            } else {
                member_sends(s->c, s->as, p[i].tid, p[i].p, slice_of(p[i].data.p, p[i].data.n));
            }
        }
        if (rc == WERR_OK) {
            p[kept++] = p[i];
        } else {
            blob_unref(p[i].data.owner);
        }
    }
    return kept;
}

enum werr sub_add_part(struct sub *s, const struct msg_sub_part *part, struct werror *e)
{
    enum werr rc = WERR_OK;

    if (s->as == NULL) {
        return core_reader_add(s->rd, part->tid, part->p, part->offset, part->has_epoch,
                               part->epoch, e);
    }
    if (part_find(s, part->tid, part->p) != NULL) {
        return werror_set(e, WERR_EXISTS, "partition %u is in this subscription", part->p);
    }
    if (s->n_parts == s->cap_parts) {
        const size_t cap = s->cap_parts > 0 ? s->cap_parts * 2 : 8;
        struct sub_part *more = realloc(s->parts, cap * sizeof *more);
        if (more == NULL) {
            return werror_set(e, WERR_OVERLOADED, "no memory for %zu partitions", cap);
        }
        s->parts = more;
        s->cap_parts = cap;
    }
    struct sub_part *sp = &s->parts[s->n_parts];
    *sp = (struct sub_part){.tid = part->tid, .p = part->p, .offset = part->offset};
    rc = member_may_read(s->c, s->as, part->tid, part->p, e);
    if (rc == WERR_OK) {
        rc = core_reader_add(s->rd, part->tid, part->p, part->offset, part->has_epoch, part->epoch,
                             e);
    } else if (rc == WERR_AGAIN) {
        sp->held = true;
        s->n_held++;
        rc = WERR_OK;
    }
    s->n_parts += rc == WERR_OK;
    return rc;
}

/* A held partition: back into the reader, or its end. */
static void part_again(struct sub *s, size_t i)
{
    const struct sub_part sp = s->parts[i];
    struct werror e = {.code = WERR_OK};
    enum werr rc = member_may_read(s->c, s->as, sp.tid, sp.p, &e);

    if (rc == WERR_AGAIN) {
        return;
    }
    s->parts[i].held = false;
    s->n_held--;
    if (rc == WERR_OK) {
        rc = core_reader_add(s->rd, sp.tid, sp.p, sp.offset, false, 0, &e);
    }
    if (rc != WERR_OK) {
        part_end(s, sp.tid, sp.p, &e);
    }
    s->has_more = true;
    sub_list(s);
}

void subs_look_again(struct conn *c, const struct as_member *as)
{
    struct sub *s;

    LIST_FOREACH (s, &c->subs, of_conn) {
        if (s->n_held == 0 || (as != NULL && !as_member_is(s->as, as))) {
            continue;
        }
        for (size_t i = s->n_parts; i-- > 0;) { /* part_end puts the last one in its place */
            if (s->parts[i].held) {
                part_again(s, i);
            }
        }
    }
}

void subs_fence(struct conn *c, const struct as_member *as)
{
    struct werror e = {.code = WERR_OK};
    struct sub *s;

    werror_set(&e, WERR_FENCED_MEMBER, "%s", werr_text(WERR_FENCED_MEMBER));
    LIST_FOREACH (s, &c->subs, of_conn) {
        while (s->as != NULL && as_member_is(s->as, as) && s->n_parts > 0) {
            part_end(s, s->parts[0].tid, s->parts[0].p, &e);
        }
    }
}

void sub_drop_part(struct sub *s, uint64_t tid, uint32_t p)
{
    struct sub_part *sp = part_find(s, tid, p);

    if (sp != NULL) {
        part_drop(s, sp);
    }
    (void)core_reader_drop(s->rd, tid, p);
}
