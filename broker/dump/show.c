/* What a store holds, for people. */
#include <inttypes.h>
#include <stdlib.h>

#include "broker/core/core_group.h"
#include "broker/dump/dump.h"

static void show_topic(struct dump *d, struct core_topic *t)
{
    struct msg_part_stat *stats = calloc(t->n_parts, sizeof *stats);

    if (stats == NULL) {
        abort();
    }
    core_topic_stats(d->co, t, stats);
    fprintf(d->out, "topic %.*s  id %" PRIu64 "  partitions %u\n", (int)t->name_n, t->name, t->tid,
            t->n_parts);
    for (uint32_t p = 0; p < t->n_parts; p++) {
        fprintf(d->out, "  %4u  store %u  offsets %" PRIu64 " to %" PRIu64 "  %" PRIu64 " bytes\n",
                p, t->parts[p]->id, stats[p].log_start, stats[p].hw, stats[p].bytes);
    }
    free(stats);
}

static void show_group(struct dump *d, struct core_group *g)
{
    struct msg_group_describe about;
    struct msg_group_member *members;
    struct msg_group_part *parts;
    size_t n_members, n_parts;

    core_group_describe(d->co, g, &about, &members, &n_members, &parts, &n_parts);
    fprintf(d->out, "group %.*s  %s  generation %" PRIu64 "  partitions %zu\n",
            (int)about.row.name.n, (const char *)about.row.name.p,
            about.row.mode == GROUP_MODE_LOG ? "log" : "queue", about.epoch, n_parts);
    for (size_t i = 0; i < n_parts; i++) {
        fprintf(d->out,
                "  %.*s/%u  position %" PRIu64 " of %" PRIu64 "  in flight %" PRIu64
                "  retrying %" PRIu64 "\n",
                (int)parts[i].topic.n, (const char *)parts[i].topic.p, parts[i].p,
                parts[i].position, parts[i].hw, parts[i].in_flight, parts[i].retrying);
    }
    free(members);
    free(parts);
}

void dump_show(struct dump *d)
{
    static const char *const names[TABLE_COUNT] = {"meta",        "log_1d", "log_7d", "log_30d",
                                                   "log_forever", "delay",  "hold"};
    struct slice after = {0};
    struct core_group *g;
    struct store_stats s;

    store_stats(d->st, &s);
    fprintf(d->out, "store epoch %" PRIu64 "  lsn %" PRIu64 "  buckets %u\n", s.epoch, s.lsn,
            s.buckets);
    for (struct core_topic *t; (t = core_topic_after(d->co, after)) != NULL;
         after = core_topic_name(t)) {
        show_topic(d, t);
    }
    for (after = slice_of(NULL, 0); (g = core_group_after(d->co, after)) != NULL;) {
        struct msg_group_row row;
        show_group(d, g);
        core_group_row(d->co, g, &row);
        after = row.name;
    }
    for (int t = 0; t < TABLE_COUNT; t++) {
        fprintf(d->out, "table %-12s rows %" PRIu64 "  bytes %" PRIu64 "\n", names[t], d->rows[t],
                d->bytes[t]);
    }
    for (int tag = 0; tag < DUMP_TAGS; tag++) {
        if (d->tags[tag] > 0) {
            fprintf(d->out, "meta %c  rows %" PRIu64 "\n", tag, d->tags[tag]);
        }
    }
    fprintf(d->out,
            "batches %" PRIu64 "  messages %" PRIu64 "  delayed %" PRIu64 "  dead rows %" PRIu64
            "\n",
            d->batches, d->messages, d->delayed, d->dead_rows);
}

/* ---------------------------------------------------------------- batches */

struct one {
    struct dump *d;
    const struct part *part;
    uint64_t from, left;
};

static enum werr show_row(void *arg, struct slice key, struct slice value)
{
    struct one *o = arg;
    uint32_t bucket, partition;
    uint64_t base;
    struct batch_head h;
    struct slice batch;
    struct werror e;

    log_key_parse(key.p, &bucket, &partition, &base);
    while (partition == o->part->id && o->left > 0 &&
           batch_next(&value, false, &h, &batch, &e) == WERR_OK) {
        if (h.base_offset + h.count <= o->from) {
            continue;
        }
        fprintf(o->d->out,
                "offset %" PRIu64 "  messages %u  bytes %u  append_ms %" PRId64
                "  producer %" PRIu64 "/%u  sequence %u  codec %u  bucket %u\n",
                h.base_offset, h.count, h.length, h.append_ms, h.producer_id, h.producer_epoch,
                h.base_seq, h.codec, bucket);
        o->left--;
    }
    return WERR_OK;
}

bool dump_batches(struct dump *d, const char *topic, uint32_t p, uint64_t from, uint64_t n)
{
    struct core_topic *t = core_topic_by_name(d->co, slice_str(topic));
    struct werror e;

    if (t == NULL || p >= t->n_parts) {
        return false;
    }
    struct one o = {.d = d, .part = t->parts[p], .from = from, .left = n};
    struct store_range r;
    for (size_t i = 0; store_range_at(d->st, o.part->id, i, &r) && o.left > 0; i++) {
        uint8_t lo[LOG_KEY_BYTES], hi[LOG_KEY_BYTES];
        log_key(lo, r.bucket, o.part->id, r.first);
        log_key(hi, r.bucket, o.part->id, r.next);
        if (r.next > from && store_scan(d->st, r.table, slice_of(lo, sizeof lo),
                                        slice_of(hi, sizeof hi), show_row, &o, &e) != WERR_OK) {
            dump_problem(d, "%s/%u: %s", topic, p, e.text);
        }
    }
    return true;
}
