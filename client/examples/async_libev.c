/*
 * Sends COUNT messages without blocking and reads them back, in one libev loop. Back-pressure: when
 * the library's buffer is full, sending pauses until results come.
 *
 *   async_libev URL TOPIC COUNT
 */
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <weir/adapters/libev.h>
#include <weir/weir.h>

struct app {
    weir *w;
    weir_sub *sub;
    const char *topic;
    long count, queued, stored, failed, received;
    struct ev_loop *loop;
};

static void send_more(struct app *a);

static void on_sent(void *user, const weir_receipt *r)
{
    struct app *a = user;

    if (r->error.outcome == WEIR_DONE) {
        a->stored++;
    } else {
        a->failed++; /* NOT_DONE and RETRY: not stored. UNKNOWN: it may have been. */
        fprintf(stderr, "%s: %s\n", weir_outcome_name(r->error.outcome), r->error.text);
    }
    send_more(a);
}

static void send_more(struct app *a)
{
    while (a->queued < a->count) {
        char text[32];
        snprintf(text, sizeof text, "message %ld", a->queued);
        weir_error e =
            weir_send_async(a->w, a->topic, weir_str(NULL), weir_str(text), NULL, on_sent, a);
        if (e.outcome != WEIR_DONE) {
            break; /* the buffer is full: on_sent goes on */
        }
        a->queued++;
    }
}

/* Called by the adapter after every turn. */
static void after_io(void *user)
{
    struct app *a = user;
    const weir_message *m;

    while ((m = weir_next(a->sub, 0)) != NULL) {
        a->received++;
        weir_done(m, WEIR_ACK);
    }
    if (a->stored + a->failed == a->count && a->received >= a->stored) {
        ev_break(a->loop, EVBREAK_ALL);
    }
}

int main(int argc, char **argv)
{
    struct app a = {.count = argc > 3 ? strtol(argv[3], NULL, 10) : 1000};
    struct weir_libev adapter;

    a.topic = argc > 2 ? argv[2] : "orders";
    a.loop = ev_default_loop(EVFLAG_AUTO);
    a.w = weir_open(argc > 1 ? argv[1] : NULL, NULL);
    a.sub = weir_subscribe(a.w, a.topic, NULL, NULL);
    weir_libev_attach(&adapter, a.loop, a.w, after_io, &a);
    send_more(&a);
    ev_run(a.loop, 0);
    printf("stored %ld, failed %ld, received %ld\n", a.stored, a.failed, a.received);
    weir_libev_detach(&adapter);
    weir_close(a.w, 0);
    return a.failed != 0;
}
