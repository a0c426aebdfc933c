#include "tests/lib/fake_broker.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/msg_server.h"

static void *need(void *p)
{
    if (!p) {
        abort();
    }
    return p;
}

struct fake_broker *fake_new(void)
{
    struct fake_broker *fb = need(calloc(1, sizeof *fb));

    fb->next_tid = 100;
    fb->next_pid = 7;
    fb->max_push = 64 << 10;
    fb->now_ms = 1700000000000;
    fb->slot_run = 1;
    fb->group_room = FAKE_MESSAGES;
    fb->limits = (struct msg_limits){.frame = LIMIT_FRAME,
                                     .batch = LIMIT_BATCH,
                                     .message = LIMIT_MESSAGE_DEFAULT,
                                     .inflight = LIMIT_INFLIGHT_REQUESTS,
                                     .inflight_bytes = LIMIT_INFLIGHT_BYTES,
                                     .partitions_per_fetch = LIMIT_FETCH_PARTITIONS,
                                     .subs = LIMIT_SUBS,
                                     .name = LIMIT_NAME,
                                     .producer_window = LIMIT_PRODUCER_WINDOW,
                                     .unzipped = LIMIT_UNZIPPED};
    return fb;
}

static void topic_free(struct fake_topic *t)
{
    for (size_t p = 0; t && p < FAKE_PARTITIONS; p++) {
        for (size_t i = 0; i < t->parts[p].n; i++) {
            free(t->parts[p].batches[i].p);
        }
        free(t->parts[p].batches);
        for (size_t i = 0; i < t->delayed[p].n; i++) {
            free(t->delayed[p].batches[i].p);
        }
        free(t->delayed[p].batches);
    }
    free(t);
}

void fake_free(struct fake_broker *fb)
{
    for (size_t i = 0; i < FAKE_TOPICS; i++) {
        topic_free(fb->topics[i]);
    }
    fake_groups_free(fb);
    free(fb);
}

struct fake_topic *fake_topic(struct fake_broker *fb, const char *name)
{
    for (size_t i = 0; i < FAKE_TOPICS; i++) {
        if (fb->topics[i] && strcmp(fb->topics[i]->name, name) == 0) {
            return fb->topics[i];
        }
    }
    return NULL;
}

struct fake_topic *fake_topic_add(struct fake_broker *fb, const char *name, uint32_t partitions)
{
    for (size_t i = 0; i < FAKE_TOPICS; i++) {
        if (!fb->topics[i]) {
            struct fake_topic *t = fb->topics[i] = need(calloc(1, sizeof *t));

            snprintf(t->name, sizeof t->name, "%s", name);
            t->tid = fb->next_tid++;
            topic_config_defaults(&t->conf);
            t->conf.set = UINT32_MAX;
            t->conf.partitions = partitions < FAKE_PARTITIONS ? partitions : FAKE_PARTITIONS;
            return t;
        }
    }
    return NULL;
}

void fake_topic_drop(struct fake_broker *fb, const char *name)
{
    for (size_t i = 0; i < FAKE_TOPICS; i++) {
        if (fb->topics[i] && strcmp(fb->topics[i]->name, name) == 0) {
            topic_free(fb->topics[i]);
            fb->topics[i] = NULL;
        }
    }
}

static struct fake_topic *by_id(struct fake_broker *fb, uint64_t tid)
{
    for (size_t i = 0; i < FAKE_TOPICS; i++) {
        if (fb->topics[i] && fb->topics[i]->tid == tid) {
            return fb->topics[i];
        }
    }
    return NULL;
}

struct fake_partition *fake_partition(struct fake_broker *fb, uint64_t tid, uint32_t p)
{
    struct fake_topic *t = by_id(fb, tid);

    return t && p < t->conf.partitions ? &t->parts[p] : NULL;
}

uint64_t fake_count(const struct fake_topic *t)
{
    uint64_t n = 0;

    for (uint32_t p = 0; p < t->conf.partitions; p++) {
        n += t->parts[p].end - t->parts[p].log_start;
    }
    return n;
}

void fake_trim(struct fake_topic *t, uint32_t p, uint64_t start)
{
    t->parts[p].log_start = start;
}

static uint64_t store(struct fake_broker *fb, struct fake_partition *part, const uint8_t *p,
                      size_t n, uint32_t count)
{
    struct fake_stored *s;

    if (part->n == part->cap) {
        part->cap = part->cap ? part->cap * 2 : 16;
        part->batches = need(realloc(part->batches, part->cap * sizeof *part->batches));
    }
    s = &part->batches[part->n++];
    *s = (struct fake_stored){need(malloc(n)), n, part->end, count, 0};
    memcpy(s->p, p, n);
    batch_stamp(s->p, part->end, fb->now_ms, 1);
    part->end += count;
    return s->base;
}

void fake_append(struct fake_broker *fb, const char *topic, uint32_t p, const char *const *values,
                 size_t n, int codec)
{
    struct fake_topic *t = fake_topic(fb, topic);
    struct batch_builder bb;
    struct buf zip = {0};
    struct slice out;

    batch_builder_init(&bb, 0);
    for (size_t i = 0; i < n; i++) {
        if (batch_add(&bb, fb->now_ms, (struct slice){0}, slice_str(values[i]), NULL, 0)) {
            abort();
        }
    }
    if (batch_finish(&bb, NULL, codec, &zip, &out)) {
        abort();
    }
    store(fb, &t->parts[p], out.p, out.n, (uint32_t)n);
    batch_builder_fini(&bb);
    buf_fini(&zip);
}

int64_t fake_find(const struct fake_topic *t, uint32_t p, const char *value)
{
    const struct fake_partition *part = &t->parts[p];

    for (size_t i = 0; i < part->n; i++) {
        struct slice run = slice_of(part->batches[i].p, part->batches[i].n), batch;
        struct batch_head h;
        struct record_iter it;
        struct record rec;
        struct buf scratch = {0};
        struct werror e;
        int64_t offset = (int64_t)part->batches[i].base;

        if (batch_next(&run, true, &h, &batch, &e) || record_open(&it, batch, &h, &scratch, &e)) {
            abort();
        }
        for (; record_next(&it, &rec); offset++) {
            if (slice_eq(rec.value, slice_str(value))) {
                buf_fini(&scratch);
                return offset;
            }
        }
        buf_fini(&scratch);
    }
    return -1;
}

/* ---------------------------------------------------------------- produce */

/* A new producer takes the place of the oldest one when there are too many. */
static size_t producers_known(const struct fake_broker *fb)
{
    return fb->n_producers < FAKE_PRODUCERS ? fb->n_producers : FAKE_PRODUCERS;
}

static struct fake_producer *producer_of(struct fake_broker *fb, uint64_t pid)
{
    for (size_t i = 0; i < producers_known(fb); i++) {
        if (fb->producers[i].pid == pid) {
            return &fb->producers[i];
        }
    }
    return NULL;
}

/* The rules of idempotence; WERR_OK with ok filled, or an error. */
static enum werr append_checked(struct fake_broker *fb, struct fake_partition *part,
                                const struct msg_produce *m, const struct batch_head *h,
                                struct msg_produce_ok *ok, struct werror *e)
{
    struct fake_producer *pr = producer_of(fb, h->producer_id);
    struct fake_seen *last = NULL;

    *ok = (struct msg_produce_ok){.has_offset = true, .append_ms = fb->now_ms, .level = LEVEL_DISK};
    if (!pr) {
        return werror_set(e, WERR_UNKNOWN_PRODUCER, "unknown producer");
    }
    if (h->producer_epoch < pr->epoch) {
        return werror_set(e, WERR_PRODUCER_FENCED, "fenced");
    }
    for (size_t i = 0; i < part->n_seen; i++) {
        struct fake_seen *s = &part->seen[i];

        if (s->pid == h->producer_id) {
            last = s;
            if (s->base_seq == h->base_seq) {
                ok->base_offset = s->offset;
                ok->flags = PRODUCE_DUPLICATE;
                return WERR_OK;
            }
        }
    }
    if (h->base_seq != (last ? last->base_seq + last->count : 0)) {
        return werror_set(e, WERR_OUT_OF_ORDER_SEQ, "sequence %u", h->base_seq);
    }
    ok->base_offset = store(fb, part, m->batch.p, m->batch.n, h->count);
    if (part->n_seen == FAKE_WINDOW) {
        memmove(part->seen, part->seen + 1, (FAKE_WINDOW - 1) * sizeof *part->seen);
        part->n_seen--;
    }
    part->seen[part->n_seen++] =
        (struct fake_seen){h->producer_id, h->base_seq, h->count, ok->base_offset};
    return WERR_OK;
}

/* The same in the sequence of delayed batches: no offset, an id. */
static enum werr delay_checked(struct fake_broker *fb, struct fake_partition *part,
                               const struct msg_produce *m, const struct batch_head *h,
                               struct msg_produce_ok *ok, struct werror *e)
{
    enum werr rc = append_checked(fb, part, m, h, ok, e);

    if (rc == WERR_OK) {
        if (!(ok->flags & PRODUCE_DUPLICATE)) {
            part->batches[part->n - 1].due_ms = m->deliver_at_ms;
        }
        snprintf(fb->delay_id, sizeof fb->delay_id, "d%u-%llu", m->p,
                 (unsigned long long)ok->base_offset);
        ok->delay_id = slice_str(fb->delay_id);
        ok->has_offset = false;
    }
    return rc;
}

static enum werr do_produce(struct fake_broker *fb, const struct msg_produce *m,
                            struct msg_produce_ok *ok, struct werror *e)
{
    struct batch_rules rules = {LIMIT_BATCH, LIMIT_MESSAGE_CAP, LIMIT_BATCH_RECORDS, true, true};
    struct fake_topic *t = by_id(fb, m->tid);
    struct batch_head h;
    enum werr rc;

    if (!t || m->p >= t->conf.partitions) {
        return werror_set(e, WERR_UNKNOWN_TOPIC, "unknown topic");
    }
    rules.max_message_bytes = t->conf.message_max_bytes;
    rc = batch_check((uint8_t *)(uintptr_t)m->batch.p, m->batch.n, &rules, &h, e);
    if (rc == WERR_OK && m->deliver_at_ms != 0) {
        return delay_checked(fb, &t->delayed[m->p], m, &h, ok, e);
    }
    return rc ? rc : append_checked(fb, &t->parts[m->p], m, &h, ok, e);
}

/* ---------------------------------------------------------------- other requests */

static void do_init_producer(struct fake_conn *c, uint32_t corr, struct slice name)
{
    struct fake_broker *fb = c->fb;
    struct msg_producer_pos pos[FAKE_TOPICS * FAKE_PARTITIONS];
    struct fake_producer *pr = NULL;
    size_t n = 0;

    for (size_t i = 0; i < producers_known(fb) && name.n; i++) {
        if (slice_eq(name, slice_str(fb->producers[i].name))) {
            pr = &fb->producers[i];
            pr->epoch++;
        }
    }
    if (!pr) {
        pr = &fb->producers[fb->n_producers++ % FAKE_PRODUCERS];
        *pr = (struct fake_producer){.pid = fb->next_pid++, .epoch = 1};
        snprintf(pr->name, sizeof pr->name, "%.*s", (int)name.n, (const char *)name.p);
    }
    for (size_t i = 0; i < FAKE_TOPICS && name.n; i++) {
        for (uint32_t p = 0; fb->topics[i] && p < FAKE_PARTITIONS; p++) {
            const struct fake_partition *part = &fb->topics[i]->parts[p];
            const struct fake_seen *last = NULL;

            for (size_t k = 0; k < part->n_seen; k++) {
                last = part->seen[k].pid == pr->pid ? &part->seen[k] : last;
            }
            if (last) {
                pos[n++] = (struct msg_producer_pos){fb->topics[i]->tid, p,
                                                     last->base_seq + last->count - 1,
                                                     last->offset + last->count - 1};
            }
        }
    }
    msg_put_init_producer_ok(&c->out, corr, pr->pid, pr->epoch, pos, n);
}

static void put_topic_meta(const struct fake_broker *fb, struct buf *b, struct slice name,
                           const struct fake_topic *t)
{
    struct msg_part_meta parts[FAKE_PARTITIONS];
    struct msg_slot_run runs[LIMIT_SLOTS];
    struct werror e = {0};
    size_t n = 0;

    if (!t) {
        werror_set(&e, WERR_UNKNOWN_TOPIC, "unknown topic");
        msg_put_topic_meta(b, name, 0, &e, NULL, 0, NULL, 0, NULL);
        return;
    }
    for (uint32_t p = 0; p < t->conf.partitions; p++) {
        parts[p] = (struct msg_part_meta){p, 1, 1};
    }
    for (uint32_t s = 0; s < LIMIT_SLOTS; n++) {
        uint32_t left = LIMIT_SLOTS - s, count = fb->slot_run < left ? fb->slot_run : left;

        runs[n] = (struct msg_slot_run){count, (uint32_t)n % t->conf.partitions};
        s += count;
    }
    msg_put_topic_meta(b, name, t->tid, NULL, parts, t->conf.partitions, runs, n, &t->conf);
}

static void do_metadata(struct fake_conn *c, uint32_t corr, struct msg_metadata *m)
{
    struct fake_broker *fb = c->fb;
    size_t n = m->n_names, begin;

    for (size_t i = 0; i < FAKE_TOPICS && m->all; i++) {
        n += fb->topics[i] != NULL;
    }
    begin = msg_begin_metadata_ok(&c->out, corr, 1, 1, slice_str("localhost"), 9347, n);
    for (size_t i = 0; i < FAKE_TOPICS && m->all; i++) {
        if (fb->topics[i]) {
            put_topic_meta(fb, &c->out, slice_str(fb->topics[i]->name), fb->topics[i]);
        }
    }
    for (uint32_t i = 0; i < m->n_names && !m->all; i++) {
        struct slice name = mpread_str(&m->names, LIMIT_NAME);
        char text[LIMIT_NAME + 1];

        snprintf(text, sizeof text, "%.*s", (int)name.n, (const char *)name.p);
        put_topic_meta(fb, &c->out, name, fake_topic(fb, text));
    }
    msg_end_metadata_ok(&c->out, begin, (struct slice){0});
}

static void do_list_offsets(struct fake_conn *c, uint32_t corr, struct mpread *args, uint32_t n)
{
    struct msg_offset *o = need(calloc(n + 1, sizeof *o));
    struct msg_offset_spec s;
    uint32_t i = 0;

    (void)n;
    while (msg_next_offset_spec(args, &s)) {
        struct fake_topic *t = by_id(c->fb, s.tid);

        o[i] = (struct msg_offset){.tid = s.tid, .p = s.p};
        if (!t || s.p >= t->conf.partitions) {
            werror_set(&o[i].err, WERR_UNKNOWN_TOPIC, "unknown topic");
        } else {
            const struct fake_partition *part = &t->parts[s.p];

            o[i].offset = s.spec == OFFSET_SPEC_END ? part->end : part->log_start;
            o[i].ts_ms = part->end > part->log_start ? c->fb->now_ms : 0;
            if (s.spec >= 0 && s.spec > c->fb->now_ms) {
                o[i].offset = part->end;
                o[i].ts_ms = 0;
            }
        }
        i++;
    }
    msg_put_list_offsets_ok(&c->out, corr, o, i);
    free(o);
}

static void do_subscribe(struct fake_conn *c, uint32_t corr, struct msg_subscribe *m,
                         struct werror *e)
{
    struct msg_sub_part part;
    struct mpread look = m->parts;

    while (m->who.group.n && msg_next_sub_part(&look, &part)) {
        if (!fake_group_may_read(c->fb, &m->who, part.tid, part.p, e)) {
            return;
        }
    }
    for (size_t i = 0; i < 8; i++) {
        struct fake_sub *s = &c->subs[i];

        if (!s->used) {
            *s = (struct fake_sub){.used = true, .id = m->sub, .limit = m->credit};
            s->for_group = m->who.group.n > 0;
            while (msg_next_sub_part(&m->parts, &part) && s->n_parts < FAKE_PARTITIONS) {
                s->parts[s->n_parts++] =
                    (struct fake_pos){part.tid, part.p, part.offset, false, false};
            }
            break;
        }
    }
    msg_put_ok(&c->out, corr);
}

static struct fake_sub *sub_of(struct fake_conn *c, uint32_t id)
{
    for (size_t i = 0; i < 8; i++) {
        if (c->subs[i].used && c->subs[i].id == id) {
            return &c->subs[i];
        }
    }
    return NULL;
}

static void do_update(struct fake_conn *c, uint32_t corr, struct msg_sub_update *m)
{
    struct fake_sub *s = sub_of(c, m->sub);
    struct msg_sub_part part;
    uint64_t tid;
    uint32_t p;

    if (s && m->n_add == 0 && m->n_drop == 0) {
        s->used = false;
    }
    while (s && msg_next_drop(&m->drop, &tid, &p)) {
        for (size_t i = 0; i < s->n_parts; i++) {
            if (s->parts[i].tid == tid && s->parts[i].p == p) {
                s->parts[i--] = s->parts[--s->n_parts];
            }
        }
    }
    while (s && msg_next_sub_part(&m->add, &part) && s->n_parts < FAKE_PARTITIONS) {
        s->parts[s->n_parts++] = (struct fake_pos){part.tid, part.p, part.offset, false, false};
    }
    msg_put_ok(&c->out, corr);
}

static void push_part(struct fake_conn *c, struct fake_sub *s, struct fake_pos *pos)
{
    struct fake_topic *t = by_id(c->fb, pos->tid);
    const struct fake_partition *part = t ? &t->parts[pos->p] : NULL;
    struct werror e = {0};

    if (!part || pos->offset < part->log_start || pos->offset > part->end) {
        struct frame_detail d[2] = {{"log_start", NULL, part ? part->log_start : 0},
                                    {"hw", NULL, part ? part->end : 0}};

        werror_set(&e, part ? WERR_OFFSET_OUT_OF_RANGE : WERR_UNKNOWN_TOPIC, "no such offset");
        msg_put_sub_error(&c->out, s->id, pos->tid, pos->p, &e, d, part ? 2 : 0);
        pos->stopped = true;
        return;
    }
    for (size_t i = 0; i < part->n && s->sent < s->limit; i++) {
        const struct fake_stored *b = &part->batches[i];
        size_t at;

        if (b->base + b->count <= pos->offset) {
            continue;
        }
        at = msg_begin_deliver(&c->out, s->id, 1);
        msg_put_deliver_part_head(&c->out, pos->tid, pos->p, part->end, b->n);
        buf_put(&c->out, b->p, b->n);
        frame_end(&c->out, at, 0);
        s->sent += b->n;
        pos->offset = b->base + b->count;
        pos->caught_up = false;
    }
    if (pos->offset == part->end && !pos->caught_up) {
        size_t at = msg_begin_deliver(&c->out, s->id, 1);

        msg_put_deliver_part_head(&c->out, pos->tid, pos->p, part->end, 0);
        frame_end(&c->out, at, 0);
        pos->caught_up = true;
    }
}

void fake_conn_push(struct fake_conn *c)
{
    fake_group_push(c);
    for (size_t i = 0; i < 8; i++) {
        struct fake_sub *s = &c->subs[i];

        for (size_t k = 0; s->used && k < s->n_parts; k++) {
            if (!s->parts[k].stopped) {
                push_part(c, s, &s->parts[k]);
            }
        }
    }
}

static void put_error(struct fake_conn *c, uint32_t corr, const struct werror *e)
{
    frame_put_error(&c->out, corr, e, NULL, 0);
}

static void do_topic(struct fake_conn *c, struct frame *f, struct werror *e)
{
    struct msg_topic m;
    struct fake_topic *t;
    char name[LIMIT_TOPIC_NAME + 1];
    struct slice n;

    if (f->op == OP_TOPIC_CREATE || f->op == OP_TOPIC_ALTER) {
        if (msg_get_topic_create(&f->args, &m, e)) {
            return;
        }
        n = m.name;
    } else if (f->op == OP_TOPIC_DELETE) {
        if (msg_get_topic_delete(&f->args, &m, e)) {
            return;
        }
        n = m.name;
    } else if (msg_get_topic_describe(&f->args, &n, e)) {
        return;
    }
    snprintf(name, sizeof name, "%.*s", (int)n.n, (const char *)n.p);
    t = fake_topic(c->fb, name);
    if (f->op == OP_TOPIC_CREATE) {
        if (t) {
            werror_set(e, WERR_EXISTS, "topic %s exists", name);
            return;
        }
        t = fake_topic_add(c->fb, name, m.conf.set & TKEY_PARTITIONS ? m.conf.partitions : 4);
        topic_config_merge(&t->conf, &m.conf);
        msg_put_topic_ok(&c->out, f->id, t->tid, &t->conf);
        if (m.dry_run) {
            fake_topic_drop(c->fb, name);
        }
        return;
    }
    if (!t) {
        werror_set(e, WERR_UNKNOWN_TOPIC, "unknown topic %s", name);
    } else if (f->op == OP_TOPIC_ALTER) {
        topic_config_merge(&t->conf, &m.conf);
        msg_put_topic_ok(&c->out, f->id, t->tid, &t->conf);
    } else if (f->op == OP_TOPIC_DELETE) {
        msg_put_topic_delete_ok(&c->out, f->id, t->tid, 4711);
        if (!m.dry_run) {
            fake_topic_drop(c->fb, name);
        }
    } else {
        struct msg_part_stat st[FAKE_PARTITIONS];

        for (uint32_t p = 0; p < t->conf.partitions; p++) {
            st[p] = (struct msg_part_stat){p, 1, t->parts[p].log_start, t->parts[p].end, 5, 6};
        }
        msg_put_topic_describe_ok(&c->out, f->id, n, t->tid, c->fb->now_ms, &t->conf, st,
                                  t->conf.partitions);
    }
}

/* ---------------------------------------------------------------- connection */

static void do_hello(struct fake_conn *c, uint32_t corr)
{
    static const uint8_t id[16] = "fake-connection";
    static const uint8_t cluster[16] = {0xab, 0xcd};
    static const char *const features[] = {"stream", NULL};
    struct msg_hello_ok m = {.proto = WEIR_PROTO_VERSION,
                             .server = slice_str("fake"),
                             .version = slice_str("1"),
                             .limits = c->fb->limits,
                             .conn_id = slice_of(id, 16),
                             .cluster_id = slice_of(cluster, 16),
                             .broker = 1};

    msg_put_hello_ok(&c->out, corr, &m, features);
    c->ready = true;
}

/* Five connections in pages of two, two settings, a backup. */
static void do_server(struct fake_conn *c, struct frame *f, struct werror *e)
{
    enum { CONNS = 5, PAGE = 2 };
    const struct msg_server_setting settings[] = {
        {slice_str("memory"), slice_str("256M"), slice_str("default"), false},
        {slice_str("inflight"), slice_str("64M"), slice_str("--inflight"), true}};
    const struct msg_backup backup = {slice_str("/b/x"), 3, 1000, 1795558212345, 7};
    struct slice name;
    uint64_t from;
    uint32_t limit;
    size_t at;

    if (f->op == OP_BACKUP_CREATE && msg_get_backup_create(&f->args, &name, e) == WERR_OK) {
        msg_put_backup_create_ok(&c->out, f->id, &backup);
    } else if (f->op == OP_SERVER_CONFIG && msg_get_empty(&f->args, e) == WERR_OK) {
        at = msg_begin_server_config_ok(&c->out, f->id, 2);
        msg_put_server_setting(&c->out, &settings[0]);
        msg_put_server_setting(&c->out, &settings[1]);
        frame_end(&c->out, at, 0);
    } else if (f->op == OP_SERVER_CONNECTIONS &&
               msg_get_server_conns(&f->args, &from, &limit, e) == WERR_OK) {
        uint64_t n = from < CONNS ? CONNS - from : 0;

        n = n < PAGE ? n : PAGE;
        at = msg_begin_server_conns_ok(&c->out, f->id, (size_t)n);
        for (uint64_t i = 0; i < n; i++) {
            const struct msg_server_conn m = {.id = from + i,
                                              .client = slice_str("c/1"),
                                              .address = slice_str("unix"),
                                              .state = slice_str("ready"),
                                              .subs = i};
            msg_put_server_conn(&c->out, &m);
        }
        msg_end_server_conns_ok(&c->out, at, from + n < CONNS, from + n);
    }
}

static void do_request(struct fake_conn *c, struct frame *f, struct werror *e)
{
    struct msg_hello hello;
    struct msg_init_producer init;
    struct msg_metadata meta;
    struct msg_subscribe sub;
    struct msg_sub_update upd;
    struct slice prefix;
    uint32_t n;

    if (f->op == OP_HELLO && msg_get_hello(&f->args, &hello, e) == WERR_OK) {
        do_hello(c, f->id);
    } else if (f->op == OP_PING && msg_get_empty(&f->args, e) == WERR_OK) {
        msg_put_ping_ok(&c->out, f->id, c->fb->now_ms);
    } else if (f->op == OP_INIT_PRODUCER && msg_get_init_producer(&f->args, &init, e) == WERR_OK) {
        do_init_producer(c, f->id, init.name);
    } else if (f->op == OP_METADATA && msg_get_metadata(&f->args, &meta, e) == WERR_OK) {
        do_metadata(c, f->id, &meta);
    } else if (f->op == OP_LIST_OFFSETS && msg_get_list_offsets(&f->args, &n, e) == WERR_OK) {
        do_list_offsets(c, f->id, &f->args, n);
    } else if (f->op == OP_SUBSCRIBE && msg_get_subscribe(&f->args, &sub, e) == WERR_OK) {
        do_subscribe(c, f->id, &sub, e);
    } else if (f->op == OP_SUB_UPDATE && msg_get_sub_update(&f->args, &upd, e) == WERR_OK) {
        do_update(c, f->id, &upd);
    } else if (f->op >= OP_TOPIC_CREATE && f->op <= OP_TOPIC_DESCRIBE) {
        do_topic(c, f, e);
    } else if (f->op == OP_METRICS && msg_get_metrics(&f->args, &prefix, e) == WERR_OK) {
        size_t at = msg_begin_metrics_ok(&c->out, f->id, 2);

        msg_put_metric(&c->out, "weir_a", NULL, NULL, 1);
        msg_put_metric(&c->out, "weir_b", "topic", "x", 2);
        frame_end(&c->out, at, 0);
    } else if (f->op >= OP_SERVER_CONNECTIONS && f->op <= OP_BACKUP_CREATE) {
        do_server(c, f, e);
    } else if (e->code == WERR_OK && !fake_group_request(c, f, e)) {
        werror_set(e, WERR_UNKNOWN_OP, "op %u", f->op);
    }
}

static void on_produce(struct fake_conn *c, struct frame *f, enum fake_verdict v,
                       const struct msg_produce *m, struct werror *e)
{
    struct msg_produce_ok ok;

    if (v == FAKE_GO || v == FAKE_MUTE) {
        enum werr rc = do_produce(c->fb, m, &ok, e);

        if (v == FAKE_GO && rc == WERR_OK) {
            msg_put_produce_ok(&c->out, f->id, &ok);
        } else if (v == FAKE_GO) {
            put_error(c, f->id, e);
        }
    } else if (v == FAKE_REFUSE) {
        put_error(c, f->id, e);
    }
}

static void on_request(struct fake_conn *c, struct frame *f)
{
    struct fake_hooks *hooks = &c->fb->hooks;
    struct msg_produce m = {0};
    struct batch_head h = {0};
    struct werror e = {0}, told = {0};
    enum fake_verdict v = FAKE_GO;
    size_t before = c->out.len;

    c->fb->requests[f->op % 128]++;
    if (f->op == OP_PRODUCE && msg_get_produce(&f->args, &m, &e) == WERR_OK) {
        batch_head_read(m.batch.p, &h);
    }
    if (e.code == WERR_OK && hooks->request) {
        v = hooks->request(hooks->arg, f->op, &m, &h, &e);
    }
    if (f->op == OP_PRODUCE) {
        on_produce(c, f, v, &m, &e);
        return;
    }
    if (v == FAKE_MUTE) {
        told = e;
        e = (struct werror){0};
    }
    if (v == FAKE_GO || v == FAKE_MUTE) {
        do_request(c, f, &e);
    }
    if (v == FAKE_MUTE) {
        c->out.len = before;
        if (told.code != WERR_OK) {
            put_error(c, f->id, &told);
        }
    } else if (e.code != WERR_OK && v != FAKE_SILENT) {
        put_error(c, f->id, &e);
    }
}

void fake_conn_init(struct fake_conn *c, struct fake_broker *fb)
{
    *c = (struct fake_conn){.fb = fb};
}

void fake_conn_fini(struct fake_conn *c)
{
    buf_fini(&c->in);
    buf_fini(&c->out);
}

bool fake_conn_input(struct fake_conn *c, const void *p, size_t n)
{
    struct werror e = {0};
    size_t total;

    buf_put(&c->in, p, n);
    while (!c->dead && frame_length(c->in.p, c->in.len, LIMIT_FRAME, &total, &e) == WERR_OK &&
           total <= c->in.len) {
        struct frame f;
        uint64_t limit;
        struct fake_sub *s;

        if (frame_parse(slice_of(c->in.p + FRAME_HEAD, total - FRAME_HEAD), &f, &e) ||
            (!c->ready && f.op != OP_HELLO)) {
            c->dead = true;
        } else if (f.kind == FRAME_REQUEST) {
            on_request(c, &f);
        } else if (f.kind == FRAME_NOTIFY && f.op == OP_CREDIT) {
            s = sub_of(c, f.id);
            if (s && msg_get_credit(&f.args, &limit, &e) == WERR_OK) {
                s->limit = limit;
                c->fb->requests[OP_CREDIT]++;
            }
        }
        buf_consume(&c->in, total);
    }
    return !c->dead;
}
