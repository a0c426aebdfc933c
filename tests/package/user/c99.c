/* A program of a user who compiles as C99: everything public can be named. */
#include <stdio.h>
#include <string.h>

#include <weir/adapters/poll.h>
#include <weir/weir.h>

int buf_put(int x); /* a name that the library uses inside: both must be able to have it */

int buf_put(int x)
{
    return x + 1;
}

int main(void)
{
    weir *w = weir_open("weir://127.0.0.1:1", "linger_ms=1");
    weir_send_options o = WEIR_SEND_OPTIONS;
    struct pollfd p = weir_poll_fd(w);
    weir_error e;

    if (weir_version_number() != WEIR_VERSION_NUMBER || p.fd < 0 || buf_put(1) != 2) {
        return 1;
    }
    e = weir_send_async(w, "t", weir_str("k"), weir_str("v"), &o, NULL, NULL);
    if (e.outcome != WEIR_DONE || weir_pending_messages(w) != 1) {
        return 1;
    }
    e = weir_close(w, 0);
    printf("%s %s %s\n", weir_version(), weir_code_name(e.code), weir_outcome_name(e.outcome));
    return e.code == WEIR_E_CLOSED ? 0 : 1;
}
