/* The server's settings: a file (through a descriptor in memory), and the text of one setting. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/config.h"
#include "tests/fuzz/target.h"

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void from_file(const uint8_t *p, size_t n)
{
    static int fd = -1;
    static char path[40];
    struct config c;
    struct werror e = {0};

    if (fd < 0) {
        fd = memfd_create("weir.conf", MFD_CLOEXEC);
        must(fd >= 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    must(ftruncate(fd, 0) == 0 && pwrite(fd, p, n, 0) == (ssize_t)n);
    config_defaults(&c);
    if (config_file(&c, path, &e) != WERR_OK) {
        must(e.text[0] != '\0');
    }
}

/* key NUL value */
static void one(const uint8_t *p, size_t n)
{
    char *text = malloc(n + 2), *value;
    struct config c;
    struct werror e = {0};

    must(text != NULL);
    memcpy(text, p, n);
    text[n] = text[n + 1] = '\0';
    value = text + strlen(text) + 1;
    value = value > text + n ? text + n : value;
    config_defaults(&c);
    must(config_set(&c, text, value, "fuzz", &e) == WERR_OK || e.text[0] != '\0');
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0) {
        return 0;
    }
    if ((data[0] & 1) != 0) {
        one(data + 1, n - 1);
    } else {
        from_file(data + 1, n - 1);
    }
    return 0;
}
