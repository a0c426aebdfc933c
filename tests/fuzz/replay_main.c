/*
 * Runs a fuzz target without libFuzzer: every file of the given directories as it is, then with a
 * fixed set of mutations (cuts, bytes, copies), the same on every run. Inputs sit in blocks of
 * their exact size, so that a sanitizer sees the first byte read past the end.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/target.h"

enum { MUTATIONS = 300, INPUT_BYTES = 1 << 16, PATH_BYTES = 1024 };

static void run(const uint8_t *p, size_t n)
{
    uint8_t *exact = calloc(1, n == 0 ? 1 : n);

    if (exact == NULL) {
        abort();
    }
    memcpy(exact, p, n);
    (void)LLVMFuzzerTestOneInput(exact, n);
    free(exact);
}

static uint32_t next_random(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

static void mutate(const uint8_t *p, size_t n)
{
    static const uint8_t interesting[] = {0x00, 0x7f, 0x80, 0x90, 0x91, 0x94, 0xa0,
                                          0xc0, 0xc1, 0xc4, 0xc6, 0xcf, 0xd3, 0xd9,
                                          0xdc, 0xdd, 0xdf, 0xe0, 0xff};
    uint8_t *m = malloc(n + 16);
    uint32_t x = 2463534242;

    if (m == NULL) {
        abort();
    }
    for (unsigned i = 0; n > 0 && i < MUTATIONS; i++) {
        size_t len = n;

        memcpy(m, p, n);
        for (unsigned k = next_random(&x) % 4; k < 4; k++) {
            size_t at = next_random(&x) % len;
            uint32_t v = next_random(&x);

            m[at] = (v & 1) != 0 ? interesting[(v >> 8) % sizeof interesting] : (uint8_t)(v >> 16);
        }
        if (i % 5 == 1) {
            len = next_random(&x) % n;
        } else if (i % 5 == 2) {
            memset(m + n, 0xff, 16);
            len = n + 1 + next_random(&x) % 16;
        }
        run(m, len);
    }
    free(m);
}

static unsigned replay_file(const char *path)
{
    static uint8_t data[INPUT_BYTES];
    FILE *f = fopen(path, "rb");
    size_t n;

    if (f == NULL) {
        perror(path);
        exit(1);
    }
    n = fread(data, 1, sizeof data, f);
    fclose(f);
    run(data, n);
    if (n <= 4096) {
        mutate(data, n);
    }
    return 1;
}

static unsigned replay_dir(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    unsigned n = 0;

    if (d == NULL) {
        perror(dir);
        exit(1);
    }
    while ((e = readdir(d)) != NULL) {
        char path[PATH_BYTES];

        if (e->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            n += replay_file(path);
        }
    }
    closedir(d);
    return n;
}

int main(int argc, char **argv)
{
    unsigned n = 0;

    run((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        n += replay_dir(argv[i]);
    }
    printf("%u inputs, up to %d mutations each\n", n, MUTATIONS);
    return n == 0 ? 1 : 0;
}
