/*
 * weir produce: lines in, messages out.
 * Happy path: lines are read in pieces and queued; whenever no complete line is left, or the
 * library's buffer is full, the loop waits for input and for the server together. At the end of the
 * input it waits until every message has its answer.
 * What can fail: a line (too long, no key): reported with its number; the first one stops the
 * reading unless --keep-going is given. An answer: the same. Whatever happens, every line that was
 * queued is counted as stored, not stored or unknown.
 * Who owns what: the sender owns lines, maker and pool; a pending slot lives from queueing to
 * answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/clock.h"
#include "client/cli/interrupt.h"
#include "client/cli/lines.h"
#include "client/cli/pending.h"
#include "client/cli/progress.h"
#include "client/cli/record.h"
#include "client/cli/run.h"
#include "client/cli/session.h"
#include "client/cli/values.h"
#include "client/cli/wait.h"

enum {
    LINE_BYTES_MAX = 8 << 20, /* no topic takes larger messages */
    TURN_MESSAGES = 256,      /* after so many the handle may work, though input is at hand */
    REPORTS_MAX = 10
};

struct sender {
    struct session s;
    const char *topic;
    struct lines lines;
    struct record_maker maker;
    struct pending_pool pool;
    struct progress progress;
    double rate_per_s; /* 0 = none */
    bool keep_going, dry, print_ids;
    bool stop;
    int64_t n_lines, n_sent, n_stored, n_refused, n_unknown;
    double bytes;
    int n_reports;
    int code; /* exit code of the first failure */
};

/* A line failed, or its message: one line of text, unless many were reported already. */
static void report(struct sender *p, int code, int64_t line, const char *text)
{
    if (!p->code) {
        p->code = code;
    }
    if (!p->keep_going) {
        p->stop = true;
    }
    if (p->n_reports < (p->keep_going ? REPORTS_MAX : 1)) {
        p->n_reports++;
        progress_clear(&p->progress);
        cli_fail(code, "line %" PRId64 ": %s", line, text);
    }
}

static void on_sent(void *user, const weir_receipt *r)
{
    struct pending *slot = user;
    struct sender *p = slot->owner;
    int64_t line = slot->number;
    pending_give(&p->pool, slot);
    if (r->error.outcome == WEIR_DONE) {
        p->n_stored++;
        if (p->print_ids && r->delay_id) {
            puts(r->delay_id);
        }
        return;
    }
    if (r->error.outcome == WEIR_UNKNOWN) {
        p->n_unknown++;
    } else {
        p->n_refused++;
    }
    int code = exit_code_of(&r->error);
    if (r->error.fenced || code != EXIT_REFUSED) {
        p->keep_going = false; /* the next ones would fail in the same way */
    }
    if (code == EXIT_NOT_FOUND && p->n_reports == 0) {
        p->code = code;
        p->stop = true; /* told once, with a suggestion, when all answers are here */
        return;
    }
    report(p, code, line, r->error.text);
}

/* Waits for the time of the next message of a given rate. */
static void pace(struct sender *p, int64_t start_ns)
{
    int64_t due_ns = start_ns + (int64_t)((double)p->n_sent * 1e9 / p->rate_per_s);
    for (int64_t left_ns = due_ns - cli_mono_ns(); left_ns > 0 && !p->stop && !interrupt_seen();
         left_ns = due_ns - cli_mono_ns()) {
        int64_t slice_ns = WAIT_SLICE_MS * INT64_C(1000000);
        wait_io(p->s.w, -1, 0, left_ns < slice_ns ? left_ns : slice_ns);
    }
}

static void send_line(struct sender *p, const char *line, size_t n)
{
    weir_bytes key, value;
    const char *fault = record_make(&p->maker, line, n, &key, &value);
    if (fault) {
        p->n_refused++;
        report(p, EXIT_REFUSED, p->n_lines, fault);
        return;
    }
    if (p->dry) {
        p->n_sent++;
        p->bytes += (double)n;
        return;
    }
    struct pending *slot = pending_take(&p->pool, p, p->n_lines);
    if (!slot) {
        p->n_refused++;
        report(p, EXIT_REFUSED, p->n_lines, "out of memory");
        return;
    }
    for (;;) {
        weir_error e = weir_send_async(p->s.w, p->topic, key, value, &p->maker.send, on_sent, slot);
        if (e.code == WEIR_E_BUFFER_FULL && !p->stop) {
            /* back-pressure; also while an interrupt waits, for this line was read */
            wait_io(p->s.w, -1, 0, WAIT_SLICE_MS * INT64_C(1000000));
            progress_update(&p->progress, "stored", p->n_stored, p->bytes);
            continue;
        }
        if (e.outcome == WEIR_DONE) {
            p->n_sent++;
            p->bytes += (double)n;
            return;
        }
        pending_give(&p->pool, slot);
        p->n_refused++;
        if (p->code || e.code != WEIR_E_UNKNOWN_TOPIC) {
            report(p, exit_code_of(&e), p->n_lines, e.text);
        } else {
            p->code = EXIT_NOT_FOUND;
            p->stop = true;
        }
        return;
    }
}

static void too_long(struct sender *p, size_t n)
{
    char text[128];
    snprintf(text, sizeof text, "%zu bytes; a message has at most %d", n, LINE_BYTES_MAX);
    p->n_refused++;
    report(p, EXIT_REFUSED, p->n_lines, text);
}

/* Waits for input, lets the handle work, reads. */
static void fill(struct sender *p)
{
    short ready = wait_io(p->s.w, p->lines.fd, POLLIN, WAIT_SLICE_MS * INT64_C(1000000));
    if (ready && lines_fill(&p->lines)) {
        p->code = cli_fail(EXIT_REFUSED, "cannot read the input: %s", strerror(errno));
        p->stop = true;
    }
}

static void read_all(struct sender *p)
{
    int64_t start_ns = cli_mono_ns();
    const char *line;
    size_t n;
    while (!p->stop && !interrupt_seen()) {
        switch (lines_next(&p->lines, &line, &n)) {
        case LINE_OK:
            p->n_lines++;
            if (p->rate_per_s > 0) {
                pace(p, start_ns);
            }
            send_line(p, line, n);
            break;
        case LINE_TOO_LONG:
            p->n_lines++;
            too_long(p, n);
            break;
        case LINE_MORE:
            fill(p);
            break;
        case LINE_END:
            return;
        }
        if (p->n_lines % TURN_MESSAGES == 0) {
            weir_on_io(p->s.w);
            progress_update(&p->progress, "stored", p->n_stored, p->bytes);
        }
    }
}

static void wait_answers(struct sender *p)
{
    while (weir_pending_messages(p->s.w) > 0) {
        weir_flush(p->s.w, WAIT_SLICE_MS); /* the answers come one by one to on_sent */
        progress_update(&p->progress, "stored", p->n_stored, p->bytes);
    }
    progress_clear(&p->progress);
}

static void summary(struct sender *p)
{
    char text[5][32];
    bool failed = p->n_refused || p->n_unknown || p->code;
    if (p->dry) {
        printf("would send %s messages (%s) to topic %s; nothing was sent\n",
               text_count(text[0], sizeof text[0], p->n_sent),
               text_bytes(text[1], sizeof text[1], p->bytes), p->topic);
        return;
    }
    if (!failed && !p->s.verbose && !isatty(STDERR_FILENO)) {
        return;
    }
    double seconds = progress_seconds(&p->progress);
    fprintf(stderr, "weir: %s stored, %s not stored, %s unknown; %s in %.1f s (%s/s)\n",
            text_count(text[0], sizeof text[0], p->n_stored),
            text_count(text[1], sizeof text[1], p->n_refused),
            text_count(text[2], sizeof text[2], p->n_unknown),
            text_bytes(text[3], sizeof text[3], p->bytes), seconds,
            text_count(text[4], sizeof text[4],
                       (int64_t)((double)p->n_stored / (seconds > 0 ? seconds : 1))));
}

/* A dry run sends nothing, so the topic is looked up instead. */
static int check_topic(struct sender *p)
{
    weir_topic *t = NULL;
    int r = EXIT_DONE;
    weir_error e = weir_topic_describe(p->s.w, p->topic, &t, p->s.timeout_ms);
    if (e.outcome != WEIR_DONE) {
        r = session_fail_topic(&p->s, p->topic, &e);
    } else if (p->maker.send.partition >= weir_topic_partitions(t)) {
        r = cli_fail(EXIT_NOT_FOUND, "topic '%s' has no partition %" PRId32, p->topic,
                     p->maker.send.partition);
    }
    weir_topic_free(t);
    return r;
}

static int open_input(const struct args *a, int *fd)
{
    const char *file = args_text(a, OPT_FILE, "-");
    if (strcmp(file, "-") == 0) {
        *fd = STDIN_FILENO;
        return EXIT_DONE;
    }
    *fd = open(file, O_RDONLY | O_CLOEXEC);
    return *fd >= 0 ? EXIT_DONE
                    : cli_fail(EXIT_REFUSED, "cannot open %s: %s", file, strerror(errno));
}

static int sender_run(struct sender *p)
{
    if (p->dry) {
        int r = check_topic(p);
        if (r) {
            return r;
        }
    }
    interrupt_catch();
    session_tell_trouble(&p->s);
    progress_init(&p->progress);
    read_all(p);
    wait_answers(p);
    if (p->code == EXIT_NOT_FOUND && p->n_reports == 0) {
        weir_error e = {.code = WEIR_E_UNKNOWN_TOPIC, .outcome = WEIR_NOT_DONE};
        snprintf(e.text, sizeof e.text, "topic '%s' has no partition %" PRId32, p->topic,
                 p->maker.send.partition);
        session_fail_topic(&p->s, p->topic, &e);
    }
    summary(p);
    return p->code;
}

int run_produce(const struct args *a)
{
    char options[64] = "";
    const char *compression = args_text(a, OPT_COMPRESSION, NULL);
    int fd = -1;
    struct sender p = {.topic = a->words[0],
                       .rate_per_s = args_rate(a, OPT_RATE),
                       .keep_going = args_has(a, OPT_KEEP_GOING),
                       .dry = args_has(a, OPT_DRY_RUN),
                       .print_ids = args_has(a, OPT_PRINT_IDS)};
    if (compression) {
        snprintf(options, sizeof options, "compression=%s", compression);
    }
    int r = record_maker_init(&p.maker, a);
    if (!r) {
        r = open_input(a, &fd);
    }
    if (!r && !lines_init(&p.lines, fd, LINE_BYTES_MAX)) {
        r = cli_fail(EXIT_REFUSED, "out of memory");
    }
    if (!r) {
        r = session_open(&p.s, a, options);
    }
    if (!r) {
        r = sender_run(&p);
    }
    session_close(&p.s);
    lines_fini(&p.lines);
    record_maker_fini(&p.maker);
    pending_fini(&p.pool);
    if (fd > STDIN_FILENO) {
        close(fd);
    }
    return r;
}
