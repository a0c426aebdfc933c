/*
 * weir bench consume: how fast a topic is read.
 * Happy path: read until the end of the topic, a count or a time, touching nothing of the messages
 * but their sizes. Time counts from the subscription to the last message.
 * What can fail: the server's answers (one line).
 */
#include <inttypes.h>
#include <stdio.h>

#include "client/cli/bench.h"
#include "client/cli/clock.h"
#include "client/cli/interrupt.h"
#include "client/cli/member.h"
#include "client/cli/progress.h"
#include "client/cli/reader.h"
#include "client/cli/run.h"
#include "client/cli/values.h"
#include "client/cli/wait.h"

enum { CLOCK_EVERY = 256 /* messages between two looks at the clock */ };

struct load {
    struct session s;
    const char *topic;
    weir_sub *sub;
    int64_t max_count, max_ns; /* -1 = no limit */
    int64_t count;
    double bytes;
    int64_t start_ns, end_ns;
};

static int read_all(struct load *l)
{
    struct progress progress;
    int r = EXIT_DONE;
    progress_init(&progress);
    l->start_ns = l->end_ns = cli_mono_ns();
    while (!interrupt_seen() && l->count != l->max_count) {
        const weir_message *m = weir_next(l->sub, WAIT_SLICE_MS);
        if (!m) {
            weir_error e = weir_sub_error(l->sub);
            if (e.code != WEIR_E_TIMEOUT) {
                r = e.code == WEIR_OK ? EXIT_DONE : session_fail_topic(&l->s, l->topic, &e);
                break;
            }
        } else {
            l->count++;
            l->bytes += (double)(m->key.size + m->value.size);
            weir_done(m, WEIR_ACK);
        }
        if (!m || l->count % CLOCK_EVERY == 0) {
            if (l->max_ns >= 0 && cli_mono_ns() - l->start_ns >= l->max_ns) {
                break;
            }
            progress_update(&progress, "read", l->count, l->bytes);
        }
    }
    l->end_ns = cli_mono_ns();
    progress_clear(&progress);
    return r;
}

static void show(const struct load *l)
{
    char t[3][32];
    double seconds = (double)(l->end_ns - l->start_ns) / 1e9;
    if (l->s.output != OUTPUT_TABLE) {
        struct json j;
        json_init(&j, stdout, l->s.output == OUTPUT_JSON);
        json_open(&j, NULL, '{');
        json_text(&j, "bench", "consume");
        json_text(&j, "topic", l->topic);
        json_int(&j, "messages", l->count);
        json_double(&j, "bytes", l->bytes);
        json_double(&j, "seconds", seconds);
        rate_json(&j, l->count, l->bytes, seconds);
        json_close(&j, '}');
        json_end(&j);
        return;
    }
    double rate = seconds > 0 ? (double)l->count / seconds : 0;
    printf("messages  %s\ntime      %.2f s\nrate      %s/s, %s/s\n",
           text_count(t[0], sizeof t[0], l->count), seconds,
           text_count(t[1], sizeof t[1], (int64_t)rate),
           text_bytes(t[2], sizeof t[2], seconds > 0 ? l->bytes / seconds : 0));
}

int run_bench_consume(const struct args *a)
{
    struct load l = {.topic = bench_topic(a), .max_count = args_number(a, OPT_COUNT, -1)};
    struct start start;
    int64_t duration_ms = args_number(a, OPT_DURATION, -1);
    l.max_ns = duration_ms < 0 ? -1 : duration_ms * 1000000;
    if (!l.topic) {
        return EXIT_USAGE;
    }
    if (args_has(a, OPT_GROUP)) {
        return bench_members(a);
    }
    int r = member_check(a);
    if (!r) {
        r = reader_start(a, "earliest", &start);
    }
    if (!r) {
        r = session_open(&l.s, a, NULL);
    }
    if (!r) {
        r = reader_open(l.s.w, l.topic, &start, reader_partition(a), "stop_at_end=1", &l.sub);
    }
    if (!r) {
        interrupt_catch();
        r = read_all(&l);
    }
    if (!r) {
        show(&l);
    }
    session_close(&l.s);
    return r;
}
