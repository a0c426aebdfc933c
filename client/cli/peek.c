/*
 * weir peek: a few messages with their metadata.
 * Happy path: messages are shown as they come, until there are enough or the end is reached. For
 * --from latest two passes are made: the first reads the last N of each partition and keeps only
 * their places; the newest N of all are then, in each partition, the ones from some offset on, and
 * the second pass shows those.
 * What can fail: the server's answers (one line).
 * Who owns what: a subscription lives for one range; the list of places belongs to the peek.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/cli/message_json.h"
#include "client/cli/reader.h"
#include "client/cli/run.h"
#include "client/cli/table.h"
#include "client/cli/text.h"

enum { COUNT_DEFAULT = 10, CELL_COLUMNS = 60, KEY_COLUMNS = 24, CELL_SIZE = 512 };

struct place {
    int64_t append_ms, offset;
    int32_t partition;
};

struct peek {
    struct session s;
    const char *topic;
    int64_t max;
    struct table table;
    struct json json;
    struct place *places;
    size_t n_places, cap_places;
};

typedef int (*message_fn)(struct peek *p, const weir_message *m);

static int show(struct peek *p, const weir_message *m)
{
    char text[CELL_SIZE];
    switch (p->s.output) {
    case OUTPUT_NAME:
        printf("%s/%" PRId32 "/%" PRId64 "\n", m->topic, m->partition, m->offset);
        break;
    case OUTPUT_JSON:
        message_json(&p->json, m);
        break;
    case OUTPUT_JSONL:
        message_json(&p->json, m);
        json_end(&p->json);
        break;
    case OUTPUT_TABLE:
        table_cellf(&p->table, "%" PRId32, m->partition);
        table_cellf(&p->table, "%" PRId64, m->offset);
        table_cell(&p->table, time_text(text, m->append_ms));
        table_cell(&p->table, m->key.data ? text_for_cell(text, sizeof text, m->key.data,
                                                          m->key.size, KEY_COLUMNS)
                                          : "-");
        table_cellf(&p->table, "%zu", m->value.size);
        table_cell(&p->table, m->value.data ? text_for_cell(text, sizeof text, m->value.data,
                                                            m->value.size, CELL_COLUMNS)
                                            : "-");
        break;
    }
    return EXIT_DONE;
}

static int remember(struct peek *p, const weir_message *m)
{
    if (p->n_places == p->cap_places) {
        size_t cap = p->cap_places ? p->cap_places * 2 : 64;
        struct place *more = reallocarray(p->places, cap, sizeof *more);
        if (!more) {
            return cli_fail(EXIT_REFUSED, "out of memory");
        }
        p->places = more;
        p->cap_places = cap;
    }
    p->places[p->n_places++] = (struct place){m->append_ms, m->offset, m->partition};
    return EXIT_DONE;
}

/* Reads up to `count` messages and gives each to fn. */
static int read_range(struct peek *p, const struct start *start, int32_t partition, int64_t count,
                      message_fn fn)
{
    weir_sub *sub = NULL;
    int r = reader_open(p->s.w, p->topic, start, partition, "stop_at_end=1", &sub);
    for (int64_t i = 0; !r && i < count; i++) {
        const weir_message *m = weir_next(sub, p->s.timeout_ms);
        if (!m) {
            weir_error e = weir_sub_error(sub);
            r = e.code == WEIR_OK ? EXIT_DONE : session_fail_topic(&p->s, p->topic, &e);
            break;
        }
        r = fn(p, m);
        weir_done(m, WEIR_ACK);
    }
    weir_unsubscribe(sub);
    return r;
}

static int newest_first(const void *a, const void *b)
{
    const struct place *x = a;
    const struct place *y = b;
    if (x->append_ms != y->append_ms) {
        return x->append_ms > y->append_ms ? -1 : 1;
    }
    if (x->partition != y->partition) {
        return x->partition < y->partition ? -1 : 1;
    }
    return x->offset > y->offset ? -1 : x->offset < y->offset;
}

/* Shows those of the newest places that lie in a partition. */
static int show_newest(struct peek *p, int32_t partition)
{
    struct start start = {START_OFFSET, INT64_MAX};
    int64_t count = 0;
    for (size_t i = 0; i < p->n_places && i < (size_t)p->max; i++) {
        if (p->places[i].partition == partition) {
            count++;
            start.value = p->places[i].offset < start.value ? p->places[i].offset : start.value;
        }
    }
    return count ? read_range(p, &start, partition, count, show) : EXIT_DONE;
}

static int peek_latest(struct peek *p, int32_t only)
{
    weir_topic *t = NULL;
    weir_partition_info info;
    int r = EXIT_DONE;
    weir_error e = weir_topic_describe(p->s.w, p->topic, &t, p->s.timeout_ms);
    if (e.outcome != WEIR_DONE) {
        r = session_fail_topic(&p->s, p->topic, &e);
    } else if (only >= weir_topic_partitions(t)) {
        r = cli_fail(EXIT_NOT_FOUND, "topic '%s' has no partition %" PRId32, p->topic, only);
    }
    for (int32_t i = 0; !r && weir_topic_partition(t, i, &info) == 0; i++) {
        int64_t from = info.high_watermark - p->max;
        struct start start = {START_OFFSET, from > info.log_start ? from : info.log_start};
        if ((only < 0 || only == i) && info.high_watermark > info.log_start) {
            r = read_range(p, &start, i, info.high_watermark - start.value, remember);
        }
    }
    if (p->n_places) {
        qsort(p->places, p->n_places, sizeof *p->places, newest_first);
    }
    for (int32_t i = 0; !r && i < weir_topic_partitions(t); i++) {
        r = show_newest(p, i);
    }
    weir_topic_free(t);
    return r;
}

int run_peek(const struct args *a)
{
    static const char *const titles[] = {">PARTITION", ">OFFSET", "APPENDED",
                                         "KEY",        ">SIZE",   "VALUE"};
    struct peek p = {.topic = a->words[0], .max = args_number(a, OPT_COUNT_PEEK, COUNT_DEFAULT)};
    struct start start;
    int32_t partition = reader_partition(a);
    int r = reader_start(a, "earliest", &start);
    if (!r) {
        r = session_open(&p.s, a, NULL);
    }
    table_init(&p.table, titles, sizeof titles / sizeof titles[0]);
    json_init(&p.json, stdout, p.s.output == OUTPUT_JSON);
    if (!r) {
        if (p.s.output == OUTPUT_JSON) {
            json_open(&p.json, NULL, '[');
        }
        r = start.kind == START_LATEST ? peek_latest(&p, partition)
                                       : read_range(&p, &start, partition, p.max, show);
        if (p.s.output == OUTPUT_JSON) {
            json_close(&p.json, ']');
            json_end(&p.json);
        } else if (p.s.output == OUTPUT_TABLE && !r) {
            table_print(&p.table, stdout);
        }
    }
    free(p.places);
    table_fini(&p.table);
    session_close(&p.s);
    return r;
}
