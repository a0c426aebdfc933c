/*
 * The client library against a hostile server, in process and without time of its own: a broker
 * in memory answers what the library asks, and the input decides which of its bytes are wrong,
 * which answers are refusals or never come, and what arrives that nobody asked for.
 *
 * Input: actions, a byte each, some with bytes behind them (see act).
 *
 * What must hold: every call returns with an outcome, no sanitizer speaks, and after the close
 * nothing is left (LeakSanitizer).
 */
#include <stdlib.h>

#include "tests/fuzz/target.h"
#include "tests/unit/client/rig.h"

enum { MAX_ACTIONS = 64, SUBS = 3, HELD = 8, WAIT_MS = 50, ROOM = 256 };

struct input {
    const uint8_t *p, *end;
};

static struct {
    struct rig r;
    struct fake_hooks hooks;
    weir_sub *subs[SUBS];
    struct held {
        const weir_message *m;
        int sub;
    } held[HELD];     /* messages not settled yet */
    uint8_t refusals; /* of so many requests from now on */
    uint8_t verdict, code;
} w;

static uint8_t take(struct input *in)
{
    return in->p < in->end ? *in->p++ : 0;
}

static enum fake_verdict judge(void *arg, uint32_t op, const struct msg_produce *m,
                               const struct batch_head *h, struct werror *e)
{
    (void)arg;
    (void)m;
    (void)h;
    if (w.refusals == 0 || op == OP_HELLO) {
        return FAKE_GO;
    }
    w.refusals--;
    if (w.verdict % 3 == 0) {
        *e = (struct werror){.code = (enum werr)(w.code % WERR_IO)};
        if (e->code == WERR_OK) {
            e->code = WERR_OVERLOADED;
        }
        return FAKE_REFUSE;
    }
    return w.verdict % 3 == 1 ? FAKE_SILENT : op == OP_PRODUCE ? FAKE_SILENT : FAKE_GO;
}

static void on_sent(void *user, const weir_receipt *receipt)
{
    (void)user;
    if (receipt->error.code != WEIR_OK && receipt->error.text[0] == '\0') {
        abort();
    }
}

/* ---------------------------------------------------------------- what the program does */

static void subscribe(int i, uint8_t how)
{
    static const char *const options[] = {"start=earliest", "mode=queue", "mode=log",
                                          "mode=queue order=key", "mode=log commit=manual"};
    const char *group = how % 5 == 0 ? NULL : "g";

    if (w.subs[i] == NULL) {
        w.subs[i] = weir_subscribe(w.r.w, (how & 64) != 0 ? "u" : "t", group, options[how % 5]);
    }
}

static void drop_sub(int i)
{
    for (int k = 0; k < HELD; k++) {
        if (w.held[k].m != NULL && w.held[k].sub == i) {
            weir_done(w.held[k].m, WEIR_RELEASE);
            w.held[k].m = NULL;
        }
    }
    if (w.subs[i] != NULL) {
        weir_unsubscribe(w.subs[i]);
        w.subs[i] = NULL;
    }
}

static void next(int i, uint8_t verdict)
{
    const weir_message *m = w.subs[i] == NULL ? NULL : weir_next(w.subs[i], WAIT_MS);
    weir_bytes name, value;
    size_t pos = 0;

    if (m == NULL) {
        return;
    }
    while (weir_message_next_header(m, &pos, &name, &value)) {
    }
    if ((verdict & 64) != 0) {
        for (int k = 0; k < HELD; k++) {
            if (w.held[k].m == NULL) {
                w.held[k] = (struct held){m, i};
                return;
            }
        }
    }
    if ((verdict & 32) != 0) {
        weir_extend(m, 5000);
        weir_done_with(m, WEIR_NACK, 100, "because");
    } else {
        weir_done(m, (weir_verdict)(verdict % 4));
    }
}

static void send(uint8_t how)
{
    weir_send_options o = WEIR_SEND_OPTIONS;

    o.partition = how % 3 - 1;
    if ((how & 64) != 0) {
        o.deliver_at_ms = handle_wall_ms(w.r.w) + 60000;
    }
    (void)weir_send_async(w.r.w, (how & 32) != 0 ? "u" : "t", weir_str("k"), weir_str("value"), &o,
                          on_sent, NULL);
    if ((how & 16) != 0) {
        (void)weir_flush(w.r.w, WAIT_MS);
    }
}

static void ignore_group(void *user, const weir_group_info *info)
{
    (void)user;
    (void)info;
}

static int ignore_connection(void *user, const weir_connection_info *info)
{
    (void)user;
    return (info->id & 63) != 63;
}

static void ignore_setting(void *user, const weir_setting_info *info)
{
    (void)user;
    (void)info;
}

static void admin(uint8_t which)
{
    weir *h = w.r.w;
    weir_topic *t = NULL;
    weir_group *g = NULL;
    int64_t offset;
    weir_seek seek = {.topic = "t", .partition = 0, .to = 1};
    const weir_span span = {.partition = 0, .first = 0, .last = 3};
    const char *id = "1700000060000-0-1.0";

    switch (which % 17) {
    case 0:
        (void)weir_topic_describe(h, "t", &t, WAIT_MS);
        break;
    case 1:
        (void)weir_topic_list(h, w.r.on_topic, &w.r, WAIT_MS);
        break;
    case 2:
        (void)weir_group_describe(h, "g", &g, WAIT_MS);
        break;
    case 3:
        (void)weir_group_list(h, ignore_group, NULL, WAIT_MS);
        break;
    case 4:
        (void)weir_group_seek(h, "g", &seek, 1, 0, WAIT_MS);
        break;
    case 5:
        (void)weir_dlq_redrive(h, "t~g~dlq", &span, 1, 0, 0, NULL, NULL, WAIT_MS);
        break;
    case 6:
        (void)weir_schedule_cancel(h, "t", &id, 1, NULL, WAIT_MS);
        break;
    case 7:
        (void)weir_offset(h, "t", 0, WEIR_OFFSET_END, &offset, NULL, WAIT_MS);
        break;
    case 8:
        (void)weir_metrics(h, "", w.r.on_metric, &w.r, WAIT_MS);
        break;
    case 9:
        (void)weir_group_alter(h, "g", "max_rate=5/s", 0, &g, WAIT_MS);
        break;
    case 10:
        (void)weir_ping(h, NULL, WAIT_MS);
        break;
    case 11:
        (void)weir_topic_create(h, "n", "partitions=2", 0, &t, WAIT_MS);
        break;
    case 12:
        (void)weir_group_delete(h, "g", 0, WAIT_MS);
        break;
    case 13:
        (void)weir_server_connections(h, ignore_connection, NULL, WAIT_MS);
        break;
    case 14:
        (void)weir_server_config(h, ignore_setting, NULL, WAIT_MS);
        break;
    case 15:
        (void)weir_backup_create(h, NULL, NULL, WAIT_MS);
        break;
    default:
        (void)weir_producer_position(h, "t", 0, &offset, WAIT_MS);
        break;
    }
    weir_topic_free(t);
    weir_group_free(g);
}

/* ---------------------------------------------------------------- what the server does */

/* A frame, or (raw) bytes, from the input. */
static void feed(struct input *in, bool raw)
{
    size_t n = take(in);
    struct buf b = {0};

    n = n < (size_t)(in->end - in->p) ? n : (size_t)(in->end - in->p);
    if (!raw) {
        buf_put_be32(&b, (uint32_t)n);
    }
    buf_put(&b, in->p, n);
    in->p += n;
    rig_feed(&w.r, b.p, b.len);
    buf_fini(&b);
}

static void act(struct input *in)
{
    uint8_t a = take(in);
    int sub = a / 16 % SUBS;

    switch (a % 16) {
    case 0:
        subscribe(sub, take(in));
        break;
    case 1:
    case 2:
        next(sub, take(in));
        break;
    case 3:
        send(take(in));
        break;
    case 4:
        admin(take(in));
        break;
    case 5:
    case 6:
        feed(in, false);
        break;
    case 7:
        feed(in, true);
        break;
    case 8:
        w.r.flip = take(in);
        break;
    case 9:
        w.r.piece = take(in);
        break;
    case 10:
        w.refusals = take(in);
        w.verdict = take(in);
        w.code = take(in);
        break;
    case 11:
        rig_cut(&w.r);
        break;
    case 12:
        rig_run(&w.r, take(in) * INT64_C(100));
        break;
    case 13:
        if (w.subs[sub] != NULL) {
            (void)weir_commit(w.subs[sub], WAIT_MS);
        }
        break;
    case 14:
        drop_sub(sub);
        break;
    default:
        w.r.hold_answers = (a & 16) != 0;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const values[] = {"a", "b", "c", "d"};
    struct input in = {data, data + n};

    memset(&w, 0, sizeof w);
    rig_init(&w.r, "send_timeout_ms=1000");
    w.r.fb->slot_run = 100; /* a map of 1,024 runs takes more time than all the rest */
    w.r.fb->group_room = ROOM;
    fake_topic_add(w.r.fb, "t", 2);
    fake_topic_add(w.r.fb, "u", 1);
    fake_append(w.r.fb, "t", 0, values, 4, BATCH_CODEC_NONE);
    fake_append(w.r.fb, "t", 1, values, 4, BATCH_CODEC_ZSTD);
    w.r.fb->hooks = (struct fake_hooks){judge, NULL};
    for (int i = 0; i < MAX_ACTIONS && in.p < in.end; i++) {
        act(&in);
    }
    for (int i = 0; i < SUBS; i++) {
        drop_sub(i);
    }
    rig_fini(&w.r);
    return 0;
}
