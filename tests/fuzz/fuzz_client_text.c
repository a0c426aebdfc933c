/* Text that a program gives to the library: URLs, options, and options of a subscription. */
#include <stdlib.h>
#include <string.h>

#include "client/url.h"
#include "tests/fuzz/target.h"

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text;
    struct options o;
    struct sub_options so;
    struct url u;
    struct werror e = {0};

    if (n == 0) {
        return 0;
    }
    text = malloc(n);
    must(text != NULL);
    memcpy(text, data + 1, n - 1);
    text[n - 1] = '\0';
    options_defaults(&o);
    sub_options_defaults(&so);
    switch (data[0] & 3) {
    case 0:
        if (url_parse(&u, text, &o, &e) == WERR_OK) {
            must(u.is_unix ? u.path[0] != '\0' : u.n_hosts > 0 && u.n_hosts <= URL_HOSTS);
            for (unsigned i = 0; !u.is_unix && i < u.n_hosts; i++) {
                must(memchr(u.hosts[i].name, 0, sizeof u.hosts[i].name) != NULL);
                must(u.hosts[i].name[0] != '\0' && u.hosts[i].port[0] != '\0');
            }
        } else {
            must(e.text[0] != '\0');
        }
        break;
    case 1:
        must(options_parse(&o, text, (data[0] & 4) != 0 ? '&' : ' ', &e) == WERR_OK ||
             e.text[0] != '\0');
        break;
    default:
        must(sub_options_parse(&so, text, (data[0] & 1) != 0, &e) == WERR_OK || e.text[0] != '\0');
        break;
    }
    must(memchr(o.client_id, 0, sizeof o.client_id) != NULL);
    must(memchr(o.producer, 0, sizeof o.producer) != NULL);
    free(text);
    return 0;
}
