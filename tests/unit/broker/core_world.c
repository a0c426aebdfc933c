#include "core_world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/test.h"

static int64_t mono_ns(void *arg)
{
    return ((struct world *)arg)->mono_ns;
}

static int64_t wall_ms(void *arg)
{
    return ((struct world *)arg)->wall_ms;
}

static uint64_t random_u64(void *arg)
{
    (void)arg;
    return 4; /* chosen by fair dice roll */
}

static void on_log(void *arg, int level, const char *event, const char *kv)
{
    struct world *w = arg;
    const size_t n = strlen(w->log);

    snprintf(w->log + n, sizeof w->log - n, "%d %s %s\n", level, event, kv);
}

bool world_logged(const struct world *w, const char *event)
{
    return strstr(w->log, event) != NULL;
}

void world_init(struct world *w)
{
    *w = (struct world){
        .disk = memdisk_new(), .mono_ns = INT64_C(5000000000), .wall_ms = INT64_C(1700000000000)};
    w->conf.broker_id = 1;
    w->conf.tail_cache_bytes = 1 << 20;
    w->conf.inflight_bytes = 8 << 20;
    topic_config_defaults(&w->conf.topic_defaults);
    w->store_conf.memory_bytes = 64 << 20;
    w->store_conf.mono_ns = NULL;
}

void world_open(struct world *w)
{
    const struct core_env env = {
        .arg = w, .mono_ns = mono_ns, .wall_ms = wall_ms, .random = random_u64, .log = on_log};
    struct werror e = {0};

    if (store_open_mem(&w->st, w->disk, STORE_MEM_STEPPED, &w->store_conf, &e) != WERR_OK ||
        core_open(&w->co, &w->conf, w->st, &env, &e) != WERR_OK) {
        fail_msg("open: %s", e.text);
    }
}

void world_close(struct world *w)
{
    world_step(w);
    store_close(w->st);
    core_close(w->co);
    w->co = NULL;
    w->st = NULL;
}

void world_crash(struct world *w, unsigned keep)
{
    store_abandon(w->st);
    core_close(w->co);
    memdisk_crash(w->disk, keep);
    w->co = NULL;
    w->st = NULL;
}

void world_fini(struct world *w)
{
    if (w->co != NULL) {
        world_close(w);
    }
    memdisk_free(w->disk);
}

void world_step(struct world *w)
{
    for (int i = 0; i < 8; i++) {
        core_flush(w->co);
        store_step(w->st);
    }
}

void world_pass(struct world *w, int64_t ms)
{
    const int64_t end_ns = w->mono_ns + ms * 1000000;

    while (w->mono_ns < end_ns) {
        int64_t next_ns = core_deadline_mono_ns(w->co);
        next_ns = next_ns < end_ns ? next_ns : end_ns;
        next_ns = next_ns > w->mono_ns ? next_ns : w->mono_ns;
        const int64_t step_ms = (next_ns - w->mono_ns + 999999) / 1000000;
        w->wall_ms += step_ms;
        w->mono_ns += step_ms * 1000000;
        core_tick(w->co);
        world_step(w);
    }
}

/* ---------------------------------------------------------------- topics */

static void topic_done(struct core_topic_rq *rq)
{
    ++*(int *)rq->arg;
}

void world_change(struct world *w, enum core_topic_verb verb, const char *name,
                  const struct topic_config *c, enum werr want, struct core_topic_rq *out)
{
    int done = 0;
    struct core_topic_rq rq = {
        .verb = verb, .name = slice_str(name), .done = topic_done, .arg = &done};

    if (c != NULL) {
        rq.conf = *c;
    }
    core_topic_change(w->co, &rq);
    world_step(w);
    assert_int_equal(done, 1);
    if (rq.err.code != want) {
        fail_msg("%s: %s %s", name, werr_name(rq.err.code), rq.err.text);
    }
    if (out != NULL) {
        *out = rq;
    }
}

uint64_t world_topic(struct world *w, const char *name, ...)
{
    struct topic_config c = {0};
    struct core_topic_rq rq;
    struct werror e = {0};
    const char *key;
    va_list ap;

    va_start(ap, name);
    while ((key = va_arg(ap, const char *)) != NULL) {
        if (topic_config_set(&c, key, va_arg(ap, const char *), &e) != WERR_OK) {
            fail_msg("%s", e.text);
        }
    }
    va_end(ap);
    world_change(w, CORE_TOPIC_CREATE, name, &c, WERR_OK, &rq);
    return rq.tid;
}

/* ---------------------------------------------------------------- producing */

struct blob *world_batch(uint64_t pid, uint16_t epoch, uint32_t seq, unsigned count,
                         const char *text)
{
    const struct batch_producer prod = {.id = pid, .epoch = epoch, .base_seq = seq};
    struct batch_builder bb;
    struct buf zip = {0};
    struct slice out;
    struct blob *b;

    batch_builder_init(&bb, 0);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(batch_add(&bb, 1000, (struct slice){0}, slice_str(text), NULL, 0),
                         WERR_OK);
    }
    assert_int_equal(batch_finish(&bb, &prod, BATCH_CODEC_NONE, &zip, &out), WERR_OK);
    b = blob_copy(out.p, out.n);
    batch_builder_fini(&bb);
    buf_fini(&zip);
    return b;
}

static void produce_done(struct core_produce *rq)
{
    ((struct sent *)rq->arg)->done++;
}

struct sent *world_send(struct world *w, uint64_t tid, uint32_t p, uint64_t pid, uint16_t epoch,
                        uint32_t seq, unsigned count, const char *text)
{
    struct sent *s = calloc(1, sizeof *s);

    s->blob = world_batch(pid, epoch, seq, count, text);
    s->rq = (struct core_produce){.tid = tid,
                                  .p = p,
                                  .batch = {.owner = s->blob, .p = s->blob->p, .n = s->blob->n},
                                  .done = produce_done,
                                  .arg = s};
    core_produce(w->co, &s->rq);
    return s;
}

void sent_free(struct sent *s)
{
    assert_int_equal(s->done, 1);
    blob_unref(s->blob);
    free(s);
}

uint64_t world_produce(struct world *w, uint64_t tid, uint32_t p, uint64_t pid, uint32_t seq,
                       unsigned count, enum werr want)
{
    struct sent *s = world_send(w, tid, p, pid, 0, seq, count, "x");

    world_step(w);
    if (s->rq.err.code != want) {
        fail_msg("seq %u: %s %s", seq, werr_name(s->rq.err.code), s->rq.err.text);
    }
    const uint64_t offset = s->rq.ok.base_offset;
    sent_free(s);
    return want == WERR_OK ? offset : 0;
}

static void producer_done(struct core_producer_rq *rq)
{
    ++*(int *)rq->arg;
}

void world_init_producer(struct world *w, const char *name, struct core_producer_rq *out)
{
    int done = 0;

    *out = (struct core_producer_rq){.done = producer_done, .arg = &done};
    if (name != NULL) {
        out->name = slice_str(name);
    }
    core_init_producer(w->co, out);
    world_step(w);
    assert_int_equal(done, 1);
}

/* ---------------------------------------------------------------- reading */

static void on_ready(void *arg)
{
    ((struct watch *)arg)->ready++;
}

void watch_init(struct watch *v, struct world *w)
{
    *v = (struct watch){0};
    v->rd = core_reader_new(w->co, on_ready, v);
}

bool watch_pull(struct watch *v, uint32_t max_bytes, struct core_piece *piece)
{
    return core_reader_pull(v->rd, max_bytes, true, piece, 1) == 1;
}

void piece_check(const struct core_piece *piece, uint64_t *next)
{
    struct slice run = {.p = piece->data.p, .n = piece->data.n}, batch;
    struct batch_head h;
    struct werror e;

    while (run.n > 0) {
        assert_int_equal(batch_next(&run, true, &h, &batch, &e), WERR_OK);
        assert_int_equal(h.base_offset, *next);
        *next += h.count;
        assert_true(*next <= piece->hw);
    }
}
