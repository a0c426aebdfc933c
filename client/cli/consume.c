/*
 * weir consume: messages to standard output.
 * Happy path: what is at hand is written; when nothing is, the output is flushed and the loop waits
 * for the server and for the reader of the output together. In a group messages are held until they
 * are flushed, and then committed or acknowledged: what was not written is never lost.
 * What can fail: the subscription (one line); the output. A reader that went away (EPIPE) is no
 * failure: the command ends quietly, also while it waits.
 * Who owns what: the session owns the handle and with it the subscription and the messages held.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/clock.h"
#include "client/cli/format.h"
#include "client/cli/interrupt.h"
#include "client/cli/member.h"
#include "client/cli/message_json.h"
#include "client/cli/output.h"
#include "client/cli/progress.h"
#include "client/cli/reader.h"
#include "client/cli/run.h"
#include "client/cli/wait.h"

enum { HELD_MAX = 256 /* messages written between two flushes, in a group */ };

struct consumer {
    struct session s;
    const char *topic;
    weir_sub *sub;
    struct format format;
    struct json json;
    bool as_json, as_array;
    int64_t count, max_count; /* max -1 = no limit */
    double bytes;
    struct progress progress;
    const char *group; /* NULL = none */
    bool until_end;
    weir_verdict verdict;
    const char *reason;
    const weir_message *held[HELD_MAX];
    size_t n_held;
    int64_t look_ns; /* not before: is anything left in the group? */
    int unsettled;   /* exit code of a verdict that was not kept */
};

static void write_message(struct consumer *c, const weir_message *m)
{
    if (c->as_json) {
        message_json(&c->json, m);
        if (!c->as_array) {
            json_end(&c->json);
        }
    } else {
        format_write(&c->format, stdout, m);
    }
    c->count++;
    c->bytes += (double)m->value.size;
}

/* Flushes. @return false: the output is gone; *r is then the exit code. */
static bool flush_output(int *r)
{
    int e = output_flush();
    if (e == 0) {
        return true;
    }
    *r = e == EPIPE ? EXIT_DONE : cli_fail(EXIT_REFUSED, "cannot write: %s", strerror(e));
    return false;
}

/* Flushes; in a group gives back what was written. @return as flush_output */
static bool settle(struct consumer *c, int *r)
{
    if (!flush_output(r)) {
        return false;
    }
    for (size_t i = 0; i < c->n_held; i++) {
        weir_done_with(c->held[i], c->verdict, -1, c->reason);
    }
    c->n_held = 0;
    return true;
}

static void on_unsettled(void *user, weir_sub *sub, const char *topic, int32_t partition,
                         int64_t offset, const weir_error *e)
{
    struct consumer *c = user;
    (void)sub;
    c->unsettled = exit_code_of(e);
    progress_clear(&c->progress);
    cli_fail(c->unsettled, "%s/%" PRId32 " offset %" PRId64 " may come again: %s", topic, partition,
             offset, e->text);
}

/* Waits until what was given back is durable. */
static int commit(struct consumer *c)
{
    weir_error e = weir_commit(c->sub, c->s.timeout_ms);
    if (c->unsettled || e.outcome == WEIR_DONE) {
        return c->unsettled; /* told already */
    }
    return session_fail(&e);
}

/* --exit-at-end in a group. @return false: stop, with *r as the exit code */
static bool group_has_more(struct consumer *c, int *r)
{
    int64_t now_ns = cli_mono_ns();
    bool left = true;
    if (!c->group || !c->until_end || now_ns < c->look_ns || weir_sub_epoch(c->sub) == 0) {
        return true; /* not joined yet: it may still be refused */
    }
    c->look_ns = now_ns + WAIT_SLICE_MS * INT64_C(1000000);
    *r = commit(c);
    if (!*r) {
        *r = member_left(&c->s, c->group, c->topic, &left);
    }
    return !*r && left;
}

/* Nothing is at hand. @return false: stop, with *r as the exit code */
static bool wait_more(struct consumer *c, int *r)
{
    weir_error e = weir_sub_error(c->sub);
    if (e.code != WEIR_E_TIMEOUT) {
        *r = e.code == WEIR_OK ? EXIT_DONE : session_fail_topic(&c->s, c->topic, &e);
        return false;
    }
    if (!settle(c, r) || !group_has_more(c, r)) {
        return false;
    }
    /* a pipe whose reader is gone shows POLLERR even when nothing is to be written */
    short out = wait_io(c->s.w, STDOUT_FILENO, 0, WAIT_SLICE_MS * INT64_C(1000000));
    *r = EXIT_DONE;
    return !(out & (POLLERR | POLLNVAL));
}

static int read_all(struct consumer *c)
{
    int r = EXIT_DONE;
    bool quiet = isatty(STDOUT_FILENO) == 1; /* the messages themselves are on the terminal */
    while (!interrupt_seen() && c->count != c->max_count) {
        const weir_message *m = weir_next(c->sub, 0);
        if (!m) {
            if (!wait_more(c, &r)) {
                break;
            }
            continue;
        }
        write_message(c, m);
        if (c->group) {
            c->held[c->n_held++] = m;
        } else {
            weir_done(m, WEIR_ACK);
        }
        if (ferror(stdout) || (c->n_held == HELD_MAX && !settle(c, &r))) {
            break;
        }
        if (!quiet) {
            progress_update(&c->progress, "read", c->count, c->bytes);
        }
    }
    progress_clear(&c->progress);
    if (c->as_array) {
        json_close(&c->json, ']');
        json_end(&c->json);
    }
    int written = EXIT_DONE;
    if (!settle(c, &written)) {
        return r ? r : written;
    }
    if (c->group && !r) {
        r = commit(c);
    }
    return r;
}

static weir_verdict verdict_of(const struct args *a)
{
    static const char *const names[] = {"ack", "nack", "release", "dead"};
    static const weir_verdict verdicts[] = {WEIR_ACK, WEIR_NACK, WEIR_RELEASE, WEIR_DEAD};
    const char *text = args_text(a, OPT_VERDICT, "ack");
    size_t i = 0;
    while (i < 3 && strcmp(names[i], text) != 0) {
        i++;
    }
    return verdicts[i];
}

static int subscribe(struct consumer *c, const struct args *a, const struct start *start)
{
    if (!c->group) {
        return reader_open(c->s.w, c->topic, start, reader_partition(a),
                           c->until_end ? "stop_at_end=1" : NULL, &c->sub);
    }
    int r = member_open(c->s.w, a, c->topic, &c->sub);
    if (!r) {
        weir_on_unsettled(c->sub, on_unsettled, c);
    }
    return r;
}

int run_consume(const struct args *a)
{
    struct consumer c = {.topic = a->words[0],
                         .max_count = args_number(a, OPT_COUNT, -1),
                         .group = args_text(a, OPT_GROUP, NULL),
                         .until_end = args_has(a, OPT_EXIT_AT_END),
                         .verdict = verdict_of(a),
                         .reason = args_text(a, OPT_REASON, NULL)};
    struct start start;
    char error[128];
    const char *output = args_text(a, OPT_OUTPUT_MESSAGES, NULL);
    c.as_json = output != NULL;
    c.as_array = output && strcmp(output, "json") == 0;
    json_init(&c.json, stdout, false);
    int r = reader_start(a, "earliest", &start);
    if (!r) {
        r = member_check(a);
    }
    if (!r && c.as_json && args_has(a, OPT_FORMAT)) {
        r = cli_fail(EXIT_USAGE, "--format and --output exclude each other");
    }
    if (!r && !format_init(&c.format, args_text(a, OPT_FORMAT, "%v\\n"), error, sizeof error)) {
        r = cli_fail(EXIT_USAGE, "--format: %s", error);
    }
    if (!r) {
        r = session_open(&c.s, a, NULL);
    }
    if (!r) {
        r = subscribe(&c, a, &start);
    }
    if (!r) {
        interrupt_catch();
        session_tell_trouble(&c.s);
        progress_init(&c.progress);
        if (c.as_array) {
            json_open(&c.json, NULL, '[');
        }
        r = read_all(&c);
    }
    format_fini(&c.format);
    if (c.group) {
        session_leave(&c.s);
    }
    session_close(&c.s);
    return r;
}
