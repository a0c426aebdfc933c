/* weir through its public library. The topic is as durable as the server's default unless
 * durability= is given. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

#include "bench/peers/peer.h"

enum { TAKE_MAX = 4096, ADMIN_MS = 30000, COMMIT_MS = 60000, NS_PER_MS = 1000000 };

struct slot {
    struct conn *owner;
    int64_t stamp;
    struct slot *next;
};

struct conn {
    struct peer_conn base;
    weir *w;
    weir_sub *sub;
    enum peer_mode mode;
    struct slot *slots, *free;
};

static int fail(struct conn *c, const char *what, const weir_error *e)
{
    return peer_fail(&c->base, "%s: %s", what, e->text);
}

static weir *open_handle(const struct peer_options *o)
{
    char url[160], extra[128];

    snprintf(url, sizeof url, "weir://%s", o->address);
    peer_option(o, "compression", "none", extra, sizeof extra);
    char options[192];
    snprintf(options, sizeof options, "compression=%s", extra);
    return weir_open(url, options);
}

static int setup(const struct peer_options *o, char *err)
{
    char config[128], durability[16];
    weir *w = open_handle(o);

    snprintf(config, sizeof config, "partitions=%u durability=%s", o->partitions,
             peer_option(o, "durability", "disk", durability, sizeof durability));
    const weir_error e = weir_topic_create(w, o->topic, config, 0, NULL, ADMIN_MS);
    weir_close(w, 0);
    snprintf(err, PEER_ERROR_BYTES, "%s", e.text);
    return e.outcome == WEIR_DONE ? 0 : -1;
}

static struct peer_conn *conn_open(const struct peer_options *o, const struct peer_events *on)
{
    struct conn *c = calloc(1, sizeof *c);

    if (c == NULL) {
        return NULL;
    }
    c->base.o = o;
    c->base.on = *on;
    c->w = open_handle(o);
    c->slots = calloc(o->window, sizeof *c->slots);
    for (unsigned i = 0; c->slots != NULL && i < o->window; i++) {
        c->slots[i].owner = c;
        c->slots[i].next = c->free;
        c->free = &c->slots[i];
    }
    const weir_error e = weir_ping(c->w, NULL, ADMIN_MS);
    if (e.outcome != WEIR_DONE || (c->slots == NULL && o->window > 0)) {
        fail(c, "ping", &e);
    }
    return &c->base;
}

static void on_sent(void *user, const weir_receipt *r)
{
    struct slot *s = user;
    struct conn *c = s->owner;
    const bool ok = r->error.outcome == WEIR_DONE;

    if (!ok) {
        fail(c, "produce", &r->error);
    }
    s->next = c->free;
    c->free = s;
    c->base.on.acked(c->base.on.user, s->stamp, ok);
}

static enum peer_sent conn_send(struct peer_conn *b, const void *value, size_t size, int64_t stamp)
{
    struct conn *c = (struct conn *)b;
    struct slot *s = c->free;

    if (s == NULL) {
        return PEER_FULL;
    }
    s->stamp = stamp;
    const weir_error e = weir_send_async(c->w, c->base.o->topic, weir_str(NULL),
                                         weir_bytes_of(value, size), NULL, on_sent, s);
    if (e.outcome == WEIR_DONE) {
        c->free = s->next;
        return PEER_SENT;
    }
    if (e.code == WEIR_E_BUFFER_FULL) {
        return PEER_FULL;
    }
    fail(c, "send", &e);
    return PEER_FAILED;
}

static void conn_push(struct peer_conn *b)
{
    weir_on_io(((struct conn *)b)->w);
}

static void take(struct conn *c, const weir_message *m)
{
    const struct peer_handle h = {.a = (uintptr_t)m};

    c->base.on.message(c->base.on.user, m->value.data, m->value.size, &h);
    if (c->mode != PEER_QUEUE) {
        weir_done(m, WEIR_ACK);
    }
}

static int conn_poll(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    weir_on_io(c->w);
    if (c->sub != NULL) {
        const weir_message *m = NULL;
        for (int n = 0; n < TAKE_MAX && (m = weir_next(c->sub, 0)) != NULL; n++) {
            take(c, m);
        }
        const weir_error e = weir_sub_error(c->sub);
        if (m == NULL && e.code != WEIR_OK && e.code != WEIR_E_TIMEOUT) {
            return fail(c, "next", &e);
        }
    }
    return c->base.error[0] == '\0' ? 0 : -1;
}

static void conn_wait(struct peer_conn *b, int64_t until_ns)
{
    struct conn *c = (struct conn *)b;
    const int ms = weir_timeout_ms(c->w);

    if (ms >= 0) {
        const int64_t own_ns = peer_now_ns() + (int64_t)ms * NS_PER_MS;
        until_ns = own_ns < until_ns ? own_ns : until_ns;
    }
    peer_wait_fd(weir_fd(c->w), POLLIN, until_ns);
}

static int conn_fd(struct peer_conn *b)
{
    return weir_fd(((struct conn *)b)->w);
}

static int conn_subscribe(struct peer_conn *b, enum peer_mode mode, unsigned member, bool tail)
{
    struct conn *c = (struct conn *)b;
    char options[96];
    int n = snprintf(options, sizeof options, "start=%s", tail ? "latest" : "earliest");

    (void)member;
    c->mode = mode;
    if (mode == PEER_QUEUE) {
        snprintf(options + n, sizeof options - (size_t)n, " mode=queue prefetch=%u",
                 c->base.o->prefetch);
    }
    c->sub = weir_subscribe(c->w, c->base.o->topic, mode == PEER_READ ? NULL : c->base.o->group,
                            options);
    return c->sub != NULL ? 0 : peer_fail(b, "no memory");
}

static int conn_settle(struct peer_conn *b, const struct peer_handle *h)
{
    (void)b;
    weir_done((const weir_message *)(uintptr_t)h->a, WEIR_ACK);
    return 0;
}

static int conn_commit(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c->mode == PEER_READ || c->sub == NULL) {
        return 0;
    }
    const weir_error e = weir_commit(c->sub, COMMIT_MS);
    return e.outcome == WEIR_DONE ? 0 : fail(c, "commit", &e);
}

static void conn_close(struct peer_conn *b)
{
    struct conn *c = (struct conn *)b;

    if (c != NULL) {
        weir_close(c->w, 1000);
        free(c->slots);
        free(c);
    }
}

static void version(char *out, size_t size)
{
    snprintf(out, size, "libweir %s", weir_version());
}

const struct peer_driver peer_weir = {
    .name = "weir",
    .modes = PEER_READ | PEER_LOG | PEER_QUEUE,
    .many = true,
    .setup = setup,
    .open = conn_open,
    .send = conn_send,
    .push = conn_push,
    .poll = conn_poll,
    .wait = conn_wait,
    .fd = conn_fd,
    .subscribe = conn_subscribe,
    .settle = conn_settle,
    .commit = conn_commit,
    .close = conn_close,
    .version = version,
};
