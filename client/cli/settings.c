#include "client/cli/settings.h"

#include <stdio.h>
#include <string.h>

#include "client/cli/nearest.h"
#include "client/cli/session.h"

/* A setting that the library does not know is a slip of the keyboard: the nearest one is named. */
static int check_setting(const char *pair, const char *const *keys)
{
    struct nearest near;
    size_t n = strcspn(pair, "=");
    nearest_init(&near, pair, n);
    for (; *keys; keys++) {
        if (strlen(*keys) == n && memcmp(*keys, pair, n) == 0) {
            return EXIT_DONE;
        }
        nearest_offer(&near, *keys);
    }
    return cli_fail(EXIT_USAGE, "--config: unknown setting '%.*s'%s%s%s", (int)n, pair,
                    near.best ? "; did you mean '" : "", near.best ? near.best : "",
                    near.best ? "'?" : "");
}

int settings_join(const struct args *a, enum option_id id, const char *const *keys, char *out)
{
    size_t n = strlen(out);
    const char *pair;
    for (size_t i = 0; (pair = args_nth(a, id, i)) != NULL; i++) {
        if (strpbrk(pair, " \t\n")) {
            return cli_fail(EXIT_USAGE, "--config '%.80s': blanks are not possible here", pair);
        }
        int r = check_setting(pair, keys);
        if (r) {
            return r;
        }
        n += (size_t)snprintf(out + n, SETTINGS_SIZE - n, "%s%s", n ? " " : "", pair);
        if (n >= SETTINGS_SIZE) {
            return cli_fail(EXIT_USAGE, "--config: too many settings");
        }
    }
    return EXIT_DONE;
}
