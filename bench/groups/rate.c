/*
 * How exact max_rate is, as workers see it: a topic full of messages, a queue group with a rate,
 * some workers who take and ack as fast as they can. Every arrival is timed.
 *
 *   bench-group-rate URL RATE SECONDS [WORKERS] [SVG]
 *
 * Prints one line: the rate set, the rate over every stretch of 10 s (lowest and highest), the most
 * messages in any 100 ms and what is allowed there (rate / 10 * 1.02 + 1). With SVG: a picture of
 * the messages in each 100 ms. Exit 1 when 10 s are off by more than 2 % or a window is too full.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/groups/common.h"

enum { MAX_WORKERS = 64 };
static const int64_t WINDOW_NS = 100000000;
static const int64_t STRETCH_NS = INT64_C(10000000000);

struct run {
    const char *url, *topic;
    uint64_t rate;
    int64_t seconds;
    unsigned workers;
    weir *w[MAX_WORKERS];
    weir_sub *s[MAX_WORKERS];
    int64_t *at; /* arrivals, monotonic ns */
    size_t n, cap;
};

static void fill(struct run *r)
{
    weir *w = weir_open(r->url, NULL);
    const uint64_t n = r->rate * (uint64_t)r->seconds + r->rate + 100;
    char value[32];

    for (uint64_t i = 0; i < n; i++) {
        snprintf(value, sizeof value, "%llu", (unsigned long long)i);
        weir_error e =
            weir_send_async(w, r->topic, weir_str(NULL), weir_str(value), NULL, NULL, NULL);
        if (e.code == WEIR_E_BUFFER_FULL) {
            must(weir_flush(w, 30000), "produce");
            i--;
        } else {
            must(e, "produce");
        }
    }
    must(weir_flush(w, 60000), "produce");
    must(weir_close(w, 10000), "close");
}

static void join(struct run *r)
{
    char config[64];

    for (unsigned i = 0; i < r->workers; i++) {
        r->w[i] = weir_open(r->url, NULL);
        r->s[i] = weir_subscribe(r->w[i], r->topic, "paced", "mode=queue prefetch=1000");
        const int64_t until_ns = now_mono_ns() + STRETCH_NS;
        while (weir_sub_epoch(r->s[i]) == 0 && now_mono_ns() < until_ns) {
            (void)weir_next(r->s[i], 10);
        }
        if (weir_sub_epoch(r->s[i]) == 0) {
            die("worker %u did not join: %s", i, weir_sub_error(r->s[i]).text);
        }
    }
    snprintf(config, sizeof config, "max_rate=%llu", (unsigned long long)r->rate);
    must(weir_group_alter(r->w[0], "paced", config, 0, NULL, 10000), "alter");
}

static void take(struct run *r, unsigned i)
{
    const weir_message *m;

    weir_on_io(r->w[i]);
    while ((m = weir_next(r->s[i], 0)) != NULL) {
        if (r->n < r->cap) {
            r->at[r->n++] = now_mono_ns();
        }
        weir_done(m, WEIR_ACK);
    }
    weir_on_io(r->w[i]);
}

static void measure(struct run *r)
{
    struct pollfd fds[MAX_WORKERS];
    int64_t end_ns = INT64_MAX;

    while (now_mono_ns() < end_ns) {
        int wait_ms = 100;
        for (unsigned i = 0; i < r->workers; i++) {
            const int t = weir_timeout_ms(r->w[i]);
            fds[i] = (struct pollfd){.fd = weir_fd(r->w[i]), .events = POLLIN};
            wait_ms = t >= 0 && t < wait_ms ? t : wait_ms;
        }
        (void)poll(fds, r->workers, wait_ms);
        for (unsigned i = 0; i < r->workers; i++) {
            take(r, i);
        }
        if (end_ns == INT64_MAX && r->n > 0) {
            end_ns = r->at[0] + r->seconds * 1000000000;
        }
    }
}

/* Messages in the fullest (or emptiest) stretch of `span` that lies wholly inside the run. */
static size_t extreme(const struct run *r, int64_t span_ns, int most)
{
    size_t best = most ? 0 : SIZE_MAX, j = 0;

    for (size_t i = 0; i < r->n && r->at[i] + span_ns <= r->at[r->n - 1]; i++) {
        while (j < r->n && r->at[j] < r->at[i] + span_ns) {
            j++;
        }
        const size_t in = j - i;
        best = (most ? in > best : in < best) ? in : best;
    }
    return best;
}

static void draw(const struct run *r, const char *path)
{
    const size_t bins = (size_t)(r->seconds * 10);
    uint64_t *count = calloc(bins, sizeof *count);
    FILE *f = fopen(path, "w");
    const double allowed = (double)r->rate * 0.102 + 1;

    if (f == NULL || count == NULL) {
        die("%s cannot be written", path);
    }
    for (size_t i = 0; i < r->n; i++) {
        const size_t b = (size_t)((r->at[i] - r->at[0]) / WINDOW_NS);
        count[b < bins ? b : bins - 1]++;
    }
    fprintf(f,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %zu 240' font-family='sans-serif'"
            " font-size='12'>\n<rect width='100%%' height='100%%' fill='white'/>\n"
            "<text x='40' y='16'>messages in each 100 ms, max_rate %llu/s; red: the most that is "
            "allowed</text>\n",
            bins * 4 + 60, (unsigned long long)r->rate);
    fprintf(f,
            "<line x1='40' x2='%zu' y1='40' y2='40' stroke='red'/>\n<polyline fill='none' "
            "stroke='steelblue' points='",
            bins * 4 + 40);
    for (size_t b = 0; b < bins; b++) {
        fprintf(f, "%zu,%.1f ", b * 4 + 40, 220 - 180 * (double)count[b] / allowed);
    }
    fprintf(f, "'/>\n<text x='4' y='224'>0</text><text x='4' y='44'>%.0f</text>\n</svg>\n",
            allowed);
    if (fclose(f) != 0) {
        die("%s cannot be written", path);
    }
    free(count);
}

static int report(const struct run *r)
{
    const double allowed = (double)r->rate * 0.102 + 1;
    const size_t window = extreme(r, WINDOW_NS, 1);
    const double low = (double)extreme(r, STRETCH_NS, 0) / 10,
                 high = (double)extreme(r, STRETCH_NS, 1) / 10;
    const int good = r->n > 1 && (double)window <= allowed && low >= (double)r->rate * 0.98 &&
                     high <= (double)r->rate * 1.02;

    printf("%8llu/s | %10.1f to %10.1f | %+6.2f %% to %+6.2f %% | %7zu of %9.1f | %s\n",
           (unsigned long long)r->rate, low, high, 100 * (low / (double)r->rate - 1),
           100 * (high / (double)r->rate - 1), window, allowed, good ? "kept" : "BROKEN");
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct run r = {.workers = 4};
    char topic[64];

    if (argc < 4) {
        die("usage: bench-group-rate URL RATE SECONDS [WORKERS] [SVG]");
    }
    r.url = argv[1];
    r.rate = number(argv[2], 1, 1000000);
    r.seconds = (int64_t)number(argv[3], 11, 3600);
    r.workers = argc > 4 ? (unsigned)number(argv[4], 1, MAX_WORKERS) : r.workers;
    snprintf(topic, sizeof topic, "rate-%llu-%lld", (unsigned long long)r.rate,
             (long long)now_wall_ms());
    r.topic = topic;
    r.cap = (size_t)(r.rate * 2 * (uint64_t)r.seconds) + 1000;
    r.at = calloc(r.cap, sizeof *r.at);
    if (r.at == NULL) {
        die("no memory");
    }
    weir *w = weir_open(r.url, NULL);
    make_topic(w, topic, "partitions=4");
    weir_group_delete(w, "paced", WEIR_FORCE, 10000);
    join(&r);
    fill(&r);
    measure(&r);
    const int rc = report(&r);
    if (argc > 5) {
        draw(&r, argv[5]);
    }
    for (unsigned i = 0; i < r.workers; i++) {
        weir_close(r.w[i], 1000);
    }
    weir_topic_delete(w, topic, 0, NULL, 10000);
    weir_close(w, 1000);
    free(r.at);
    return rc;
}
