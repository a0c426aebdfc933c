/*
 * Delayed messages through the whole core, on a store on disk: how late they become visible, and
 * what many that wait cost in memory and to produces beside them. One thread, as the broker's loop.
 *
 *   bench-delay-core [DUE] [SPREAD_S] [MILLIONS_WAITING] [DIR]
 *
 * DUE messages become due at random times over SPREAD_S seconds, while MILLIONS_WAITING others wait
 * for months. Exits 1 when more than one in a thousand is later than 20 ms.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "bench/load.h"
#include "broker/core/core_group.h"
#include "storage/store_rocks.h"

enum { SLOTS = 256, TURNS = 5 };
static const int64_t DAY_MS = INT64_C(24) * 3600 * 1000;

struct slot {
    struct core_produce rq;
    struct loop *loop;
    struct blob *batch;
    bool busy;
};

struct loop {
    struct store *st;
    struct core *co;
    int wake_fd;
    uint64_t tid, random;
    struct slot slots[SLOTS];
    uint64_t done;
};

static int64_t mono_ns(void *arg)
{
    (void)arg;
    return bench_now_ns();
}

static int64_t wall_ms(void *arg)
{
    struct timespec ts;
    (void)arg;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static uint64_t random_u64(void *arg)
{
    struct loop *l = arg;
    l->random ^= l->random << 13;
    l->random ^= l->random >> 7;
    l->random ^= l->random << 17;
    return l->random;
}

static void on_log(void *arg, int level, const char *event, const char *kv)
{
    (void)arg;
    if (level <= 1) {
        fprintf(stderr, "%s %s\n", event, kv);
    }
}

static void on_wakeup(void *arg)
{
    const uint64_t one = 1;
    if (write(((struct loop *)arg)->wake_fd, &one, sizeof one) < 0) {
        return; /* it is full: awake already */
    }
}

/* One turn of the loop: what the broker's does around the core. */
static void turn(struct loop *l)
{
    struct pollfd fd = {.fd = l->wake_fd, .events = POLLIN};
    struct timespec ts = {0};
    uint64_t n;

    core_flush(l->co);
    int64_t wait_ns = core_deadline_mono_ns(l->co) - bench_now_ns();
    wait_ns = wait_ns < 0 ? 0 : wait_ns < 100000000 ? wait_ns : 100000000;
    ts.tv_nsec = wait_ns;
    if (ppoll(&fd, 1, &ts, NULL) > 0 && read(l->wake_fd, &n, sizeof n) < 0) {
        bench_die("eventfd");
    }
    store_poll(l->st);
    core_tick(l->co);
}

static void on_topic(struct core_topic_rq *rq)
{
    ((struct loop *)rq->arg)->done++;
}

static void start(struct loop *l, const char *dir)
{
    const struct store_conf conf = {
        .memory_bytes = 256 << 20, .min_free_bytes = 1 << 30, .wakeup = on_wakeup, .wakeup_arg = l};
    struct core_conf core_conf = {.broker_id = 1, .tail_cache_bytes = 64 << 20};
    const struct core_env env = {
        .arg = l, .mono_ns = mono_ns, .wall_ms = wall_ms, .random = random_u64, .log = on_log};
    struct core_topic_rq rq = {
        .verb = CORE_TOPIC_CREATE, .name = slice_str("t"), .done = on_topic, .arg = l};
    struct werror e = {0};

    l->random = 88172645463325252;
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (store_open_rocks(&l->st, dir, &conf, &e) != WERR_OK ||
        core_open(&l->co, &core_conf, l->st, &env, &e) != WERR_OK) {
        bench_die("%s", e.text);
    }
    core_topic_change(l->co, &rq);
    while (l->done == 0) {
        turn(l);
    }
    l->tid = rq.tid;
}

static void on_produced(struct core_produce *rq)
{
    struct slot *s = rq->arg;

    if (rq->err.code != WERR_OK) {
        bench_die("%s", rq->err.text);
    }
    s->busy = false;
    s->loop->done++;
}

/* One message of 100 bytes; at_ms 0 = at once. */
static void send_one(struct loop *l, struct slot *s, int64_t at_ms)
{
    static const uint8_t value[100];
    struct batch_builder bb;
    struct buf zip = {0};
    struct slice out;
    const struct batch_producer nobody = {0};

    if (s->batch == NULL) {
        batch_builder_init(&bb, 0);
        if (batch_add(&bb, wall_ms(l), (struct slice){0}, slice_of(value, sizeof value), NULL, 0) !=
                WERR_OK ||
            batch_finish(&bb, &nobody, BATCH_CODEC_NONE, &zip, &out) != WERR_OK) {
            bench_die("batch");
        }
        s->batch = blob_copy(out.p, out.n);
        batch_builder_fini(&bb);
        buf_fini(&zip);
    }
    s->loop = l;
    s->busy = true;
    /* a view without an owner, as from a receive buffer: the core copies it */
    s->rq = (struct core_produce){.tid = l->tid,
                                  .batch = {.p = s->batch->p, .n = s->batch->n},
                                  .deliver_at_ms = at_ms,
                                  .done = on_produced,
                                  .arg = s};
    core_produce(l->co, &s->rq);
}

/* Keeps all slots busy until `n` messages were answered or `seconds` passed. Returns the rate. */
static double produce(struct loop *l, uint64_t n, double seconds, int64_t from_ms,
                      int64_t spread_ms)
{
    const int64_t start_ns = bench_now_ns();
    const int64_t end_ns = seconds > 0 ? start_ns + (int64_t)(seconds * 1e9) : INT64_MAX;
    uint64_t sent = 0;

    l->done = 0;
    while (l->done < n && (bench_now_ns() < end_ns || l->done < sent)) {
        for (size_t i = 0; i < SLOTS && sent < n && bench_now_ns() < end_ns; i++) {
            if (!l->slots[i].busy) {
                const int64_t at_ms =
                    from_ms > 0 ? from_ms + (int64_t)(random_u64(l) % (uint64_t)spread_ms) : 0;
                send_one(l, &l->slots[i], at_ms);
                sent++;
            }
        }
        turn(l);
    }
    return (double)l->done / ((double)(bench_now_ns() - start_ns) / 1e9);
}

static double rss_mb(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long pages = 0, resident = 0;

    if (f != NULL) {
        if (fscanf(f, "%lu %lu", &pages, &resident) != 2) {
            resident = 0;
        }
        fclose(f);
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static bool lateness(struct loop *l, uint64_t n, int64_t spread_ms)
{
    static const char *const names[CORE_LATE_BUCKETS] = {"1 ms",   "2 ms",  "5 ms",   "10 ms",
                                                         "20 ms",  "50 ms", "100 ms", "200 ms",
                                                         "500 ms", "1 s",   "10 s",   "more"};
    struct core_group_stats s;
    uint64_t sum = 0, in_20ms = 0;

    produce(l, n, 0, wall_ms(l) + (int64_t)(n / 20) + 3000, spread_ms);
    do {
        turn(l);
        core_group_stats(l->co, &s);
    } while (s.delayed_delivered < n);
    printf("%llu messages, at most so late:", (unsigned long long)n);
    for (int i = 0; i < CORE_LATE_BUCKETS; i++) {
        sum += s.late[i];
        in_20ms = i == 4 ? sum : in_20ms;
        printf(" %s %.3f %%", names[i], 100.0 * (double)sum / (double)n);
    }
    printf("; mean %.2f ms\n", (double)s.late_ms_total / (double)n);
    return (double)in_20ms >= 0.999 * (double)n;
}

int main(int argc, char **argv)
{
    const uint64_t due = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    const double spread_s = argc > 2 ? strtod(argv[2], NULL) : 60;
    const double millions = argc > 3 ? strtod(argv[3], NULL) : 10;
    const char *base = argc > 4 ? argv[4] : "/tmp";
    static struct loop l;
    char *dir = bench_dir(base);
    struct core_group_stats s;

    start(&l, dir);
    produce(&l, UINT64_MAX, 1, 0, 1);
    for (int i = 0; i < TURNS; i++) {
        printf("without: %.0f produces/s\n", produce(&l, UINT64_MAX, 2, 0, 1));
    }
    printf("memory %.0f MB\n", rss_mb());
    fflush(stdout);
    if (millions > 0) {
        const double rate =
            produce(&l, (uint64_t)(millions * 1e6), 0, wall_ms(&l) + 100 * DAY_MS, 100 * DAY_MS);
        core_group_stats(l.co, &s);
        printf("%llu messages wait; taken at %.0f/s; memory %.0f MB, %.2f GB on disk\n",
               (unsigned long long)s.delayed_pending, rate, rss_mb(),
               (double)bench_dir_bytes(dir) / 1e9);
        for (int i = 0; i < TURNS; i++) {
            printf("with: %.0f produces/s\n", produce(&l, UINT64_MAX, 2, 0, 1));
        }
        fflush(stdout);
    }
    const bool ok = lateness(&l, due, (int64_t)(spread_s * 1000));
    printf("memory %.0f MB; one in a thousand within 20 ms: %s\n", rss_mb(),
           ok ? "reached" : "MISSED");
    store_close(l.st);
    core_close(l.co);
    bench_remove(dir);
    free(dir);
    for (size_t i = 0; i < SLOTS; i++) {
        blob_unref(l.slots[i].batch);
    }
    return ok ? 0 : 1;
}
