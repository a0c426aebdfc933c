#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/demo/director.h"
#include "bench/demo/plot.h"

/*
 * The life of the server: up, killed at a point in a burst, down for a while, started on the same
 * port and directory, ready, and the first new acknowledgement. What can fail: the server does not
 * come back, or dies when nobody killed it.
 */

/* Acknowledged messages at which the n-th kill comes: in the middle of a burst, moved by the seed.
 */
static uint64_t kill_point(const struct options *o, uint32_t n)
{
    const uint64_t per_burst = o->messages / o->bursts;
    const uint64_t burst = (uint64_t)o->bursts * (n + 1) / (o->kills + 1);
    const uint64_t jitter = o->seed * UINT64_C(0x9e3779b97f4a7c15) >> 40;

    return per_burst * burst + per_burst / 8 + jitter % (per_burst / 4 + 1);
}

/* Leaves the directory as a power cut would, and tells what that took. */
static int cut_power(struct director *d)
{
    char apply[DEMO_PATH_BYTES + 32], seed[32], said[160] = "";
    int fds[2];
    pid_t pid;
    ssize_t n;

    (void)snprintf(apply, sizeof apply, "%s/powerloss-apply", d->options.bin_dir);
    (void)snprintf(seed, sizeof seed, "%llu",
                   (unsigned long long)(d->options.seed + d->facts.kills));
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return director_fail(d, "no pipe for powerloss-apply");
    }
    pid = proc_start((const char *const[]){apply, "--dir", d->data, "--state", d->state, "--data",
                                           d->options.power_data, "--names", d->options.power_names,
                                           "--seed", seed, NULL},
                     &(struct proc_setup){.log_path = d->log, .out_fd = fds[1], .keep_fd = -1});
    close(fds[1]);
    n = read(fds[0], said, sizeof said - 1); /* one line, written at its end */
    close(fds[0]);
    if (pid < 0 || proc_wait(pid) != 0 || n <= 0) {
        return director_fail(d, "powerloss-apply failed");
    }
    said[strcspn(said, "\n")] = '\0';
    view_event(&d->view, director_now_s(d), false, "%s", said);
    return 0;
}

static int kill_server(struct director *d)
{
    const pid_t pid = d->server.pid;
    char number[32];

    server_kill(&d->server);
    hist_add(&d->history, &(struct hist_rec){.kind = HIST_KILL,
                                             .id = (uint64_t)pid,
                                             .offset = (int64_t)(director_now_s(d) * 1000)});
    view_event(&d->view, director_now_s(d), true,
               "%s: the server is gone with %s messages unanswered",
               d->options.power_loss ? "power cut" : "kill -9",
               long_number(number, board_unanswered(d->board)));
    if (d->options.power_loss && cut_power(d) != 0) {
        return -1;
    }
    d->facts.kills++;
    d->restart_at_ns = mono_ns() + d->options.down_ms * UINT64_C(1000000);
    return 0;
}

/* The new server answers. */
static void greet_server(struct director *d)
{
    const uint32_t n = d->facts.kills - 1;
    char took[16];

    d->facts.ready_s[n] = (double)(d->server.ready_ns - d->server.started_ns) / 1e9;
    hist_add(&d->history, &(struct hist_rec){.kind = HIST_RESTART,
                                             .id = (uint64_t)d->server.pid,
                                             .offset = (int64_t)(director_now_s(d) * 1000)});
    view_event(&d->view, director_now_s(d), false, "started again on the same port, ready after %s",
               short_time(took, d->facts.ready_s[n]));
}

int outage_step(struct director *d, uint64_t now_ns)
{
    const uint32_t kills = d->facts.kills;
    char took[16];
    int code;

    if (d->restart_at_ns != 0 && now_ns >= d->restart_at_ns) {
        d->restart_at_ns = 0;
        /* A new epoch, in which the next acknowledgement is the first. */
        atomic_store(&d->board->epoch, d->facts.kills);
        return setup_server(d);
    }
    if (d->restart_at_ns != 0) {
        return 0;
    }
    if (d->server.ready_ns == 0) {
        code = server_ready(&d->server, 0, d->err, sizeof d->err);
        if (code > 0) {
            greet_server(d);
        }
        return code < 0 ? -1 : 0;
    }
    if (proc_ended(d->server.pid, &code)) {
        d->server.pid = 0;
        (void)snprintf(d->err, sizeof d->err, "the server ended by itself (exit %d)", code);
        return -1;
    }
    if (kills > 0 && d->facts.first_ack_s[kills - 1] <= 0 &&
        board_get(&d->board->first_ack_ns[kills]) != 0) {
        d->facts.first_ack_s[kills - 1] =
            (double)(board_get(&d->board->first_ack_ns[kills]) - d->server.started_ns) / 1e9;
        view_event(&d->view, director_now_s(d), false,
                   "first new acknowledgement after %s; the clients came back alone",
                   short_time(took, d->facts.first_ack_s[kills - 1]));
    }
    if (kills < d->options.kills && board_acked(d->board) >= kill_point(&d->options, kills)) {
        return kill_server(d);
    }
    return 0;
}
