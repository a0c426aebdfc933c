#include "tests/faults/check/world.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int64_t step_ns = 1000000;
static const uint64_t run_id = 77;

static const enum hist_role roles[CLIENTS] = {
    [P1] = HIST_PRODUCER,    [P2] = HIST_PRODUCER, [R1] = HIST_READER, [M1] = HIST_MEMBER,
    [M2] = HIST_MEMBER,      [W1] = HIST_WORKER,   [W2] = HIST_WORKER, [OB] = HIST_OBSERVER,
    [LR] = HIST_LAST_READER, [DI] = HIST_DIRECTOR};

int world_setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    snprintf(w->dir, sizeof(w->dir), "/tmp/weir-check-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->now = hist_now_ns();
    check_options_default(&w->o);
    w->o.need_acks = 0;
    *state = w;
    return 0;
}

int world_teardown(void **state)
{
    struct world *w = *state;
    DIR *d = opendir(w->dir);
    const struct dirent *e;
    for (int i = 0; i < CLIENTS; i++) {
        hist_finish(&w->w[i]);
    }
    check_free(w->c);
    while (d && (e = readdir(d))) {
        unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d) {
        closedir(d);
    }
    rmdir(w->dir);
    free(w);
    return 0;
}

int64_t world_tick(struct world *w)
{
    w->now += step_ns;
    return w->now;
}

/* A history begins at the time of the world, not of the test. */
static void open_history(struct world *w, enum who who)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%02d.hist", w->dir, (int)who);
    assert_int_equal(hist_create(&w->w[who], path, roles[who], (uint32_t)who + 1, run_id), 0);
    struct hist_event *begin = w->w[who].map;
    begin->at_ns = world_tick(w);
    begin->check = hist_check(begin);
    w->on[who] = true;
}

void world_add(struct world *w, enum who who, struct hist_event e)
{
    if (!w->on[who]) {
        open_history(w, who);
    }
    if (!e.at_ns) {
        e.at_ns = world_tick(w);
    }
    hist_add(&w->w[who], &e);
}

static uint32_t number_of(enum who who)
{
    return (uint32_t)who + 1;
}

static uint32_t group_of(enum who who)
{
    return roles[who] == HIST_WORKER ? QUEUE_GROUP : LOG_GROUP;
}

/* ---------------------------------------------------------------- producing */

static struct hist_event message(enum hist_kind kind, enum who who, uint64_t counter, int32_t p)
{
    return (struct hist_event){.kind = (uint8_t)kind,
                               .topic = TOPIC,
                               .partition = p,
                               .offset = -1,
                               .producer = number_of(who),
                               .counter = counter};
}

void send_(struct world *w, enum who who, uint64_t counter, int32_t p)
{
    struct hist_event e = message(HIST_SEND, who, counter, p);
    e.extra = (uint32_t)w->level;
    world_add(w, who, e);
}

void send_delayed(struct world *w, enum who who, uint64_t counter, int32_t p, int64_t ms)
{
    struct hist_event e = message(HIST_SEND, who, counter, p);
    e.at_ns = world_tick(w);
    e.generation = (uint64_t)(e.at_ns + ms * 1000000);
    world_add(w, who, e);
}

void sent(struct world *w, enum who who, uint64_t counter, int32_t p, int64_t offset,
          enum hist_outcome outcome)
{
    struct hist_event e = message(HIST_SENT, who, counter, p);
    e.offset = offset;
    e.outcome = (uint8_t)outcome;
    world_add(w, who, e);
}

void sent_duplicate(struct world *w, enum who who, uint64_t counter, int32_t p, int64_t offset)
{
    struct hist_event e = message(HIST_SENT, who, counter, p);
    e.offset = offset;
    e.flags = HIST_DUPLICATE;
    world_add(w, who, e);
}

int64_t append(struct world *w, enum who who, uint64_t counter, int32_t p)
{
    struct world_log *l = &w->log[p];
    assert_true(l->end < WORLD_LOG);
    l->v[l->end] = (struct slot){.producer = number_of(who), .counter = counter};
    return l->end++;
}

int64_t put(struct world *w, enum who who, uint64_t counter, int32_t p)
{
    send_(w, who, counter, p);
    const int64_t offset = append(w, who, counter, p);
    sent(w, who, counter, p, offset, HIST_OK);
    return offset;
}

void fill(struct world *w, uint64_t from, uint64_t n, int32_t p)
{
    for (uint64_t i = 0; i < n; i++) {
        put(w, P1, from + i, p);
    }
}

/* ---------------------------------------------------------------- reading */

/* What the log shows at an offset. */
static struct hist_event shown(const struct world *w, enum hist_kind kind, int32_t p,
                               int64_t offset)
{
    const struct slot *s = &w->log[p].v[offset];
    return (struct hist_event){.kind = (uint8_t)kind,
                               .flags = s->flags,
                               .topic = TOPIC,
                               .partition = p,
                               .offset = offset,
                               .producer = s->producer,
                               .counter = s->counter};
}

void read_sub(struct world *w, uint32_t sub, int32_t p, int64_t offset)
{
    struct hist_event e = shown(w, HIST_READ, p, offset);
    e.extra = sub;
    world_add(w, R1, e);
}

void read_(struct world *w, int32_t p, int64_t offset)
{
    read_sub(w, 1, p, offset);
}

void read_value(struct world *w, int32_t p, int64_t offset, enum who who, uint64_t counter)
{
    struct hist_event e = message(HIST_READ, who, counter, p);
    e.offset = offset;
    e.extra = 1;
    world_add(w, R1, e);
}

void watermark(struct world *w, int32_t p, int64_t hw)
{
    struct hist_event e = message(HIST_HW, P1, 0, p);
    e.producer = 0;
    e.offset = hw;
    e.counter = (uint64_t)world_tick(w);
    world_add(w, OB, e);
}

/* ---------------------------------------------------------------- groups */

static struct hist_event of_group(enum hist_kind kind, enum who who, int32_t p, int64_t offset)
{
    return (struct hist_event){.kind = (uint8_t)kind,
                               .topic = TOPIC,
                               .partition = p,
                               .offset = offset,
                               .group = group_of(who)};
}

void join(struct world *w, enum who who)
{
    struct hist_event e = of_group(HIST_JOIN, who, -1, -1);
    e.topic = 0;
    world_add(w, who, e);
}

void left(struct world *w, enum who who)
{
    struct hist_event e = of_group(HIST_LEFT, who, -1, -1);
    e.topic = 0;
    world_add(w, who, e);
}

void gained(struct world *w, enum who who, int32_t p, int64_t offset, uint64_t generation)
{
    struct hist_event e = of_group(HIST_GAINED, who, p, offset);
    e.generation = generation;
    world_add(w, who, e);
}

void lost(struct world *w, enum who who, int32_t p, uint64_t generation)
{
    struct hist_event e = of_group(HIST_LOST, who, p, -1);
    e.generation = generation;
    world_add(w, who, e);
}

void deliver(struct world *w, enum who who, int32_t p, int64_t offset, uint32_t deliveries)
{
    struct hist_event e = shown(w, HIST_DELIVERED, p, offset);
    e.group = group_of(who);
    e.extra = deliveries;
    world_add(w, who, e);
}

void deliver_all(struct world *w, enum who who, int32_t p, int64_t from, int64_t to)
{
    for (int64_t o = from; o < to; o++) {
        deliver(w, who, p, o, 1);
    }
}

uint64_t commit_ask(struct world *w, enum who who, int32_t p, int64_t at, uint64_t generation)
{
    struct hist_event e = of_group(HIST_COMMIT, who, p, at);
    e.generation = generation;
    e.op = (uint64_t)++w->op;
    world_add(w, who, e);
    return e.op;
}

void commit_answer(struct world *w, enum who who, int32_t p, int64_t at, uint64_t generation,
                   uint64_t op, enum hist_outcome outcome)
{
    struct hist_event e = of_group(HIST_COMMITTED, who, p, at);
    e.generation = generation;
    e.op = op;
    e.outcome = (uint8_t)outcome;
    world_add(w, who, e);
}

void commit(struct world *w, enum who who, int32_t p, int64_t at, uint64_t generation,
            enum hist_outcome outcome)
{
    const uint64_t op = commit_ask(w, who, p, at, generation);
    commit_answer(w, who, p, at, generation, op, outcome);
}

void position(struct world *w, uint32_t group, int32_t p, int64_t at)
{
    struct hist_event e = of_group(HIST_POSITION, M1, p, at);
    e.group = group;
    e.counter = (uint64_t)world_tick(w);
    world_add(w, OB, e);
}

void settle(struct world *w, enum who who, int32_t p, int64_t offset, uint32_t verdict,
            enum hist_outcome outcome)
{
    struct hist_event e = of_group(HIST_SETTLE, who, p, offset);
    e.extra = verdict;
    e.op = (uint64_t)++w->op;
    world_add(w, who, e);
    e.kind = HIST_SETTLED;
    e.outcome = (uint8_t)outcome;
    world_add(w, who, e);
}

void seek(struct world *w, uint32_t group, int32_t p, int64_t offset, enum hist_outcome outcome)
{
    struct hist_event e = of_group(HIST_SEEK, M1, p, offset);
    e.group = group;
    e.op = (uint64_t)++w->op;
    world_add(w, DI, e);
    e.kind = HIST_SEEK_DONE;
    e.outcome = (uint8_t)outcome;
    world_add(w, DI, e);
}

/* ---------------------------------------------------------------- the director */

static void direct(struct world *w, enum hist_kind kind, uint64_t counter, uint32_t extra,
                   uint32_t group)
{
    world_add(w, DI,
              (struct hist_event){.kind = (uint8_t)kind,
                                  .partition = -1,
                                  .offset = -1,
                                  .group = group,
                                  .counter = counter,
                                  .extra = extra});
}

void fault(struct world *w, const char *name)
{
    direct(w, HIST_FAULT, hist_name(name), 0, 0);
}

void cut(struct world *w)
{
    direct(w, HIST_CUT, 0, 0, 0);
}

void start(struct world *w)
{
    direct(w, HIST_START, 0, 100, 0);
}

/* ---------------------------------------------------------------- the end */

static void final_pass(struct world *w, int32_t p, uint32_t pass)
{
    const struct world_log *l = &w->log[p];
    const int64_t end = w->end_told[pass - 1] ? w->end_told[pass - 1] : l->end;
    struct hist_event e = message(HIST_FINAL_RANGE, P1, (uint64_t)end, p);
    e.producer = 0;
    e.offset = l->start;
    e.extra = pass;
    world_add(w, LR, e);
    for (int64_t o = l->start; o < l->end - (w->short_pass && pass == 2); o++) {
        if (l->v[o].producer) {
            e = shown(w, HIST_FINAL, p, o);
            e.extra = pass;
            world_add(w, LR, e);
        }
    }
}

void world_end(struct world *w)
{
    direct(w, HIST_HEAL, 0, 0, 0);
    for (uint64_t probe = HIST_PROBE_PRODUCE; probe <= HIST_PROBE_JOIN && !w->no_probes; probe++) {
        direct(w, HIST_PROBE, probe, 20, 0);
    }
    for (uint32_t g = 1; g <= w->last_group; g++) {
        direct(w, HIST_UNSEEN, 0, 0, g);
    }
    for (uint32_t pass = 1; pass <= (w->one_pass ? 1 : 2) && !w->no_final; pass++) {
        for (int32_t p = 0; p < WORLD_PARTS; p++) {
            final_pass(w, p, pass);
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        if (w->on[i] && !(i == LR && w->no_reader_end) && !(i == DI && w->no_director_end)) {
            assert_int_equal(hist_finish(&w->w[i]), 0);
        }
    }
    if (w->no_director) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%02d.hist", w->dir, (int)DI);
        assert_int_equal(unlink(path), 0);
    }
}

void world_judge(struct world *w, enum check_verdict verdict)
{
    world_end(w);
    w->c = check_new(&w->o);
    assert_non_null(w->c);
    check_load(w->c, w->dir);
    const enum check_verdict v = check_judge(w->c);
    if (v != verdict) {
        check_print(w->c, stderr);
    }
    assert_int_equal(v, verdict);
    FILE *nowhere = fopen("/dev/null", "w");
    assert_non_null(nowhere);
    check_print(w->c, nowhere);
    check_json(w->c, nowhere);
    fclose(nowhere);
}

static void wants_only(struct world *w, enum check_anomaly a, enum check_anomaly b)
{
    world_judge(w, CHECK_VIOLATION);
    for (int i = 0; i < CHECK_ANOMALIES; i++) {
        const bool wanted = i == (int)a || i == (int)b;
        if (wanted != (check_count(w->c, (enum check_anomaly)i) > 0)) {
            check_print(w->c, stderr);
            fail_msg("%s: %llu", check_rule((enum check_anomaly)i)->name,
                     (unsigned long long)check_count(w->c, (enum check_anomaly)i));
        }
    }
    assert_null(check_reason(w->c, 0));
}

void world_wants(struct world *w, enum check_anomaly a)
{
    wants_only(w, a, a);
    assert_int_equal(check_count(w->c, a), 1);
}

void world_wants_two(struct world *w, enum check_anomaly a, enum check_anomaly b)
{
    wants_only(w, a, b);
}

void world_clean(struct world *w)
{
    world_judge(w, CHECK_CLEAN);
    assert_null(check_reason(w->c, 0));
}

void world_invalid(struct world *w, const char *text)
{
    bool said = false;
    const char *r;
    world_judge(w, CHECK_INVALID);
    for (size_t i = 0; (r = check_reason(w->c, i)); i++) {
        said = said || strstr(r, text);
    }
    if (!said) {
        fail_msg("no reason says '%s', the first: %s", text, check_reason(w->c, 0));
    }
}
