/*
 * weir bench consume --group: how fast the members of a group consume a topic.
 * Happy path: each member is a thread with a handle of its own. It takes messages, gives each back
 * as finished, and whenever nothing comes it waits until all that is durable and notes the time.
 * The main thread asks the broker whether anything is left and adds up. Time counts from the first
 * subscription to the last durable acknowledgement.
 * What can fail: joining, acknowledging; the first failure of each member ends the run.
 * Who owns what: a member owns its handle; only `over` and the two counters are shared.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/cli/bench.h"
#include "client/cli/clock.h"
#include "client/cli/interrupt.h"
#include "client/cli/member.h"
#include "client/cli/progress.h"
#include "client/cli/values.h"
#include "client/cli/wait.h"

enum { MEMBERS_MAX = 256, IDLE_MS = 5, NS_PER_MS = 1000000 };

struct crowd {
    struct session s;
    const char *topic, *group;
    int64_t n_members, max_count, max_ns; /* -1 = no limit */
    int64_t start_ns, end_ns;
    int64_t count;
    double bytes;
    atomic_llong taken; /* messages, by all members */
    atomic_int working; /* members that have not ended */
    atomic_bool over;
};

struct member {
    struct crowd *crowd;
    pthread_t thread;
    bool started;
    weir *w;
    weir_sub *sub;
    int64_t count;
    double bytes;
    int64_t end_ns; /* of the last durable acknowledgement */
    weir_error failure;
};

/* Waits until everything given back is durable. */
static bool make_durable(struct member *m)
{
    weir_error e = weir_commit(m->sub, m->crowd->s.timeout_ms);
    if (e.outcome != WEIR_DONE) {
        m->failure = e;
        return false;
    }
    m->end_ns = cli_mono_ns();
    return true;
}

static void *member_main(void *arg)
{
    struct member *m = arg;
    struct crowd *c = m->crowd;
    bool dirty = false;
    while (!atomic_load_explicit(&c->over, memory_order_relaxed)) {
        const weir_message *msg = weir_next(m->sub, dirty ? IDLE_MS : WAIT_SLICE_MS);
        if (msg) {
            if (c->max_count >= 0 && atomic_fetch_add(&c->taken, 1) >= c->max_count) {
                break; /* another one was the last; this one is given to somebody else */
            }
            if (c->max_count < 0) {
                atomic_fetch_add_explicit(&c->taken, 1, memory_order_relaxed);
            }
            m->count++;
            m->bytes += (double)(msg->key.size + msg->value.size);
            weir_done(msg, WEIR_ACK);
            dirty = true;
            continue;
        }
        weir_error e = weir_sub_error(m->sub);
        if (e.code != WEIR_E_TIMEOUT) {
            m->failure = e;
            break;
        }
        if (dirty && !make_durable(m)) {
            break;
        }
        dirty = false;
    }
    if (dirty && m->failure.code == WEIR_OK) {
        make_durable(m);
    }
    if (m->failure.code != WEIR_OK) {
        atomic_store(&c->over, true);
    }
    weir_close(m->w, c->s.timeout_ms); /* leaves, so that the next run need not wait */
    m->w = NULL;
    atomic_fetch_sub(&c->working, 1);
    return NULL;
}

/* Watches until the members end. */
static int watch(struct crowd *c)
{
    struct progress progress;
    int r = EXIT_DONE;
    progress_init(&progress);
    while (atomic_load(&c->working) > 0) {
        bool left = true;
        int64_t taken = atomic_load_explicit(&c->taken, memory_order_relaxed);
        if (!r && !atomic_load(&c->over)) {
            r = member_left(&c->s, c->group, c->topic, &left);
        }
        bool late = c->max_ns >= 0 && cli_mono_ns() - c->start_ns >= c->max_ns;
        bool enough = c->max_count >= 0 && taken >= c->max_count;
        if (r || !left || late || enough || interrupt_seen()) {
            atomic_store(&c->over, true);
        }
        progress_update(&progress, "acknowledged", taken, 0);
        wait_io(c->s.w, -1, 0, WAIT_SLICE_MS * INT64_C(1000000) / 2);
    }
    progress_clear(&progress);
    return r;
}

static int run(struct crowd *c, const struct args *a, struct member *members)
{
    int r = EXIT_DONE;
    for (int64_t i = 0; !r && i < c->n_members; i++) {
        members[i].crowd = c;
        r = session_handle(&c->s, NULL, &members[i].w);
    }
    interrupt_catch();
    c->start_ns = c->end_ns = cli_mono_ns();
    for (int64_t i = 0; !r && i < c->n_members; i++) {
        r = member_open(members[i].w, a, c->topic, &members[i].sub);
    }
    for (int64_t i = 0; !r && i < c->n_members; i++) {
        atomic_fetch_add(&c->working, 1);
        members[i].started =
            pthread_create(&members[i].thread, NULL, member_main, &members[i]) == 0;
        if (!members[i].started) {
            atomic_fetch_sub(&c->working, 1);
            r = cli_fail(EXIT_REFUSED, "cannot start a thread");
        }
    }
    if (r) {
        atomic_store(&c->over, true);
    }
    int watched = watch(c);
    for (int64_t i = 0; i < c->n_members; i++) {
        struct member *m = &members[i];
        if (m->started) {
            pthread_join(m->thread, NULL);
        }
        weir_close(m->w, 0);
        c->count += m->count;
        c->bytes += m->bytes;
        c->end_ns = m->end_ns > c->end_ns ? m->end_ns : c->end_ns;
        if (!r && m->failure.code != WEIR_OK) {
            r = session_fail_topic(&c->s, c->topic, &m->failure);
        }
    }
    return r ? r : watched;
}

static void show(const struct crowd *c, const struct args *a)
{
    char t[3][32];
    double seconds = (double)(c->end_ns - c->start_ns) / 1e9;
    if (c->s.output != OUTPUT_TABLE) {
        struct json j;
        json_init(&j, stdout, c->s.output == OUTPUT_JSON);
        json_open(&j, NULL, '{');
        json_text(&j, "bench", "consume");
        json_text(&j, "topic", c->topic);
        json_text(&j, "group", c->group);
        json_text(&j, "mode", member_is_queue(a) ? "queue" : "log");
        json_int(&j, "members", c->n_members);
        json_int(&j, "messages", c->count);
        json_double(&j, "bytes", c->bytes);
        json_double(&j, "seconds", seconds);
        rate_json(&j, c->count, c->bytes, seconds);
        json_close(&j, '}');
        json_end(&j);
        return;
    }
    double rate = seconds > 0 ? (double)c->count / seconds : 0;
    printf(
        "members   %" PRId64 " (%s mode)\nmessages  %s\ntime      %.2f s\nrate      %s/s, %s/s\n",
        c->n_members, member_is_queue(a) ? "queue" : "log", text_count(t[0], sizeof t[0], c->count),
        seconds, text_count(t[1], sizeof t[1], (int64_t)rate),
        text_bytes(t[2], sizeof t[2], seconds > 0 ? c->bytes / seconds : 0));
}

int bench_members(const struct args *a)
{
    struct crowd c = {.topic = args_text(a, OPT_TOPIC, NULL),
                      .group = args_text(a, OPT_GROUP, NULL),
                      .n_members = args_number(a, OPT_MEMBERS, 1),
                      .max_count = args_number(a, OPT_COUNT, -1)};
    struct member *members = NULL;
    int64_t duration_ms = args_number(a, OPT_DURATION, -1);
    int r = member_check(a);
    c.max_ns = duration_ms < 0 ? -1 : duration_ms * NS_PER_MS;
    if (!r && (c.n_members < 1 || c.n_members > MEMBERS_MAX)) {
        r = cli_fail(EXIT_USAGE, "--members: 1 to %d", MEMBERS_MAX);
    }
    if (r) {
        return r;
    }
    members = calloc((size_t)c.n_members, sizeof *members);
    if (!members) {
        return cli_fail(EXIT_REFUSED, "out of memory");
    }
    r = session_open(&c.s, a, NULL);
    if (!r) {
        r = run(&c, a, members);
    }
    if (!r) {
        show(&c, a);
    }
    free(members);
    session_close(&c.s);
    return r;
}
