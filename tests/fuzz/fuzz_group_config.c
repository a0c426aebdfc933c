/* Settings of a group: from the wire in both moods, and as text "key=value". What is accepted can
 * be written and read back as the same. */
#include <stdlib.h>

#include "proto/msg_group.h"
#include "tests/fuzz/target.h"

static void must_round_trip(const struct group_config *c)
{
    struct group_config got;
    struct buf b = {0};
    struct mpread r;

    group_config_defaults(&got, GROUP_MODE_LOG);
    group_config_put(&b, c, true);
    mpread_init(&r, b.p, b.len);
    if (group_config_get(&r, true, &got, NULL) != WERR_OK || !mpread_done(&r)) {
        abort();
    }
    got.set = c->set;
    if (memcmp(&got, c, sizeof got) != 0) {
        abort();
    }
    buf_fini(&b);
}

static void from_text(const uint8_t *data, size_t n)
{
    char *text = malloc(n + 1), *value;
    struct group_config c;
    struct werror e = {0};

    if (text == NULL) {
        return;
    }
    memcpy(text, data, n);
    text[n] = '\0';
    value = strchr(text, '=');
    if (value != NULL) {
        *value++ = '\0';
        group_config_defaults(&c, GROUP_MODE_QUEUE);
        if (group_config_set(&c, text, value, &e) == WERR_OK) {
            must_round_trip(&c);
        } else if (e.text[0] == '\0') {
            abort();
        }
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    for (int strict = 0; strict < 2; strict++) {
        struct group_config c;
        struct mpread r;
        struct werror e;

        group_config_defaults(&c, GROUP_MODE_QUEUE);
        mpread_init(&r, data, n);
        if (group_config_get(&r, strict != 0, &c, &e) == WERR_OK) {
            must_round_trip(&c);
        }
    }
    from_text(data, n);
    return 0;
}
