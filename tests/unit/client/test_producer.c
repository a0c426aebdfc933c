/* Sending: order, pipelining, refusals, reconnects, deduplication, deadlines, limits. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/client/rig.h"

/* ---- a script of verdicts for the coming PRODUCE requests ---- */
struct script {
    struct {
        enum fake_verdict v;
        enum werr code;
        uint32_t retry_after_ms;
    } steps[32];
    size_t n, at;
    uint32_t seqs[256]; /* base_seq of each PRODUCE seen */
    uint64_t pids[256];
    uint32_t counts[256];
    size_t n_seen;
};

static enum fake_verdict scripted(void *arg, uint32_t op, const struct msg_produce *m,
                                  const struct batch_head *h, struct werror *e)
{
    struct script *s = arg;
    enum fake_verdict v = FAKE_GO;

    (void)m;
    if (op != OP_PRODUCE) {
        return FAKE_GO;
    }
    if (s->n_seen < 256) {
        s->pids[s->n_seen] = h->producer_id;
        s->counts[s->n_seen] = h->count;
        s->seqs[s->n_seen++] = h->base_seq;
    }
    if (s->at < s->n) {
        v = s->steps[s->at].v;
        if (v == FAKE_REFUSE) {
            werror_set(e, s->steps[s->at].code, "scripted");
            e->retry_after_ms = s->steps[s->at].retry_after_ms;
        }
        s->at++;
    }
    return v;
}

static void plan(struct rig *r, struct script *s)
{
    r->fb->hooks.request = scripted;
    r->fb->hooks.arg = s;
}

static void step(struct script *s, enum fake_verdict v, enum werr code)
{
    s->steps[s->n].v = v;
    s->steps[s->n].code = code;
    s->n++;
}

/* Values a, b, c, ... are in the partition exactly once and in this order. */
static void assert_log(const struct fake_topic *t, uint32_t p, size_t n)
{
    assert_int_equal(t->parts[p].end, n);
    for (size_t i = 0; i < n; i++) {
        char value[24];

        snprintf(value, sizeof value, "v%zu", i);
        assert_int_equal(fake_find(t, p, value), i);
    }
}

static void send_n(struct rig *r, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        char value[24];

        snprintf(value, sizeof value, "v%zu", i);
        rig_send(r, "t", 0, value);
    }
}

/* Batches of one record each, so that several are in flight. */
static const char one_each[] = "batch_records=1 send_timeout_ms=10000";

static void blocking_send(void **state)
{
    struct rig r;
    weir_error e;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 4);
    e = weir_send(r.w, "t", weir_str("k"), weir_str("hello"), 1000);
    assert_int_equal(e.outcome, WEIR_DONE);
    assert_string_equal(e.text, "done");
    assert_int_equal(fake_count(fake_topic(r.fb, "t")), 1);
    assert_int_equal(weir_pending_messages(r.w), 0);
    assert_int_equal(weir_pending_bytes(r.w), 0);
    rig_fini(&r);
}

static void callback_is_never_early_and_comes_once(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    send_n(&r, 0, 3);
    assert_int_equal(r.n_results, 0);
    assert_int_equal(weir_pending_messages(r.w), 3);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    assert_int_equal(r.n_done, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(r.results[i].offset, i);
        assert_int_equal(r.results[i].partition, 0);
        assert_int_equal(r.results[i].append_ms, r.fb->now_ms);
    }
    rig_run(&r, 100);
    assert_int_equal(r.n_results, 3);
    rig_fini(&r);
}

static void gathers_while_in_flight(void **state)
{
    struct rig r;
    struct script s = {.n = 0};

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    plan(&r, &s);
    send_n(&r, 0, 1);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE); /* metadata and pid are known now */
    r.hold_answers = true;
    send_n(&r, 1, 2);
    rig_run(&r, 1); /* nothing in flight: goes at once */
    assert_int_equal(s.n_seen, 2);
    send_n(&r, 2, 12);
    rig_run(&r, 1); /* collected */
    assert_int_equal(s.n_seen, 2);
    r.hold_answers = false;
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    assert_int_equal(s.n_seen, 3);
    assert_int_equal(s.counts[2], 10);
    assert_log(fake_topic(r.fb, "t"), 0, 12);
    rig_fini(&r);
}

static void linger_waits_and_flush_does_not(void **state)
{
    struct rig r;
    struct script s = {.n = 0};

    (void)state;
    rig_init(&r, "linger_ms=50");
    fake_topic_add(r.fb, "t", 1);
    plan(&r, &s);
    send_n(&r, 0, 1);
    rig_run(&r, 49);
    assert_int_equal(s.n_seen, 0);
    rig_run(&r, 2);
    assert_int_equal(s.n_seen, 1);
    send_n(&r, 1, 2);
    assert_int_equal(weir_flush(r.w, 10).outcome, WEIR_DONE);
    assert_int_equal(s.n_seen, 2);
    rig_fini(&r);
}

static void pipelines_up_to_the_window(void **state)
{
    struct rig r;
    struct script s = {.n = 0};

    (void)state;
    rig_init(&r, one_each);
    fake_topic_add(r.fb, "t", 1);
    plan(&r, &s);
    send_n(&r, 0, 1);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    r.hold_answers = true;
    send_n(&r, 1, 31);
    rig_run(&r, 5);
    assert_int_equal(s.n_seen, 1 + 8); /* in_flight default */
    r.hold_answers = false;
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    for (uint32_t i = 0; i < 31; i++) {
        assert_int_equal(s.seqs[i], i);
    }
    assert_log(fake_topic(r.fb, "t"), 0, 31);
    rig_fini(&r);
}

static void connection_limits_are_kept(void **state)
{
    struct rig r;
    struct script s = {.n = 0};

    (void)state;
    rig_init(&r, "batch_records=1 in_flight=64");
    fake_topic_add(r.fb, "t", 1);
    plan(&r, &s);
    r.fb->limits.inflight_bytes = 4096;
    send_n(&r, 0, 1);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    r.hold_answers = true;
    send_n(&r, 1, 65);
    rig_run(&r, 5);
    assert_in_range(s.n_seen, 20, 50); /* (4096 - 1024) / 72 */
    r.hold_answers = false;
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    assert_log(fake_topic(r.fb, "t"), 0, 65);
    rig_fini(&r);
}

static void refusal_holds_back_later_batches(void **state)
{
    struct rig r;
    struct script s = {.n = 0};

    (void)state;
    rig_init(&r, one_each);
    fake_topic_add(r.fb, "t", 1);
    send_n(&r, 0, 1);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    plan(&r, &s);
    step(&s, FAKE_GO, WERR_OK);
    for (int i = 0; i < 7; i++) { /* as the broker does: every later sequence too */
        step(&s, FAKE_REFUSE, WERR_STORAGE_FULL);
        s.steps[s.n - 1].retry_after_ms = 300;
    }
    send_n(&r, 1, 21);
    rig_run(&r, 200);
    assert_int_equal(s.n_seen, 8); /* one stored, seven refused, and nothing sent since */
    assert_int_equal(weir_flush(r.w, 5000).outcome, WEIR_DONE);
    assert_int_equal(s.seqs[8], 2); /* again in order, with the same sequences */
    assert_int_equal(r.n_done, 21);
    assert_log(fake_topic(r.fb, "t"), 0, 21);
    rig_fini(&r);
}

static void nothing_is_sent_while_others_are_unanswered(void **state)
{
    struct rig r;
    struct script s = {.n = 0};

    (void)state;
    rig_init(&r, one_each);
    fake_topic_add(r.fb, "t", 1);
    send_n(&r, 0, 1);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    plan(&r, &s);
    step(&s, FAKE_REFUSE, WERR_OVERLOADED); /* the first is refused ... */
    step(&s, FAKE_SILENT, WERR_OK);         /* ... and about the others nothing is known yet */
    step(&s, FAKE_SILENT, WERR_OK);
    send_n(&r, 1, 4);
    rig_run(&r, 3000);
    assert_int_equal(s.n_seen, 3);
    rig_cut(&r);
    assert_int_equal(weir_flush(r.w, 5000).outcome, WEIR_DONE);
    assert_log(fake_topic(r.fb, "t"), 0, 4);
    rig_fini(&r);
}

/* A hostile broker acknowledges a batch whose bytes are still in the output. */
static void answer_before_the_request_is_refused(void **state)
{
    const struct msg_produce_ok ok = {.has_offset = true, .base_offset = 9};
    struct buf b = {0};
    struct rig r;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    send_n(&r, 0, 1);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    send_n(&r, 1, 2);
    handle_step(r.w);
    assert_true(conn_has_output(&r.w->conn));
    msg_put_produce_ok(&b, r.w->conn.next_corr, &ok);
    rig_feed(&r, b.p, b.len);
    assert_int_equal(r.w->conn.state, CONN_BACKOFF);
    assert_int_equal(r.n_results, 1);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    assert_int_equal(r.results[1].offset, 1);
    buf_fini(&b);
    rig_fini(&r);
}

static void refusal_until_the_deadline_is_retry(void **state)
{
    struct rig r;
    struct script s = {.n = 0};
    weir_error e;

    (void)state;
    rig_init(&r, one_each);
    fake_topic_add(r.fb, "t", 1);
    plan(&r, &s);
    for (int i = 0; i < 30; i++) {
        step(&s, FAKE_REFUSE, WERR_STORAGE_FULL);
    }
    e = weir_send(r.w, "t", weir_str(NULL), weir_str("x"), 200);
    assert_int_equal(e.outcome, WEIR_RETRY);
    assert_int_equal(e.code, WEIR_E_STORAGE_FULL);
    s.n = s.at; /* the disk has room again */
    send_n(&r, 0, 3);
    assert_int_equal(weir_flush(r.w, 5000).outcome, WEIR_DONE);
    assert_log(fake_topic(r.fb, "t"), 0, 3); /* x is not there, and left no gap */
    rig_fini(&r);
}

static void reconnect_resends_in_order_without_duplicates(void **state)
{
    struct rig r;
    struct script s = {.n = 0};

    (void)state;
    rig_init(&r, one_each);
    fake_topic_add(r.fb, "t", 1);
    send_n(&r, 0, 1);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    plan(&r, &s);
    for (int i = 0; i < 3; i++) {
        step(&s, FAKE_MUTE, WERR_OK); /* stored, but the answer is lost */
    }
    for (int i = 0; i < 5; i++) {
        step(&s, FAKE_SILENT, WERR_OK); /* lost on the way */
    }
    send_n(&r, 1, 21);
    rig_run(&r, 5);
    assert_int_equal(s.n_seen, 8);
    rig_cut(&r);
    assert_int_equal(weir_flush(r.w, 5000).outcome, WEIR_DONE);
    assert_int_equal(s.seqs[8], 1); /* from the first unanswered on */
    assert_int_equal(r.n_done, 21);
    assert_int_equal(r.results[1].error.duplicate, 1);
    assert_int_equal(r.results[1].offset, 1);
    assert_int_equal(r.results[4].error.duplicate, 0);
    assert_log(fake_topic(r.fb, "t"), 0, 21);
    rig_fini(&r);
}

static void duplicate_with_forgotten_offset_is_done(void **state)
{
    struct rig r;
    struct script s = {.n = 0};

    (void)state;
    rig_init(&r, one_each);
    fake_topic_add(r.fb, "t", 1);
    plan(&r, &s);
    step(&s, FAKE_REFUSE, WERR_DUP_UNKNOWN_OFFSET);
    rig_send(&r, "t", 0, "x");
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    assert_int_equal(r.results[0].error.code, WEIR_OK);
    assert_int_equal(r.results[0].error.duplicate, 1);
    assert_int_equal(r.results[0].offset, -1);
    rig_fini(&r);
}

static void out_of_order_is_fatal(void **state)
{
    struct rig r;
    struct script s = {.n = 0};
    weir_error e;

    (void)state;
    rig_init(&r, one_each);
    fake_topic_add(r.fb, "t", 2);
    send_n(&r, 0, 1);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    plan(&r, &s);
    step(&s, FAKE_REFUSE, WERR_OUT_OF_ORDER_SEQ);
    send_n(&r, 1, 2);
    e = weir_flush(r.w, 1000);
    assert_int_equal(e.outcome, WEIR_NOT_DONE);
    assert_int_equal(e.code, WEIR_E_OUT_OF_ORDER_SEQ);
    assert_int_equal(e.fenced, 1);
    assert_int_equal(s.n_seen, 1); /* never sent again, under no other identity */
    e = weir_send(r.w, "t", weir_str(NULL), weir_str("x"), 100);
    assert_int_equal(e.fenced, 1);
    assert_int_equal(s.n_seen, 1);
    rig_fini(&r);
}

static void fencing_ends_everything(void **state)
{
    struct rig r;
    struct script s = {.n = 0};
    weir_error e;

    (void)state;
    rig_init(&r, "producer=p1 batch_records=1");
    fake_topic_add(r.fb, "t", 2);
    send_n(&r, 0, 1);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    plan(&r, &s);
    r.fb->producers[0].epoch++; /* another process took the name */
    send_n(&r, 1, 20);
    e = weir_flush(r.w, 1000);
    assert_int_equal(e.code, WEIR_E_PRODUCER_FENCED);
    assert_int_equal(e.fenced, 1);
    assert_int_equal(r.n_results, 20);
    assert_int_equal(r.n_done, 1);
    rig_fini(&r);
}

static void reregister_takes_a_new_identity(void **state)
{
    struct rig r;
    struct script s = {.n = 0};

    (void)state;
    rig_init(&r, one_each);
    fake_topic_add(r.fb, "t", 1);
    send_n(&r, 0, 3);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    plan(&r, &s);
    for (int i = 0; i < 8; i++) {
        step(&s, FAKE_REFUSE, WERR_REREGISTER);
    }
    send_n(&r, 3, 23);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    assert_int_equal(s.seqs[0], 3);
    assert_int_equal(s.seqs[8], 0);             /* begins anew ... */
    assert_int_not_equal(s.pids[8], s.pids[0]); /* ... under a new id */
    assert_int_equal(r.fb->requests[OP_INIT_PRODUCER], 2);
    assert_log(fake_topic(r.fb, "t"), 0, 23);
    rig_fini(&r);
}

static void reregister_of_a_named_producer_knows_what_is_stored(void **state)
{
    struct rig r;
    struct script s = {.n = 0};

    (void)state;
    rig_init(&r, "producer=p1 batch_records=1");
    fake_topic_add(r.fb, "t", 2);
    send_n(&r, 0, 3);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    plan(&r, &s);
    step(&s, FAKE_MUTE, WERR_OK); /* stored */
    step(&s, FAKE_SILENT, WERR_OK);
    send_n(&r, 3, 5);
    rig_run(&r, 5);
    rig_cut(&r);
    step(&s, FAKE_REFUSE, WERR_REREGISTER);
    step(&s, FAKE_REFUSE, WERR_REREGISTER);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    assert_int_equal(r.fb->producers[0].epoch, 2);
    assert_log(fake_topic(r.fb, "t"), 0, 5);
    assert_int_equal(r.results[3].error.duplicate, 1);
    assert_int_equal(r.results[3].offset, 3);
    rig_fini(&r);
}

static void never_refusal_leaves_no_gap(void **state)
{
    struct rig r;
    struct script s = {.n = 0};
    weir_error e;

    (void)state;
    rig_init(&r, one_each);
    fake_topic_add(r.fb, "t", 1);
    plan(&r, &s);
    rig_send(&r, "t", 0, "bad");
    send_n(&r, 0, 12);
    step(&s, FAKE_REFUSE, WERR_TOO_LARGE);
    e = weir_flush(r.w, 1000);
    assert_int_equal(e.code, WEIR_E_TOO_LARGE);
    assert_int_equal(e.outcome, WEIR_NOT_DONE);
    assert_int_equal(r.n_results, 13);
    assert_int_equal(r.n_done, 12);
    assert_log(fake_topic(r.fb, "t"), 0, 12); /* those behind it were refused, renumbered, stored */
    assert_int_equal(weir_flush(r.w, 0).outcome, WEIR_DONE); /* told once */
    rig_fini(&r);
}

static void timeout_without_answer_is_unknown_and_order_holds(void **state)
{
    struct rig r;
    struct script s = {.n = 0};
    weir_error e;

    (void)state;
    rig_init(&r, "batch_records=1 send_timeout_ms=1000");
    fake_topic_add(r.fb, "t", 1);
    plan(&r, &s);
    step(&s, FAKE_SILENT, WERR_OK);
    send_n(&r, 0, 1);
    e = weir_flush(r.w, 2000);
    assert_int_equal(e.outcome, WEIR_UNKNOWN);
    assert_int_equal(e.code, WEIR_E_TIMEOUT);
    assert_int_equal(weir_pending_messages(r.w), 0);
    assert_true(weir_pending_bytes(r.w) > 0); /* it stays until the broker tells */
    rig_cut(&r);
    send_n(&r, 1, 4);
    assert_int_equal(weir_flush(r.w, 2000).outcome, WEIR_DONE);
    assert_log(fake_topic(r.fb, "t"), 0, 4);
    assert_int_equal(r.n_results, 4);
    assert_int_equal(weir_pending_bytes(r.w), 0);
    rig_fini(&r);
}

static void unreachable_is_retry_and_nothing_is_sent_later(void **state)
{
    struct rig r;
    weir_error e;

    (void)state;
    rig_init(&r, NULL);
    fake_topic_add(r.fb, "t", 1);
    r.unreachable = true;
    e = weir_send(r.w, "t", weir_str(NULL), weir_str("lost"), 500);
    assert_int_equal(e.outcome, WEIR_RETRY);
    assert_int_equal(e.code, WEIR_E_UNREACHABLE);
    assert_non_null(strstr(e.text, "connection refused"));
    assert_in_range(r.connects, 3, 12); /* backoff grows */
    r.unreachable = false;
    send_n(&r, 0, 1);
    assert_int_equal(weir_flush(r.w, 5000).outcome, WEIR_DONE);
    assert_log(fake_topic(r.fb, "t"), 0, 1);
    rig_fini(&r);
}

static void lost_connection_until_the_deadline_is_unknown(void **state)
{
    struct rig r;
    struct script s = {.n = 0};
    weir_error e;

    (void)state;
    rig_init(&r, "send_timeout_ms=1000");
    fake_topic_add(r.fb, "t", 1);
    plan(&r, &s);
    step(&s, FAKE_MUTE, WERR_OK);
    send_n(&r, 0, 1);
    rig_run(&r, 5);
    assert_int_equal(s.n_seen, 1);
    r.unreachable = true;
    rig_cut(&r);
    e = weir_flush(r.w, 3000);
    assert_int_equal(e.outcome, WEIR_UNKNOWN);
    assert_int_equal(e.code, WEIR_E_CONNECTION_LOST);
    rig_fini(&r);
}

static void unknown_topic_fails_at_once(void **state)
{
    struct rig r;
    weir_error e;

    (void)state;
    rig_init(&r, NULL);
    e = weir_send(r.w, "nope", weir_str("k"), weir_str("v"), 5000);
    assert_int_equal(e.code, WEIR_E_UNKNOWN_TOPIC);
    assert_int_equal(e.outcome, WEIR_NOT_DONE);
    fake_topic_add(r.fb, "nope", 1); /* and is looked up again by the next send */
    assert_int_equal(weir_send(r.w, "nope", weir_str("k"), weir_str("v"), 5000).outcome, WEIR_DONE);
    rig_fini(&r);
}

static void recreated_topic_gets_the_messages(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, one_each);
    fake_topic_add(r.fb, "t", 1);
    send_n(&r, 0, 3);
    assert_int_equal(weir_flush(r.w, 1000).outcome, WEIR_DONE);
    fake_topic_drop(r.fb, "t");
    fake_topic_add(r.fb, "t", 1);
    r.n_results = r.n_done = 0;
    send_n(&r, 0, 12);
    assert_int_equal(weir_flush(r.w, 5000).outcome, WEIR_DONE);
    assert_log(fake_topic(r.fb, "t"), 0, 12);
    fake_topic_drop(r.fb, "t");
    send_n(&r, 0, 12);
    assert_int_equal(weir_flush(r.w, 5000).code, WEIR_E_UNKNOWN_TOPIC);
    assert_int_equal(r.n_results, 24);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocking_send),
        cmocka_unit_test(callback_is_never_early_and_comes_once),
        cmocka_unit_test(gathers_while_in_flight),
        cmocka_unit_test(linger_waits_and_flush_does_not),
        cmocka_unit_test(pipelines_up_to_the_window),
        cmocka_unit_test(connection_limits_are_kept),
        cmocka_unit_test(refusal_holds_back_later_batches),
        cmocka_unit_test(nothing_is_sent_while_others_are_unanswered),
        cmocka_unit_test(answer_before_the_request_is_refused),
        cmocka_unit_test(refusal_until_the_deadline_is_retry),
        cmocka_unit_test(reconnect_resends_in_order_without_duplicates),
        cmocka_unit_test(duplicate_with_forgotten_offset_is_done),
        cmocka_unit_test(out_of_order_is_fatal),
        cmocka_unit_test(fencing_ends_everything),
        cmocka_unit_test(reregister_takes_a_new_identity),
        cmocka_unit_test(reregister_of_a_named_producer_knows_what_is_stored),
        cmocka_unit_test(never_refusal_leaves_no_gap),
        cmocka_unit_test(timeout_without_answer_is_unknown_and_order_holds),
        cmocka_unit_test(unreachable_is_retry_and_nothing_is_sent_later),
        cmocka_unit_test(lost_connection_until_the_deadline_is_unknown),
        cmocka_unit_test(unknown_topic_fails_at_once),
        cmocka_unit_test(recreated_topic_gets_the_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
