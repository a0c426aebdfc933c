/* Prints every message of a topic, oldest first, until a fatal error. */
#include <stdio.h>
#include <weir/weir.h>

int main(int argc, char **argv)
{
    weir *w = weir_open(argc > 1 ? argv[1] : NULL, NULL);
    weir_sub *s = weir_subscribe(w, "orders", NULL, argc > 2 ? argv[2] : NULL);
    const weir_message *m;
    while ((m = weir_next(s, -1)) != NULL) {
        printf("%.*s\n", (int)m->value.size, (const char *)m->value.data);
        weir_done(m, WEIR_ACK);
    }
    weir_error e = weir_sub_error(s);
    if (e.code != WEIR_OK) {
        fprintf(stderr, "%s: %s\n", weir_code_name(e.code), e.text);
    }
    weir_close(w, 0);
    return e.code != WEIR_OK;
}
