/* The commands around a measurement: idle connections, readiness after a start, the bare disk. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/peers/load.h"

enum { KEEP_ALIVE_MS = 5000, RETRY_MS = 2, READY_S = 300, PATH_BYTES = 4096 };

static void no_ack(void *user, int64_t stamp, bool ok)
{
    unsigned *n_acked = user;

    (void)stamp;
    *n_acked += ok;
}

static void no_message(void *user, const void *data, size_t size, const struct peer_handle *h)
{
    unsigned *n = user;

    (void)data;
    (void)size;
    (void)h;
    ++*n;
}

int load_hold(struct load *l)
{
    struct peer_conn **conns = calloc(l->clients, sizeof *conns);
    unsigned ignored = 0, n = 0;
    const struct peer_events on = {.user = &ignored, .acked = no_ack, .message = no_message};
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    l->o.window = 1;
    while (conns != NULL && n < l->clients && (conns[n] = load_open(l, &l->o, &on)) != NULL) {
        n++;
        if (l->driver->connect != NULL && l->driver->connect(conns[n - 1]) != 0) {
            (void)load_fail("%s: %s", l->driver->name, conns[n - 1]->error);
            l->driver->close(conns[--n]);
            break;
        }
    }
    printf("READY %u\n", n);
    (void)fflush(stdout);
    /* Now and then the libraries may answer what keeps a connection alive. */
    while (n == l->clients && poll(&input, 1, KEEP_ALIVE_MS) == 0) {
        for (unsigned i = 0; i < n; i++) {
            (void)l->driver->poll(conns[i]);
        }
    }
    const int rc = n == l->clients ? 0 : 1;
    while (n > 0) {
        l->driver->close(conns[--n]);
    }
    free(conns);
    return rc;
}

/* Until a predicate of the two counters holds. */
static bool serve_until(const struct load *l, struct peer_conn *c, const unsigned *counter,
                        int64_t until_ns)
{
    while (*counter == 0 && peer_now_ns() < until_ns && l->driver->poll(c) == 0) {
        if (l->driver->push != NULL) {
            l->driver->push(c);
        }
        if (*counter == 0) {
            l->driver->wait(c, peer_now_ns() + RETRY_MS * (LOAD_NS_PER_S / 1000));
        }
    }
    return *counter > 0;
}

static bool one_ack(const struct load *l, int64_t until_ns)
{
    unsigned n_acked = 0;
    const struct peer_events on = {.user = &n_acked, .acked = no_ack};
    struct peer_conn *c = l->driver->open(&l->o, &on);
    size_t size;
    const void *value = payload_value(&l->payload, 0, &size);
    const bool ok = c != NULL && c->error[0] == '\0' &&
                    l->driver->send(c, value, size, 1) == PEER_SENT &&
                    serve_until(l, c, &n_acked, until_ns);
    if (c != NULL) {
        l->driver->close(c);
    }
    return ok;
}

static bool one_message(const struct load *l, int64_t until_ns)
{
    unsigned n = 0;
    const struct peer_events on = {.user = &n, .message = no_message, .acked = no_ack};
    struct peer_conn *c = l->driver->open(&l->o, &on);
    const bool ok = c != NULL && c->error[0] == '\0' &&
                    l->driver->subscribe(c, l->mode, 0, false) == 0 &&
                    serve_until(l, c, &n, until_ns);
    if (c != NULL) {
        l->driver->close(c);
    }
    return ok;
}

/* Prints when, on the monotonic clock, the first message was stored and the first one read. */
int load_ready(struct load *l)
{
    const int64_t until_ns = peer_now_ns() + READY_S * LOAD_NS_PER_S;
    int64_t acked_ns, read_ns;
    char err[PEER_ERROR_BYTES];
    struct json j;
    int fd;

    while ((fd = peer_connect(l->o.address, err)) < 0 && peer_now_ns() < until_ns) {
        (void)poll(NULL, 0, RETRY_MS);
    }
    (void)close(fd);
    while (!one_ack(l, until_ns) && peer_now_ns() < until_ns) {
        (void)poll(NULL, 0, RETRY_MS);
    }
    acked_ns = peer_now_ns();
    while (l->driver->subscribe != NULL && !one_message(l, until_ns) && peer_now_ns() < until_ns) {
        (void)poll(NULL, 0, RETRY_MS);
    }
    read_ns = peer_now_ns();
    if (read_ns >= until_ns) {
        return load_fail("%s: not ready in %d s", l->driver->name, READY_S);
    }
    load_json_start(&j, l, "ready");
    json_int(&j, "acked_ns", acked_ns);
    json_int(&j, "read_ns", read_ns);
    load_json_end(&j, load_cpu_s());
    return 0;
}

static int time_syncs(const char *path, size_t size, int64_t seconds, struct histogram *h)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char *block = calloc(1, size);
    const int64_t until_ns = peer_now_ns() + seconds * LOAD_NS_PER_S;
    int rc = fd >= 0 && block != NULL ? 0 : -1;

    while (rc == 0 && peer_now_ns() < until_ns) {
        const int64_t t = peer_now_ns();
        rc = write(fd, block, size) == (ssize_t)size && fdatasync(fd) == 0 ? 0 : -1;
        histogram_add(h, peer_now_ns() - t);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    (void)unlink(path);
    free(block);
    return rc;
}

int load_disk(struct load *l)
{
    static const size_t sizes[] = {100, 4096, 65536, 1 << 20};
    char path[PATH_BYTES], name[32];
    struct json j;
    int rc = 0;

    snprintf(path, sizeof path, "%s/bench-load-disk", l->dir != NULL ? l->dir : ".");
    json_init(&j, stdout, false);
    json_open(&j, NULL, '{');
    json_text(&j, "command", "disk");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes && rc == 0; i++) {
        struct histogram *h = histogram_new();
        rc = h != NULL ? time_syncs(path, sizes[i], l->seconds, h) : -1;
        if (rc == 0) {
            snprintf(name, sizeof name, "append_%zu", sizes[i]);
            load_json_latency(&j, name, h);
        }
        histogram_free(h);
    }
    json_close(&j, '}');
    json_end(&j);
    return rc == 0 ? 0 : load_fail("%s: %s", path, strerror(errno));
}
