#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/fake_broker.h"

static void *need(void *p)
{
    if (!p) {
        abort();
    }
    return p;
}

struct fake_group *fake_group(struct fake_broker *fb, const char *name)
{
    for (size_t i = 0; i < FAKE_GROUPS; i++) {
        if (fb->groups[i] && strcmp(fb->groups[i]->name, name) == 0) {
            return fb->groups[i];
        }
    }
    return NULL;
}

void fake_groups_free(struct fake_broker *fb)
{
    for (size_t i = 0; i < FAKE_GROUPS; i++) {
        for (size_t k = 0; fb->groups[i] && k < fb->groups[i]->n_parts; k++) {
            free(fb->groups[i]->parts[k].messages);
        }
        free(fb->groups[i]);
        fb->groups[i] = NULL;
    }
}

static struct fake_group *by_name(struct fake_broker *fb, struct slice name)
{
    for (size_t i = 0; i < FAKE_GROUPS; i++) {
        if (fb->groups[i] && slice_eq(name, slice_str(fb->groups[i]->name))) {
            return fb->groups[i];
        }
    }
    return NULL;
}

static struct fake_gpart *part_of(struct fake_group *g, uint64_t tid, uint32_t p)
{
    for (size_t i = 0; i < g->n_parts; i++) {
        if (g->parts[i].tid == tid && g->parts[i].p == p) {
            return &g->parts[i];
        }
    }
    return NULL;
}

struct fake_gpart *fake_group_add(struct fake_group *g, uint64_t tid, uint32_t p)
{
    struct fake_gpart *gp = part_of(g, tid, p);

    if (!gp && g->n_parts < FAKE_GPARTS) {
        gp = &g->parts[g->n_parts++];
        *gp = (struct fake_gpart){.tid = tid, .p = p, .owner = -1, .target = -1};
        if (g->mode == GROUP_MODE_QUEUE) {
            gp->messages = need(calloc(g->room, sizeof *gp->messages));
        }
    }
    return gp;
}

/* What is free goes to whom it shall belong. */
static void grant(struct fake_group *g)
{
    for (size_t i = 0; i < g->n_parts; i++) {
        struct fake_gpart *gp = &g->parts[i];

        if (gp->owner < 0 && gp->target >= 0) {
            gp->owner = gp->target;
            gp->epoch = ++g->generation;
        }
    }
}

void fake_group_move(struct fake_group *g, uint32_t p, int m)
{
    g->parts[p].target = m;
    g->generation++;
    grant(g);
}

void fake_group_fence(struct fake_group *g, int m)
{
    for (size_t i = 0; i < g->n_parts; i++) {
        struct fake_gpart *gp = &g->parts[i];

        gp->owner = gp->owner == m ? -1 : gp->owner;
        for (size_t o = 0; gp->messages && o < g->room; o++) {
            if (gp->messages[o].state == FAKE_LEASED && gp->messages[o].member == m) {
                gp->messages[o].state = FAKE_READY;
            }
        }
    }
    g->members[m].used = false;
    g->generation++;
}

void fake_group_expire(struct fake_group *g, uint32_t p, uint64_t first, uint64_t last)
{
    for (uint64_t o = first; o <= last; o++) {
        if (g->parts[p].messages[o].state == FAKE_LEASED) {
            g->parts[p].messages[o].state = FAKE_READY;
        }
    }
}

uint64_t fake_group_count(const struct fake_group *g, uint32_t p, enum fake_state st)
{
    uint64_t n = 0;

    for (size_t o = 0; o < g->room; o++) {
        n += g->parts[p].messages[o].state == st;
    }
    return n;
}

void fake_changed(struct fake_conn *c, const char *group)
{
    msg_put_changed(&c->out, "group", slice_str(group));
}

/* The member; -1 and *e when it may not act. */
static int member_of(struct fake_broker *fb, const struct msg_who *who, struct fake_group **out,
                     struct werror *e)
{
    struct fake_group *g = by_name(fb, who->group);

    *out = g;
    if (!g) {
        werror_set(e, WERR_UNKNOWN_GROUP, "unknown group");
        return -1;
    }
    for (int i = 0; i < FAKE_MEMBERS; i++) {
        if (g->members[i].used && memcmp(g->members[i].id, who->member.p, MSG_MEMBER_BYTES) == 0) {
            return i;
        }
    }
    werror_set(e, WERR_FENCED_MEMBER, "not a member");
    return -1;
}

bool fake_group_may_read(struct fake_broker *fb, const struct msg_who *who, uint64_t tid,
                         uint32_t p, struct werror *e)
{
    struct fake_group *g;
    int m = member_of(fb, who, &g, e);
    const struct fake_gpart *gp = m >= 0 ? part_of(g, tid, p) : NULL;

    if (m >= 0 && (!gp || gp->owner != m || gp->epoch > who->epoch)) {
        werror_set(e, WERR_NOT_ASSIGNED, "not assigned");
        return false;
    }
    return m >= 0;
}

static size_t assignment(const struct fake_group *g, int m, struct msg_assigned *out)
{
    size_t n = 0;

    for (size_t i = 0; i < g->n_parts; i++) {
        const struct fake_gpart *gp = &g->parts[i];

        if (gp->owner == m && gp->target == m) {
            out[n++] = (struct msg_assigned){gp->tid, gp->p, gp->epoch, gp->committed};
        }
    }
    return n;
}

static struct fake_group *group_make(struct fake_broker *fb, const struct msg_join *m)
{
    struct fake_group *g = by_name(fb, m->group);

    for (size_t i = 0; i < FAKE_GROUPS && !g; i++) {
        if (!fb->groups[i]) {
            g = fb->groups[i] = need(calloc(1, sizeof *g));
            snprintf(g->name, sizeof g->name, "%.*s", (int)m->group.n, (const char *)m->group.p);
            g->mode = m->mode;
            g->generation = 1;
            g->room = fb->group_room;
        }
    }
    return g;
}

static void do_join(struct fake_conn *c, uint32_t corr, struct msg_join *m, struct werror *e)
{
    struct fake_group *g = group_make(c->fb, m);
    struct msg_join_ok ok = {.grace_ms = 10000, .mode = m->mode};
    struct msg_assigned parts[FAKE_GPARTS];
    struct msg_who who = {m->group, m->member, 0};
    struct slice name;
    struct werror ignored = {0};
    int i;

    if (!g) {
        werror_set(e, WERR_OVERLOADED, "the fake broker has room for %d groups", FAKE_GROUPS);
        return;
    }
    if (g->mode != m->mode) {
        werror_set(e, WERR_GROUP_MODE, "the group has another mode");
        return;
    }
    i = member_of(c->fb, &who, &g, &ignored);
    ok.resumed = i >= 0;
    for (int k = 0; k < FAKE_MEMBERS && i < 0; k++) {
        i = g->members[k].used ? -1 : k;
    }
    if (i < 0) {
        werror_set(e, WERR_OVERLOADED, "the fake group has room for %d members", FAKE_MEMBERS);
        return;
    }
    if (!ok.resumed) {
        unsigned joins = g->members[i].joins;

        g->members[i] = (struct fake_member){.used = true, .joins = joins};
        memcpy(g->members[i].id, m->member.p, MSG_MEMBER_BYTES);
        g->generation++;
    }
    g->members[i].joins++;
    while (msg_next_name(&m->topics, &name)) {
        char text[LIMIT_TOPIC_NAME + 1];
        const struct fake_topic *t;

        snprintf(text, sizeof text, "%.*s", (int)name.n, (const char *)name.p);
        t = fake_topic(c->fb, text);
        for (uint32_t p = 0; t && p < t->conf.partitions; p++) {
            struct fake_gpart *gp = fake_group_add(g, t->tid, p);

            if (gp && gp->owner < 0 && gp->target < 0) {
                gp->target = i; /* whoever comes first has all, until a test moves it */
            }
        }
    }
    grant(g);
    g->members[i].epoch = g->members[i].told = ok.epoch = g->generation;
    msg_put_join_ok(&c->out, corr, &ok, parts,
                    g->mode == GROUP_MODE_LOG ? assignment(g, i, parts) : 0);
}

static void do_heartbeat(struct fake_conn *c, uint32_t corr, struct msg_heartbeat *m,
                         struct werror *e)
{
    struct msg_assigned parts[FAKE_GPARTS];
    bool owned[FAKE_GPARTS] = {false};
    struct fake_group *g;
    int i = member_of(c->fb, &m->who, &g, e);
    uint64_t tid;
    uint32_t p;
    bool news;

    if (i < 0) {
        return;
    }
    while (m->has_owned && msg_next_drop(&m->owned, &tid, &p)) {
        const struct fake_gpart *gp = part_of(g, tid, p);

        if (gp) {
            owned[gp - g->parts] = true;
        }
    }
    for (size_t k = 0; k < g->n_parts && m->has_owned; k++) {
        if (g->parts[k].owner == i && g->parts[k].target != i && !owned[k]) {
            g->parts[k].owner = -1;
        }
    }
    grant(g);
    news = g->members[i].told != g->generation;
    g->members[i].epoch = g->members[i].told = g->generation;
    msg_put_heartbeat_ok(&c->out, corr, g->generation, news, parts, assignment(g, i, parts));
}

static void do_leave(struct fake_conn *c, uint32_t corr, const struct msg_who *who,
                     struct werror *e)
{
    struct fake_group *g;
    int i = member_of(c->fb, who, &g, e);

    if (i >= 0) {
        fake_group_fence(g, i);
        g->members[i].leaves++;
        for (size_t k = 0; k < g->n_parts; k++) {
            g->parts[k].target = g->parts[k].target == i ? -1 : g->parts[k].target;
        }
        msg_put_ok(&c->out, corr);
    }
}

static void do_commit(struct fake_conn *c, uint32_t corr, struct msg_commit *m, struct werror *e)
{
    struct werror *results = need(calloc(m->n_items + 1, sizeof *results));
    struct msg_commit_item it;
    struct fake_group *g;
    int i = member_of(c->fb, &m->who, &g, e);
    size_t n = 0;

    while (i >= 0 && msg_next_commit_item(&m->items, &it)) {
        struct fake_gpart *gp = part_of(g, it.tid, it.p);

        if (!gp || gp->owner != i) {
            werror_set(&results[n], WERR_NOT_ASSIGNED, "not assigned");
        } else {
            gp->committed = it.offset;
        }
        n++;
    }
    if (i >= 0) {
        g->commits++;
        msg_put_results(&c->out, corr, results, n);
    }
    free(results);
}

/* ---------------------------------------------------------------- queue */

/* Leases up to max messages of one partition as ranges; those of the same attempt come again. */
static size_t lease_some(struct fake_group *g, int m, struct fake_gpart *gp, uint64_t end,
                         uint64_t max, uint64_t attempt, bool again, struct msg_range *out)
{
    size_t n = 0;

    for (uint64_t o = 0; o < end && o < g->room && max > 0; o++) {
        struct fake_message *x = &gp->messages[o];
        bool same = x->state == FAKE_LEASED && x->attempt == attempt && x->member == m;

        if (again ? !same : x->state != FAKE_READY) {
            continue;
        }
        if (!again) {
            bool joins = n > 0 && out[n - 1].last + 1 == o && !x->reason[0] &&
                         out[n - 1].deliveries == x->deliveries + 1;

            x->lease = joins ? out[n - 1].lease : ++g->next_lease;
            x->state = FAKE_LEASED;
            x->member = (uint8_t)m;
            x->attempt = attempt;
            x->deliveries++;
        }
        max--;
        if (n > 0 && out[n - 1].last + 1 == o && out[n - 1].lease == x->lease) {
            out[n - 1].last = o;
        } else if (n < 256) {
            out[n++] = (struct msg_range){o, o, x->deliveries, x->lease, slice_str(x->reason)};
        }
    }
    return n;
}

static bool answer_acquire(struct fake_conn *c, struct fake_waiting *wait, struct werror *e)
{
    const struct msg_who who = {slice_str(wait->group), slice_of(wait->member, MSG_MEMBER_BYTES),
                                0};
    struct msg_range ranges[256];
    struct fake_group *g;
    int m = member_of(c->fb, &who, &g, e);
    bool again;

    if (m < 0) {
        return true;
    }
    again = g->members[m].attempt == wait->attempt;
    for (size_t i = 0; i < g->n_parts; i++) {
        struct fake_gpart *gp = &g->parts[i];
        const struct fake_partition *part = fake_partition(c->fb, gp->tid, gp->p);
        size_t n =
            part ? lease_some(g, m, gp, part->end, wait->max_msgs, wait->attempt, again, ranges)
                 : 0;
        size_t at, bytes = 0;

        for (size_t b = 0; n > 0 && b < part->n; b++) {
            bytes += part->batches[b].n;
        }
        if (n > 0) {
            g->members[m].attempt = wait->attempt;
            at = msg_begin_acquire_ok(&c->out, wait->corr, 1);
            msg_put_acquired_head(&c->out, gp->tid, gp->p, ranges, n, bytes);
            for (size_t b = 0; b < part->n; b++) {
                buf_put(&c->out, part->batches[b].p, part->batches[b].n);
            }
            frame_end(&c->out, at, 0);
            return true;
        }
    }
    return false;
}

static void do_acquire(struct fake_conn *c, uint32_t corr, const struct msg_acquire *m,
                       struct werror *e)
{
    struct fake_group *g;

    if (member_of(c->fb, &m->who, &g, e) < 0) {
        return;
    }
    g->acquires++;
    for (size_t i = 0; i < FAKE_WAITING; i++) {
        struct fake_waiting *w = &c->waiting[i];

        if (!w->corr) {
            *w =
                (struct fake_waiting){.corr = corr, .max_msgs = m->max_msgs, .attempt = m->attempt};
            memcpy(w->member, m->who.member.p, MSG_MEMBER_BYTES);
            snprintf(w->group, sizeof w->group, "%s", g->name);
            if (answer_acquire(c, w, e)) {
                w->corr = 0;
            }
            return;
        }
    }
}

void fake_group_push(struct fake_conn *c)
{
    for (size_t i = 0; i < FAKE_WAITING; i++) {
        struct fake_waiting *w = &c->waiting[i];
        struct werror e = {0};

        if (w->corr && answer_acquire(c, w, &e)) {
            if (e.code != WERR_OK) {
                frame_put_error(&c->out, w->corr, &e, NULL, 0);
            }
            w->corr = 0;
        }
    }
}

static bool holds(const struct fake_group *g, const struct fake_gpart *gp,
                  const struct msg_settle_item *it)
{
    if (!gp || it->last >= g->room) {
        return false;
    }
    for (uint64_t o = it->first; o <= it->last; o++) {
        const struct fake_message *x = &gp->messages[o];

        if (x->lease != it->lease ||
            (x->state != FAKE_LEASED && !(x->state == FAKE_ACKED && it->verb == VERB_ACK))) {
            return false;
        }
    }
    return true;
}

static void settle_one(struct fake_group *g, struct fake_message *x,
                       const struct msg_settle_item *it)
{
    bool was_acked = x->state == FAKE_ACKED;

    switch (it->verb) {
    case VERB_ACK:
        x->state = FAKE_ACKED;
        g->acked += !was_acked;
        break;
    case VERB_NACK:
        x->state = FAKE_READY;
        g->nacked++;
        break;
    case VERB_RELEASE:
        x->state = FAKE_READY;
        x->deliveries--;
        g->released++;
        break;
    case VERB_DEAD:
        x->state = FAKE_DEAD;
        g->dead++;
        break;
    case VERB_EXTEND:
        g->extended++;
        break;
    }
    if (it->verb == VERB_NACK || it->verb == VERB_DEAD) {
        snprintf(x->reason, sizeof x->reason, "%.*s", (int)it->reason.n,
                 (const char *)it->reason.p);
    }
}

static void do_settle(struct fake_conn *c, uint32_t corr, struct msg_settle *m, struct werror *e)
{
    struct werror *results = need(calloc(m->n_items + 1, sizeof *results));
    struct msg_settle_item it;
    struct fake_group *g;
    size_t n = 0;

    if (member_of(c->fb, &m->who, &g, e) >= 0) {
        g->settles++;
        while (msg_next_settle_item(&m->items, &it)) {
            struct fake_gpart *gp = part_of(g, it.tid, it.p);

            g->items++;
            if (!holds(g, gp, &it)) {
                g->lost++;
                werror_set(&results[n], WERR_LEASE_LOST, "lease lost");
            } else {
                for (uint64_t o = it.first; o <= it.last; o++) {
                    settle_one(g, &gp->messages[o], &it);
                }
            }
            n++;
        }
        msg_put_results(&c->out, corr, results, n);
    }
    free(results);
}

bool fake_group_request(struct fake_conn *c, struct frame *f, struct werror *e)
{
    struct msg_join join;
    struct msg_heartbeat beat;
    struct msg_who who;
    struct msg_commit commit;
    struct msg_acquire acquire;
    struct msg_settle settle;

    if (f->op == OP_GROUP_JOIN && msg_get_join(&f->args, &join, e) == WERR_OK) {
        do_join(c, f->id, &join, e);
    } else if (f->op == OP_GROUP_HEARTBEAT && msg_get_heartbeat(&f->args, &beat, e) == WERR_OK) {
        do_heartbeat(c, f->id, &beat, e);
    } else if (f->op == OP_GROUP_LEAVE && msg_get_leave(&f->args, &who, e) == WERR_OK) {
        do_leave(c, f->id, &who, e);
    } else if (f->op == OP_COMMIT && msg_get_commit(&f->args, &commit, e) == WERR_OK) {
        do_commit(c, f->id, &commit, e);
    } else if (f->op == OP_ACQUIRE && msg_get_acquire(&f->args, &acquire, e) == WERR_OK) {
        do_acquire(c, f->id, &acquire, e);
    } else if (f->op == OP_SETTLE && msg_get_settle(&f->args, &settle, e) == WERR_OK) {
        do_settle(c, f->id, &settle, e);
    } else {
        return e->code != WERR_OK || fake_group_admin(c, f, e);
    }
    return true;
}
