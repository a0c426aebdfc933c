/*
 * Works a topic as a queue: start as many as you like, each message is with one of them at a time.
 * What fails comes again later, what is hopeless goes to the dead letters; what a killed worker had
 * goes to another one. No hurry: a message stays yours while this program lives.
 */
#include <stdio.h>
#include <weir/weir.h>

int main(int argc, char **argv)
{
    weir *w = weir_open(argc > 1 ? argv[1] : NULL, NULL);
    weir_sub *s = weir_subscribe(w, "orders", "billing", argc > 2 ? argv[2] : "mode=queue");
    const weir_message *m;
    while ((m = weir_next(s, -1)) != NULL) {
        int rc = printf("%.*s\n", (int)m->value.size, (const char *)m->value.data); /* the work */
        weir_done(m, m->value.size == 0 ? WEIR_DEAD : rc > 0 ? WEIR_ACK : WEIR_NACK);
    }
    weir_error e = weir_sub_error(s), c = weir_close(w, 5000); /* gives back what is left */
    if (e.code != WEIR_OK || c.outcome != WEIR_DONE) {
        fprintf(stderr, "%s; on closing: %s\n", e.text, c.text);
        return 1;
    }
    return 0;
}
