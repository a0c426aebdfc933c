/*
 * Prints the messages of a topic, each once per group; started again it goes on where it was, and
 * several copies share the partitions. Runs until it is killed, or a fatal error.
 */
#include <stdio.h>
#include <weir/weir.h>

int main(int argc, char **argv)
{
    weir *w = weir_open(argc > 1 ? argv[1] : NULL, NULL);
    weir_sub *s = weir_subscribe(w, "orders", "printers", argc > 2 ? argv[2] : NULL);
    const weir_message *m;
    while ((m = weir_next(s, -1)) != NULL) {
        printf("%.*s\n", (int)m->value.size, (const char *)m->value.data);
        weir_done(m, WEIR_ACK); /* committed soon: from then on it is not printed again */
    }
    weir_error e = weir_sub_error(s), c = weir_close(w, 5000);
    if (e.code != WEIR_OK || c.outcome != WEIR_DONE) {
        fprintf(stderr, "%s; on closing: %s\n", e.text, c.text);
        return 1;
    }
    return 0;
}
