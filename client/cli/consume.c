/*
 * weir consume: messages to standard output.
 * Happy path: what is at hand is written; when nothing is, the output is flushed and the loop waits
 * for the server and for the reader of the output together.
 * What can fail: the subscription (one line); the output. A reader that went away (EPIPE) is no
 * failure: the command ends quietly, also while it waits.
 * Who owns what: the session owns the handle and with it the subscription.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/format.h"
#include "client/cli/interrupt.h"
#include "client/cli/message_json.h"
#include "client/cli/output.h"
#include "client/cli/progress.h"
#include "client/cli/reader.h"
#include "client/cli/run.h"
#include "client/cli/wait.h"

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

/* Nothing is at hand. @return false: stop, with *r as the exit code */
static bool wait_more(struct consumer *c, int *r)
{
    weir_error e = weir_sub_error(c->sub);
    if (e.code != WEIR_E_TIMEOUT) {
        *r = e.code == WEIR_OK ? EXIT_DONE : session_fail_topic(&c->s, c->topic, &e);
        return false;
    }
    if (!flush_output(r)) {
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
        weir_done(m, WEIR_ACK);
        if (ferror(stdout)) {
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
    if (!flush_output(&written) && r == EXIT_DONE) {
        r = written;
    }
    return r;
}

int run_consume(const struct args *a)
{
    struct consumer c = {.topic = a->words[0], .max_count = args_number(a, OPT_COUNT, -1)};
    struct start start;
    char error[128];
    const char *output = args_text(a, OPT_OUTPUT_MESSAGES, NULL);
    c.as_json = output != NULL;
    c.as_array = output && strcmp(output, "json") == 0;
    json_init(&c.json, stdout, false);
    int r = reader_start(a, "earliest", &start);
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
        r = reader_open(c.s.w, c.topic, &start, reader_partition(a),
                        args_has(a, OPT_EXIT_AT_END) ? "stop_at_end=1" : NULL, &c.sub);
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
    session_close(&c.s);
    return r;
}
