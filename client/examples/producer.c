/*
 * Sends one message and waits until it is on disk. The exit code is the outcome: 0 done, 1 not done
 * and hopeless, 2 not done (try again later), 3 unknown (no answer: it may be stored).
 */
#include <stdio.h>
#include <weir/weir.h>

int main(int argc, char **argv)
{
    weir *w = weir_open(argc > 1 ? argv[1] : NULL, NULL);
    weir_error e = weir_send(w, "orders", weir_str("42"), weir_str("hello"), 5000);
    if (e.outcome != WEIR_DONE) {
        fprintf(stderr, "%s: %s\n", weir_outcome_name(e.outcome), e.text);
    }
    weir_close(w, 5000);
    return (int)e.outcome;
}
