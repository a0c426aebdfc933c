/*
 * bench-load: one load generator for weir and its peers. See bench/peers/README.md.
 *
 *   bench-load list
 *   bench-load setup   --peer P --address A --topic T [--partitions N] [--group G]
 *   bench-load produce --peer P --address A --topic T [--clients N] [--unbatched] [--rate R] ...
 *   bench-load consume --peer P --address A --topic T --mode read|log|queue [--clients N] ...
 *   bench-load latency --peer P --address A --topic T --mode M --rate R --seconds S
 *   bench-load hold    --peer P --address A --clients N      until its input ends
 *   bench-load ready   --peer P --address A --topic T --mode M
 *   bench-load disk    --dir D
 */
#include "bench/peers/load.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { WINDOW = 65536, PREFETCH = 2000 };

int load_fail(const char *format, ...)
{
    va_list ap;

    fputs("bench-load: ", stderr);
    va_start(ap, format);
    (void)vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    return 1;
}

struct peer_conn *load_open(const struct load *l, const struct peer_options *o,
                            const struct peer_events *on)
{
    struct peer_conn *c = l->driver->open(o, on);

    if (c == NULL || c->error[0] != '\0') {
        (void)load_fail("%s: %s", l->driver->name, c != NULL ? c->error : "no memory");
        if (c != NULL) {
            l->driver->close(c);
        }
        return NULL;
    }
    return c;
}

double load_cpu_s(void)
{
    struct rusage u;

    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

void load_exact_timers(void)
{
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

void load_json_latency(struct json *j, const char *name, const struct histogram *h)
{
    json_open(j, name, '{');
    json_uint(j, "count", h->count);
    json_double(j, "mean_us", histogram_mean(h) / 1e3);
    json_double(j, "p50_us", (double)histogram_percentile(h, 50) / 1e3);
    json_double(j, "p90_us", (double)histogram_percentile(h, 90) / 1e3);
    json_double(j, "p99_us", (double)histogram_percentile(h, 99) / 1e3);
    json_double(j, "p999_us", (double)histogram_percentile(h, 99.9) / 1e3);
    json_double(j, "max_us", (double)h->max / 1e3);
    json_close(j, '}');
}

void load_json_start(struct json *j, const struct load *l, const char *command)
{
    char client[128];

    json_init(j, stdout, false);
    json_open(j, NULL, '{');
    json_text(j, "command", command);
    l->driver->version(client, sizeof client);
    json_text(j, "peer", l->driver->name);
    json_text(j, "client", client);
}

void load_json_end(struct json *j, double cpu_s)
{
    json_double(j, "client_cpu_s", cpu_s);
    json_close(j, '}');
    json_end(j);
}

static int load_list(struct load *l)
{
    (void)l;
    for (const struct peer_driver *const *d = peer_drivers(); *d != NULL; d++) {
        char client[128];
        (*d)->version(client, sizeof client);
        printf("%s\t%s%s%s\t%s\n", (*d)->name, ((*d)->modes & PEER_READ) != 0 ? "r" : "-",
               ((*d)->modes & PEER_LOG) != 0 ? "l" : "-",
               ((*d)->modes & PEER_QUEUE) != 0 ? "q" : "-", client);
    }
    return 0;
}

static int load_setup(struct load *l)
{
    char err[PEER_ERROR_BYTES] = "";
    return l->driver->setup(&l->o, err) == 0 ? 0 : load_fail("%s: %s", l->driver->name, err);
}

static const struct peer_driver *find(const char *name)
{
    for (const struct peer_driver *const *d = peer_drivers(); *d != NULL; d++) {
        if (strcmp((*d)->name, name) == 0) {
            return *d;
        }
    }
    return NULL;
}

static enum peer_mode mode_named(const char *s)
{
    return strcmp(s, "read") == 0    ? PEER_READ
           : strcmp(s, "log") == 0   ? PEER_LOG
           : strcmp(s, "queue") == 0 ? PEER_QUEUE
                                     : 0;
}

enum {
    OPT_PEER = 1,
    OPT_ADDRESS,
    OPT_TOPIC,
    OPT_GROUP,
    OPT_PARTITIONS,
    OPT_WINDOW,
    OPT_PREFETCH,
    OPT_UNBATCHED,
    OPT_MORE,
    OPT_DIR,
    OPT_CLIENTS,
    OPT_THREADS,
    OPT_COUNT,
    OPT_SECONDS,
    OPT_RATE,
    OPT_WARM,
    OPT_MODE,
    OPT_FAN_OUT,
    OPT_TAKE_RATE,
    OPT_SIZE,
    OPT_PAYLOAD
};

struct line {
    size_t size;
    const char *file;
};

static int take_option(struct load *l, struct line *line, int opt, const char *arg)
{
    const long long n = arg != NULL ? strtoll(arg, NULL, 10) : 0;

    switch (opt) {
    case OPT_PEER:
        l->driver = find(arg);
        return l->driver != NULL ? 0 : -1;
    case OPT_ADDRESS:
        l->o.address = arg;
        return 0;
    case OPT_TOPIC:
        l->o.topic = arg;
        return 0;
    case OPT_GROUP:
        l->o.group = arg;
        return 0;
    case OPT_PARTITIONS:
        l->o.partitions = (unsigned)n;
        return n > 0 ? 0 : -1;
    case OPT_WINDOW:
        l->o.window = (unsigned)n;
        return n > 0 ? 0 : -1;
    case OPT_PREFETCH:
        l->o.prefetch = (unsigned)n;
        return n > 0 ? 0 : -1;
    case OPT_UNBATCHED:
        l->o.unbatched = true;
        return 0;
    case OPT_MORE:
        l->o.more = arg;
        return 0;
    case OPT_DIR:
        l->dir = arg;
        return 0;
    case OPT_CLIENTS:
        l->clients = (unsigned)n;
        return n > 0 ? 0 : -1;
    case OPT_THREADS:
        l->threads = (unsigned)n;
        return 0;
    case OPT_COUNT:
        l->count = n;
        return n > 0 ? 0 : -1;
    case OPT_SECONDS:
        l->seconds = n;
        return n > 0 ? 0 : -1;
    case OPT_RATE:
        l->rate = strtod(arg, NULL);
        return 0;
    case OPT_WARM:
        l->warm_s = n;
        return 0;
    case OPT_MODE:
        l->mode = mode_named(arg);
        return l->mode != 0 ? 0 : -1;
    case OPT_FAN_OUT:
        l->fan_out = true;
        return 0;
    case OPT_TAKE_RATE:
        l->max_take_rate = n;
        return 0;
    case OPT_SIZE:
        line->size = (size_t)n;
        return n > 0 ? 0 : -1;
    case OPT_PAYLOAD:
        line->file = strcmp(arg, "random") == 0 ? NULL : arg;
        return 0;
    default:
        return -1;
    }
}

static int parse(struct load *l, struct line *line, int argc, char **argv)
{
    static const struct option options[] = {
        {"peer", 1, NULL, OPT_PEER},
        {"address", 1, NULL, OPT_ADDRESS},
        {"topic", 1, NULL, OPT_TOPIC},
        {"group", 1, NULL, OPT_GROUP},
        {"partitions", 1, NULL, OPT_PARTITIONS},
        {"window", 1, NULL, OPT_WINDOW},
        {"prefetch", 1, NULL, OPT_PREFETCH},
        {"unbatched", 0, NULL, OPT_UNBATCHED},
        {"more", 1, NULL, OPT_MORE},
        {"dir", 1, NULL, OPT_DIR},
        {"clients", 1, NULL, OPT_CLIENTS},
        {"threads", 1, NULL, OPT_THREADS},
        {"count", 1, NULL, OPT_COUNT},
        {"seconds", 1, NULL, OPT_SECONDS},
        {"rate", 1, NULL, OPT_RATE},
        {"warm", 1, NULL, OPT_WARM},
        {"mode", 1, NULL, OPT_MODE},
        {"fan-out", 0, NULL, OPT_FAN_OUT},
        {"take-rate", 1, NULL, OPT_TAKE_RATE},
        {"size", 1, NULL, OPT_SIZE},
        {"payload", 1, NULL, OPT_PAYLOAD},
        {NULL, 0, NULL, 0},
    };
    int opt, at = 0;

    while ((opt = getopt_long(argc, argv, "", options, &at)) != -1) {
        if (take_option(l, line, opt, optarg) != 0) {
            return load_fail("--%s: not understood", opt == '?' ? "?" : options[at].name);
        }
    }
    if (l->o.unbatched) {
        l->o.window = 1;
        l->o.prompt = true;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(struct load *l);
        bool peer; /* needs one */
    } commands[] = {
        {"list", load_list, false},      {"setup", load_setup, true},
        {"produce", load_produce, true}, {"consume", load_consume, true},
        {"latency", load_latency, true}, {"hold", load_hold, true},
        {"ready", load_ready, true},     {"disk", load_disk, false},
    };
    struct load l = {.o = {.topic = "bench",
                           .group = "bench",
                           .partitions = 1,
                           .window = WINDOW,
                           .prefetch = PREFETCH,
                           .members = 1},
                     .clients = 1,
                     .count = INT64_MAX / 2,
                     .seconds = 30,
                     .warm_s = 1,
                     .mode = PEER_LOG};
    struct line line = {.size = 100};
    char err[PEER_ERROR_BYTES] = "";
    int rc = 2;

    for (size_t i = 0; i < sizeof commands / sizeof *commands && argc > 1; i++) {
        if (strcmp(argv[1], commands[i].name) == 0 && parse(&l, &line, argc - 1, argv + 1) == 0) {
            if (commands[i].peer && (l.driver == NULL || l.o.address == NULL)) {
                rc = load_fail("%s needs --peer and --address", argv[1]);
            } else if (payload_init(&l.payload, line.file, line.size, err, sizeof err) != 0) {
                rc = load_fail("%s", err);
            } else {
                rc = commands[i].run(&l);
            }
        }
    }
    payload_fini(&l.payload);
    return rc;
}
