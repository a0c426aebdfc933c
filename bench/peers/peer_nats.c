/*
 * NATS JetStream through its C client. A topic is one file stream, a partition a subject in it.
 * Read: ordered push consumer. Log group: a durable push consumer; one acknowledgement for all of a
 * turn when it has one member, else one for each. Queue: a durable push queue group, one for each.
 *
 * The library has threads of its own: acknowledgements wait in a box until poll() takes them out.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <nats/nats.h>

#include "bench/peers/peer.h"
#include "bench/peers/stream.h"

enum { SPREAD = 256, TAKE_MAX = 4096, NAME_BYTES = 128, NS_PER_MS = 1000000, FLUSH_MS = 30000 };
#define NS_PER_S INT64_C(1000000000)

struct conn {
    struct peer_conn base;
    natsConnection *nc;
    jsCtx *js;
    natsSubscription *sub;
    enum peer_mode mode;
    uint64_t n_sent;
    struct stamps stamps;
    natsMsg *held; /* taken by wait() */
    /* the box, filled by the library's thread */
    pthread_mutex_t lock;
    pthread_cond_t more;
    unsigned n_acked, n_refused;
    char refusal[PEER_ERROR_BYTES];
};

static int connect_to(const struct peer_options *o, natsConnection **nc, char *err)
{
    char url[NAME_BYTES];

    snprintf(url, sizeof url, "nats://%s", o->address);
    const natsStatus s = natsConnection_ConnectTo(nc, url);
    if (s != NATS_OK) {
        snprintf(err, PEER_ERROR_BYTES, "%s: %s", url, natsStatus_GetText(s));
    }
    return s == NATS_OK ? 0 : -1;
}

static int setup(const struct peer_options *o, char *err)
{
    natsConnection *nc = NULL;
    jsCtx *js = NULL;
    jsStreamConfig config;
    jsErrCode code = 0;
    char subject[NAME_BYTES];
    const char *subjects[] = {subject};
    int rc = connect_to(o, &nc, err);

    if (rc == 0) {
        snprintf(subject, sizeof subject, "%s.*", o->topic);
        (void)jsStreamConfig_Init(&config);
        config.Name = o->topic;
        config.Subjects = subjects;
        config.SubjectsLen = 1;
        natsStatus s = natsConnection_JetStream(&js, nc, NULL);
        s = s == NATS_OK ? js_AddStream(NULL, js, &config, NULL, &code) : s;
        if (s != NATS_OK && code != JSStreamNameExistErr) {
            snprintf(err, PEER_ERROR_BYTES, "%s: %s (%d)", o->topic, natsStatus_GetText(s),
                     (int)code);
            rc = -1;
        }
    }
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    return rc;
}

static void on_ack(jsCtx *js, natsMsg *msg, jsPubAck *pa, jsPubAckErr *pae, void *closure)
{
    struct conn *c = closure;

    (void)js;
    (void)pa;
    (void)pthread_mutex_lock(&c->lock);
    if (pae != NULL) {
        c->n_refused++;
        snprintf(c->refusal, sizeof c->refusal, "publish: %s",
                 pae->ErrText != NULL ? pae->ErrText : natsStatus_GetText(pae->Err));
    }
    c->n_acked++;
    (void)pthread_cond_signal(&c->more);
    (void)pthread_mutex_unlock(&c->lock);
    natsMsg_Destroy(msg);
}

static struct peer_conn *conn_open(const struct peer_options *o, const struct peer_events *on)
{
    struct conn *c = calloc(1, sizeof *c);
    pthread_condattr_t attr;
    jsOptions options;

    if (c == NULL) {
        return NULL;
    }
    c->base.o = o;
    c->base.on = *on;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->more, &attr);
    (void)pthread_condattr_destroy(&attr);
    (void)jsOptions_Init(&options);
    options.PublishAsync.MaxPending = o->window;
    options.PublishAsync.AckHandler = on_ack;
    options.PublishAsync.AckHandlerClosure = c;
    if (stamps_init(&c->stamps, o->window) != 0) {
        (void)peer_fail(&c->base, "no memory");
    } else if (connect_to(o, &c->nc, c->base.error) == 0 &&
               natsConnection_JetStream(&c->js, c->nc, &options) != NATS_OK) {
        (void)peer_fail(&c->base, "no JetStream");
    }
    return &c->base;
}

static enum peer_sent conn_send(struct peer_conn *b, const void *value, size_t size, int64_t stamp)
{
    struct conn *c = (struct conn *)b;
    char subject[NAME_BYTES];

    if (stamps_full(&c->stamps)) {
        return PEER_FULL;
    }
    snprintf(subject, sizeof subject, "%s.%u", b->o->topic,
             (unsigned)(c->n_sent / SPREAD % b->o->partitions));
    const natsStatus s = js_PublishAsync(c->js, subject, value, (int)size, NULL);
    if (s != NATS_OK) {
        (void)peer_fail(b, "publish: %s", natsStatus_GetText(s));
        return PEER_FAILED;
    }
    c->n_sent++;
    stamps_add(&c->stamps, stamp);
    return PEER_SENT;
}

static void take_acks(struct conn *c)
{
    (void)pthread_mutex_lock(&c->lock);
    unsigned n = c->n_acked, refused = c->n_refused;
    c->n_acked = 0;
    c->n_refused = 0;
    if (refused > 0) {
        (void)peer_fail(&c->base, "%s", c->refusal);
    }
    (void)pthread_mutex_unlock(&c->lock);
    for (; n > 0; n--) {
        c->base.on.acked(c->base.on.user, stamps_take(&c->stamps), n > refused);
    }
}

static void give(struct conn *c, natsMsg *m)
{
    const struct peer_handle h = {.a = (uintptr_t)m};

    c->base.on.message(c->base.on.user, natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m), &h);
}

static void take_messages(struct conn *c)
{
    const bool ack_all = c->mode == PEER_LOG && c->base.o->members == 1;
    natsMsg *m = c->held, *last = NULL;

    c->held = NULL;
    for (int n = 0; n < TAKE_MAX; n++) {
        if (m == NULL && natsSubscription_NextMsg(&m, c->sub, 0) != NATS_OK) {
            break;
        }
        give(c, m);
        if (c->mode == PEER_LOG && !ack_all) {
            (void)natsMsg_Ack(m, NULL);
        }
        if (c->mode != PEER_QUEUE) {
            natsMsg_Destroy(last);
            last = m;
        }
        m = NULL;
    }
    if (ack_all && last != NULL) {
        (void)natsMsg_Ack(last, NULL);
    }
    natsMsg_Destroy(last);
}

static int conn_poll(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    take_acks(c);
    if (c->sub != NULL) {
        take_messages(c);
    }
    return b->error[0] == '\0' ? 0 : -1;
}

static void conn_wait(struct peer_conn *b, int64_t until_ns)
{
    struct conn *c = (struct conn *)b;
    const struct timespec t = {.tv_sec = until_ns / NS_PER_S, .tv_nsec = until_ns % NS_PER_S};

    if (c->sub != NULL && c->held == NULL) {
        const int64_t ms = (until_ns - peer_now_ns() + NS_PER_MS - 1) / NS_PER_MS;
        (void)natsSubscription_NextMsg(&c->held, c->sub, ms > 0 ? ms : 1);
        return;
    }
    (void)pthread_mutex_lock(&c->lock);
    while (c->n_acked == 0 && pthread_cond_timedwait(&c->more, &c->lock, &t) == 0) {
    }
    (void)pthread_mutex_unlock(&c->lock);
}

static int conn_subscribe(struct peer_conn *b, enum peer_mode mode, unsigned member, bool tail)
{
    struct conn *c = (struct conn *)b;
    const struct peer_options *o = b->o;
    jsSubOptions so;
    jsErrCode code = 0;
    char subject[NAME_BYTES];

    (void)member;
    c->mode = mode;
    snprintf(subject, sizeof subject, "%s.*", o->topic);
    (void)jsSubOptions_Init(&so);
    so.Stream = o->topic;
    so.Config.DeliverPolicy = tail ? js_DeliverNew : js_DeliverAll;
    if (mode == PEER_READ) {
        so.Ordered = true;
    } else {
        so.ManualAck = true;
        so.Config.Durable = o->group;
        so.Config.AckPolicy = mode == PEER_LOG && o->members == 1 ? js_AckAll : js_AckExplicit;
        so.Config.MaxAckPending = (int64_t)o->prefetch * o->members;
        if (so.Config.AckPolicy == js_AckAll) {
            so.Config.MaxAckPending = o->window;
        } else {
            so.Queue = o->group;
        }
    }
    const natsStatus s = js_SubscribeSync(&c->sub, c->js, subject, NULL, &so, &code);
    if (s == NATS_OK) {
        (void)natsSubscription_SetPendingLimits(c->sub, -1, -1);
    }
    return s == NATS_OK ? 0 : peer_fail(b, "subscribe: %s (%d)", natsStatus_GetText(s), (int)code);
}

static int conn_settle(struct peer_conn *b, const struct peer_handle *h)
{
    natsMsg *m = (natsMsg *)(uintptr_t)h->a;
    const natsStatus s = natsMsg_Ack(m, NULL);

    natsMsg_Destroy(m);
    return s == NATS_OK ? 0 : peer_fail(b, "ack: %s", natsStatus_GetText(s));
}

/* Acknowledgements have no answer; the server has seen them when it answers a ping. */
static int conn_commit(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;
    const natsStatus s = natsConnection_FlushTimeout(c->nc, FLUSH_MS);
    return s == NATS_OK ? 0 : peer_fail(b, "flush: %s", natsStatus_GetText(s));
}

static void conn_close(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c != NULL) {
        natsMsg_Destroy(c->held);
        natsSubscription_Destroy(c->sub);
        if (c->nc != NULL) {
            natsConnection_Close(c->nc);
        }
        jsCtx_Destroy(c->js);
        natsConnection_Destroy(c->nc);
        (void)pthread_mutex_destroy(&c->lock);
        (void)pthread_cond_destroy(&c->more);
        stamps_fini(&c->stamps);
        free(c);
    }
}

static void version(char *out, size_t size)
{
    snprintf(out, size, "cnats %s", nats_GetVersion());
}

const struct peer_driver peer_nats = {
    .name = "nats",
    .modes = PEER_READ | PEER_LOG | PEER_QUEUE,
    .setup = setup,
    .open = conn_open,
    .send = conn_send,
    .poll = conn_poll,
    .wait = conn_wait,
    .subscribe = conn_subscribe,
    .settle = conn_settle,
    .commit = conn_commit,
    .close = conn_close,
    .version = version,
};
