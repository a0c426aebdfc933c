/*
 * Apache Kafka through librdkafka: acks=all, idempotent producer, its own batching (no linger where
 * latency counts). Read: partitions assigned by hand. Log group: a consumer group that commits what
 * it handed out. Queues (share groups) are not in this library.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#include "bench/peers/peer.h"

enum { TAKE_MAX = 4096, ADMIN_MS = 30000, TEXT_BYTES = 32 };

struct conn {
    struct peer_conn base;
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue;
    int event; /* told when the queue is not empty any more */
    unsigned in_flight;
    enum peer_mode mode;
    rd_kafka_message_t *taken[TAKE_MAX];
};

static void set(rd_kafka_conf_t *conf, const char *key, const char *value, char *err)
{
    char why[PEER_ERROR_BYTES - TEXT_BYTES];

    if (rd_kafka_conf_set(conf, key, value, why, sizeof why) != RD_KAFKA_CONF_OK) {
        snprintf(err, PEER_ERROR_BYTES, "%s", why);
    }
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct conn *c = opaque;

    (void)rk;
    c->in_flight--;
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)peer_fail(&c->base, "produce: %s", rd_kafka_err2str(m->err));
    }
    c->base.on.acked(c->base.on.user, (int64_t)(intptr_t)m->_private,
                     m->err == RD_KAFKA_RESP_ERR_NO_ERROR);
}

static int create_topic(rd_kafka_t *rk, const struct peer_options *o, char *err)
{
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(o->topic, (int)o->partitions, 1, err, PEER_ERROR_BYTES);
    rd_kafka_event_t *event = NULL;
    int rc = -1;

    if (topic != NULL) {
        size_t n = 0;
        rd_kafka_CreateTopics(rk, &topic, 1, NULL, q);
        event = rd_kafka_queue_poll(q, ADMIN_MS);
        const rd_kafka_topic_result_t **results =
            event != NULL
                ? rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n)
                : NULL;
        const rd_kafka_resp_err_t e =
            n > 0 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__TIMED_OUT;
        rc =
            e == RD_KAFKA_RESP_ERR_NO_ERROR || e == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS ? 0 : -1;
        snprintf(err, PEER_ERROR_BYTES, "%s", rd_kafka_err2str(e));
        rd_kafka_NewTopic_destroy(topic);
    }
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(q);
    return rc;
}

static int setup(const struct peer_options *o, char *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    set(conf, "bootstrap.servers", o->address, err);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, PEER_ERROR_BYTES);
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return -1;
    }
    const int rc = create_topic(rk, o, err);
    rd_kafka_destroy(rk);
    return rc;
}

static struct peer_conn *conn_open(const struct peer_options *o, const struct peer_events *on)
{
    struct conn *c = calloc(1, sizeof *c);

    if (c == NULL) {
        return NULL;
    }
    c->base.o = o;
    c->base.on = *on;
    c->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return &c->base;
}

static void told_by(struct conn *c, rd_kafka_queue_t *queue)
{
    const uint64_t one = 1;

    c->queue = queue;
    rd_kafka_queue_io_event_enable(queue, c->event, &one, sizeof one);
}

/* A handle is a producer or a consumer, so it is made with the first use. */
static int become_producer(struct conn *c)
{
    char window[TEXT_BYTES];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    snprintf(window, sizeof window, "%u", c->base.o->window);
    set(conf, "bootstrap.servers", c->base.o->address, c->base.error);
    set(conf, "acks", "all", c->base.error);
    set(conf, "enable.idempotence", "true", c->base.error);
    set(conf, "queue.buffering.max.messages", window, c->base.error);
    set(conf, "socket.nagle.disable", "true", c->base.error);
    if (c->base.o->prompt) {
        set(conf, "linger.ms", "0", c->base.error);
    }
    rd_kafka_conf_set_opaque(conf, c);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    char err[PEER_ERROR_BYTES] = "";
    c->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, sizeof err);
    if (c->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return peer_fail(&c->base, "%s", err);
    }
    c->topic = rd_kafka_topic_new(c->rk, c->base.o->topic, NULL);
    told_by(c, rd_kafka_queue_get_main(c->rk));
    return c->topic != NULL ? 0 : peer_fail(&c->base, "no topic");
}

static int conn_connect(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;
    const struct rd_kafka_metadata *ignored = NULL;
    int rc = become_producer(c);

    if (rc == 0) {
        const rd_kafka_resp_err_t e = rd_kafka_metadata(c->rk, 0, NULL, &ignored, ADMIN_MS);
        rc =
            e == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : peer_fail(b, "metadata: %s", rd_kafka_err2str(e));
        if (ignored != NULL) {
            rd_kafka_metadata_destroy(ignored);
        }
    }
    return rc;
}

static enum peer_sent conn_send(struct peer_conn *b, const void *value, size_t size, int64_t stamp)
{
    struct conn *c = (struct conn *)b;

    if (c->rk == NULL && become_producer(c) != 0) {
        return PEER_FAILED;
    }
    if (c->in_flight >= b->o->window) {
        return PEER_FULL;
    }
    /* COPY: the payload is only read */
    if (rd_kafka_produce(c->topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY,
                         (void *)(uintptr_t)value, size, NULL, 0, (void *)(intptr_t)stamp) != 0) {
        if (rd_kafka_last_error() == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            return PEER_FULL;
        }
        (void)peer_fail(b, "produce: %s", rd_kafka_err2str(rd_kafka_last_error()));
        return PEER_FAILED;
    }
    c->in_flight++;
    return PEER_SENT;
}

static int conn_poll(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;
    uint64_t ignored;

    while (read(c->event, &ignored, sizeof ignored) > 0) {
    }
    if (c->mode == 0) {
        if (c->rk != NULL) {
            (void)rd_kafka_poll(c->rk, 0);
        }
    } else {
        const ssize_t n = rd_kafka_consume_batch_queue(c->queue, 0, c->taken, TAKE_MAX);
        for (ssize_t i = 0; i < n; i++) {
            const rd_kafka_message_t *m = c->taken[i];
            if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
                const struct peer_handle h = {0};
                b->on.message(b->on.user, m->payload, m->len, &h);
            } else if (m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                (void)peer_fail(b, "consume: %s", rd_kafka_message_errstr(m));
            }
            rd_kafka_message_destroy(c->taken[i]);
        }
    }
    return b->error[0] == '\0' ? 0 : -1;
}

static void conn_wait(struct peer_conn *b, int64_t until_ns)
{
    struct conn *c = (struct conn *)b;

    peer_wait_fd(c->event, POLLIN, until_ns);
}

static int assign(struct conn *c, unsigned member, bool tail)
{
    const struct peer_options *o = c->base.o;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)o->partitions);
    const unsigned first = o->partitions * member / o->members;
    const unsigned end = o->partitions * (member + 1) / o->members;

    for (unsigned p = first; p < end; p++) {
        rd_kafka_topic_partition_list_add(list, o->topic, (int32_t)p)->offset =
            tail ? RD_KAFKA_OFFSET_END : RD_KAFKA_OFFSET_BEGINNING;
    }
    const rd_kafka_resp_err_t e = rd_kafka_assign(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return e == RD_KAFKA_RESP_ERR_NO_ERROR ? 0
                                           : peer_fail(&c->base, "assign: %s", rd_kafka_err2str(e));
}

static int join(struct conn *c)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(list, c->base.o->topic, RD_KAFKA_PARTITION_UA);
    const rd_kafka_resp_err_t e = rd_kafka_subscribe(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return e == RD_KAFKA_RESP_ERR_NO_ERROR
               ? 0
               : peer_fail(&c->base, "subscribe: %s", rd_kafka_err2str(e));
}

static int conn_subscribe(struct peer_conn *b, enum peer_mode mode, unsigned member, bool tail)
{
    struct conn *c = (struct conn *)b;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char err[PEER_ERROR_BYTES] = "";

    set(conf, "bootstrap.servers", b->o->address, b->error);
    set(conf, "group.id", b->o->group, b->error);
    set(conf, "auto.offset.reset", tail ? "latest" : "earliest", b->error);
    set(conf, "enable.auto.commit", mode == PEER_LOG ? "true" : "false", b->error);
    set(conf, "auto.commit.interval.ms", "1000", b->error);
    c->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, err, sizeof err);
    if (c->rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return peer_fail(b, "%s", err);
    }
    c->mode = mode;
    (void)rd_kafka_poll_set_consumer(c->rk);
    told_by(c, rd_kafka_queue_get_consumer(c->rk));
    return mode == PEER_READ ? assign(c, member, tail) : join(c);
}

static int conn_commit(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c->mode != PEER_LOG) {
        return 0;
    }
    const rd_kafka_resp_err_t e = rd_kafka_commit(c->rk, NULL, 0);
    return e == RD_KAFKA_RESP_ERR_NO_ERROR || e == RD_KAFKA_RESP_ERR__NO_OFFSET
               ? 0
               : peer_fail(b, "commit: %s", rd_kafka_err2str(e));
}

static void conn_close(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c == NULL) {
        return;
    }
    if (c->queue != NULL) {
        rd_kafka_queue_io_event_enable(c->queue, -1, NULL, 0);
        rd_kafka_queue_destroy(c->queue);
    }
    if (c->mode != 0) {
        (void)rd_kafka_consumer_close(c->rk);
    }
    if (c->topic != NULL) {
        rd_kafka_topic_destroy(c->topic);
    }
    if (c->rk != NULL) {
        rd_kafka_destroy(c->rk);
    }
    (void)close(c->event);
    free(c);
}

static void version(char *out, size_t size)
{
    snprintf(out, size, "librdkafka %s", rd_kafka_version_str());
}

const struct peer_driver peer_kafka = {
    .name = "kafka",
    .modes = PEER_READ | PEER_LOG,
    .setup = setup,
    .open = conn_open,
    .connect = conn_connect,
    .send = conn_send,
    .poll = conn_poll,
    .wait = conn_wait,
    .subscribe = conn_subscribe,
    .commit = conn_commit,
    .close = conn_close,
    .version = version,
};
