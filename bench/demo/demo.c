/*
 * weir-demo: the director of weir's main job.
 *
 * Happy path: a fresh directory, a server, the topic, then producers and consumers as processes of
 * their own (this program again, with --worker); look at the board a hundred times a second, draw
 * four times; in the middle of a burst kill the server, wait, start it on the same port and
 * directory; when the producers are done tell the consumers, when they are done stop the server and
 * ask the judge. What can fail: any process (told with the end of its log, exit 2), and the
 * promises (exit 1). The director owns all processes and the directory; they go with it, also on
 * ^C, unless --keep or something failed.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/demo/director.h"
#include "bench/demo/worker.h"

#define TICK_MS 10
/* Orderly end of the server. */
#define STOP_MS 15000
/* Nothing at all may stand still for longer. */
#define STALL_NS UINT64_C(120000000000)

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    interrupted = sig;
}

double director_now_s(const struct director *d)
{
    return (double)(mono_ns() - d->series->start_ns) / 1e9;
}

int director_fail(struct director *d, const char *what)
{
    (void)snprintf(d->err, sizeof d->err, "%s", what);
    return -1;
}

/* ---- watching */

/* Ends that were met since the last call. @return workers of the kind that still run, or -1. */
static int count_workers(struct director *d, bool producers)
{
    int running = 0, code;

    for (size_t i = 0; i < d->n_workers; i++) {
        struct worker *w = &d->workers[i];

        if (w->pid > 0 && proc_ended(w->pid, &code)) {
            w->pid = 0;
            if (code != WORKER_OK) {
                (void)snprintf(d->err, sizeof d->err, "%s %u failed (exit %d)",
                               w->producer ? "producer" : "consumer", w->number, code);
                return -1;
            }
        }
        running += w->pid > 0 && w->producer == producers;
    }
    return running;
}

static bool stalled(struct director *d, uint64_t now)
{
    const uint64_t total = board_acked(d->board) + board_delivered(d->board);

    if (total != d->last_total) {
        d->last_total = total;
        d->last_change_ns = now;
    }
    return now - d->last_change_ns > STALL_NS;
}

static void look(struct director *d, uint64_t now, const char *phase)
{
    const struct options *o = &d->options;
    const double expected = o->seconds + 2 + o->kills * (o->down_ms / 1000.0);
    const double t = director_now_s(d);

    d->disk = d->series->n % 4 == 0 ? disk_bytes(d->data) : d->disk;
    series_sample(d->series, d->board, d->disk, proc_rss_bytes(d->server.pid), now);
    view_draw(&d->view, &(struct view_frame){.series = d->series,
                                             .messages = d->board->orders.messages_per_producer *
                                                         o->producers,
                                             .span_s = t > expected ? t : expected,
                                             .now_s = t,
                                             .phase = phase,
                                             .server_pid = d->server.pid,
                                             .producers = o->producers,
                                             .consumers = o->consumers});
}

static int watch(struct director *d)
{
    int producers = 1, consumers = 1;
    uint64_t next_look;

    series_begin(d->series, mono_ns());
    d->last_change_ns = d->series->start_ns;
    next_look = d->series->start_ns + SAMPLE_NS;
    while (producers > 0 || consumers > 0) {
        const uint64_t now = mono_ns();

        if (interrupted != 0) {
            return director_fail(d, "interrupted");
        }
        if (outage_step(d, now) != 0) {
            return -1;
        }
        series_mark(d->series, d->board, now);
        producers = count_workers(d, true);
        consumers = producers < 0 ? -1 : count_workers(d, false);
        if (consumers < 0) {
            return -1;
        }
        if (producers == 0 && atomic_load(&d->board->producers_done) == 0) {
            d->facts.produce_s = director_now_s(d);
            atomic_store(&d->board->producers_done, 1);
            view_event(&d->view, director_now_s(d), false,
                       "all produced; the consumers drain the rest");
        }
        if (now >= next_look) {
            look(d, now, producers > 0 ? "bursts come in" : "draining");
            next_look += SAMPLE_NS;
        }
        if (stalled(d, now)) {
            return director_fail(d, "nothing moved for two minutes");
        }
        (void)poll(NULL, 0, TICK_MS);
    }
    d->facts.total_s = director_now_s(d);
    look(d, mono_ns(), "done; the judge reads the histories");
    return 0;
}

/* ---- the end */

static void print_log_end(const struct director *d)
{
    char command_line[256];
    char *lines[12] = {NULL};
    FILE *f = fopen(d->log, "re");
    size_t n = 0;

    while (f != NULL && fgets(command_line, sizeof command_line, f) != NULL) {
        free(lines[n % 12]);
        lines[n++ % 12] = strdup(command_line);
    }
    for (size_t i = n > 12 ? n - 12 : 0; i < n; i++) {
        (void)fprintf(stderr, "  | %s", lines[i % 12] == NULL ? "\n" : lines[i % 12]);
    }
    for (size_t i = 0; i < 12; i++) {
        free(lines[i]);
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

static void stop_all(struct director *d)
{
    for (size_t i = 0; i < d->n_workers; i++) {
        proc_kill(d->workers[i].pid);
        d->workers[i].pid = 0;
    }
    server_kill(&d->server);
    view_end(&d->view);
}

static int direct(struct director *d)
{
    struct verdict verdict;
    int rc = 2, code;

    d->view.plain = true; /* until it begins */
    d->series = calloc(1, sizeof *d->series);
    if (d->series == NULL || setup_directory(d) != 0 || setup_processes(d) != 0) {
        goto out;
    }
    view_begin(&d->view, d->options.plain, d->options.ascii);
    if (watch(d) != 0) {
        goto out;
    }
    code = server_stop(&d->server, STOP_MS);
    stop_all(d);
    if (code != 0) {
        (void)snprintf(d->err, sizeof d->err, "the server did not stop in order (exit %d)", code);
        goto out;
    }
    if (hist_finish(&d->history) != 0) {
        (void)director_fail(d, "the director's history could not be written");
        goto out;
    }
    report_judge(&verdict, &d->options, d->work);
    report_print(&verdict, &d->options, d->series, &d->facts);
    rc = verdict.exit_code;
out:
    stop_all(d);
    if (d->err[0] != '\0') {
        (void)fflush(stdout);
        (void)fprintf(stderr, "\nweir-demo: %s\n", d->err);
        if (interrupted == 0) {
            print_log_end(d);
        }
    }
    (void)hist_finish(&d->history);
    board_unmap(d->board);
    free(d->series);
    if (d->work[0] != '\0' && (d->options.keep || (rc != 0 && interrupted == 0))) {
        (void)fprintf(stderr, "data, histories and logs are in %s\n", d->work);
    } else if (d->work[0] != '\0') {
        remove_tree(d->work);
    }
    return interrupted != 0 ? 128 + interrupted : rc;
}

static int work(char **argv)
{
    struct board *b = board_map(argv[4], false);
    const uint32_t number = (uint32_t)strtoul(argv[3], NULL, 10);
    int rc = WORKER_FAILED;

    if (b == NULL) {
        perror("board");
    } else if (strcmp(argv[2], "producer") == 0) {
        rc = producer_run(b, argv[4], number);
    } else {
        rc = consumer_run(b, argv[4], number);
    }
    board_unmap(b);
    return rc;
}

int main(int argc, char **argv)
{
    struct director *d;
    struct sigaction sa = {.sa_handler = on_signal};
    int rc;

    if (argc == 5 && strcmp(argv[1], "--worker") == 0) {
        return work(argv);
    }
    d = calloc(1, sizeof *d);
    if (d == NULL) {
        return 2;
    }
    rc = options_read(&d->options, argc, argv);
    if (rc < 0) {
        (void)sigaction(SIGINT, &sa, NULL);
        (void)sigaction(SIGTERM, &sa, NULL);
        (void)sigaction(SIGHUP, &sa, NULL);
        rc = direct(d);
    }
    free(d);
    return rc;
}
