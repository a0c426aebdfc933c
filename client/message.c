/* Headers of received messages: walked where they lie. */
#include <weir/weir.h>

#include "proto/batch.h"

int weir_message_next_header(const weir_message *m, size_t *pos, weir_bytes *name,
                             weir_bytes *value)
{
    struct slice rest, n, v;

    if (!m || !pos || *pos >= m->raw_headers.size) {
        return 0;
    }
    rest = slice_of((const uint8_t *)m->raw_headers.data + *pos, m->raw_headers.size - *pos);
    if (!record_header_next(&rest, &n, &v)) {
        return 0;
    }
    *pos = m->raw_headers.size - rest.n;
    if (name) {
        *name = weir_bytes_of(n.p, n.n);
    }
    if (value) {
        *value = weir_bytes_of(v.p, v.n);
    }
    return 1;
}

weir_bytes weir_message_header(const weir_message *m, const char *name)
{
    weir_bytes n, v;
    size_t pos = 0, len = name ? strlen(name) : 0;

    while (name && weir_message_next_header(m, &pos, &n, &v)) {
        if (n.size == len && memcmp(n.data, name, len) == 0) {
            return v;
        }
    }
    return weir_bytes_of(NULL, 0);
}
