/*
 * A store that is written to until it kills itself, and the check of what is left of it.
 *
 *   store_power_cut write DIR ACKS N    appends; kills itself after N batches, with some under way
 *   store_power_cut check DIR ACKS      opens: nothing acknowledged may be missing
 *
 * ACKS gets a line of acknowledged ends after every answer. store_power_cut.sh puts power cuts in
 * between. Exit 0: all there; 1: something is missing; 3: the store was refused.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "storage/store_rocks.h"
#include "tests/lib/store_world.h"
#include "tests/lib/test.h"
#include "tests/unit/storage/rocks_env.h"

enum { PARTITIONS = 4, BATCH_BYTES = 20000, UNDER_WAY = 32 };

struct writer {
    struct store *st;
    uint64_t acked[PARTITIONS];
    unsigned in_flight;
    bool room;
    int fd;
};
struct flight {
    struct writer *w;
    uint32_t partition;
    uint64_t next;
};

static struct store *open_store(const char *dir)
{
    struct store_conf conf = rocks_conf();
    struct store *st = NULL;
    struct werror e = {0};

    conf.memory_bytes = 16 << 20; /* small buckets: many ends of them, many log files */
    if (store_open_rocks(&st, dir, &conf, &e) != WERR_OK) {
        printf("refused: %s\n", e.text);
        exit(3);
    }
    return st;
}

static void on_done(void *arg, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct flight *f = arg;
    struct writer *w = f->w;
    char line[128];
    int n;

    (void)stage;
    (void)e;
    if (rc == WERR_OK) {
        w->acked[f->partition] = f->next;
        n = snprintf(line, sizeof line, "%llu %llu %llu %llu\n", (unsigned long long)w->acked[0],
                     (unsigned long long)w->acked[1], (unsigned long long)w->acked[2],
                     (unsigned long long)w->acked[3]);
        assert_int_equal(write(w->fd, line, (size_t)n), n);
    }
    w->in_flight--;
    w->room = true;
    free(f);
}

static void append(struct writer *w, uint32_t partition, enum store_sync sync)
{
    struct store_txn *t = store_txn_new(w->st);
    struct flight *f = malloc(sizeof *f);
    uint64_t base = store_next_offset(w->st, partition);

    assert_non_null(f);
    *f = (struct flight){w, partition, base + 1};
    world_txn_append(t, TABLE_LOG_7D, partition, base, 1, BATCH_BYTES, 1000);
    if (store_roll_due(w->st, 0)) {
        txn_roll(t);
    }
    w->in_flight++;
    store_submit(w->st, t, sync, false, on_done, f);
}

static int run_write(const char *dir, const char *acks, unsigned n)
{
    struct writer w = {.fd = open(acks, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};

    assert_true(w.fd >= 0);
    w.st = open_store(dir);
    for (unsigned i = 0; i < n; i++) {
        append(&w, i % PARTITIONS, i % 5 == 0 ? STORE_LAZY : STORE_SYNC);
        while (w.in_flight > UNDER_WAY) {
            w.room = false;
            poll_until(w.st, &w.room);
        }
    }
    kill(getpid(), SIGKILL);
    return 1;
}

static int run_check(const char *dir, const char *acks)
{
    unsigned long long acked[PARTITIONS] = {0};
    struct store *st = open_store(dir);
    FILE *f = fopen(acks, "r");
    int missing = 0;

    assert_non_null(f);
    while (fscanf(f, "%llu %llu %llu %llu", &acked[0], &acked[1], &acked[2], &acked[3]) == 4) {
    }
    fclose(f);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        enum werr rc;
        uint64_t next = read_all(st, p, &rc);

        if (rc != WERR_OK || next < acked[p]) {
            printf("partition %u: %llu acknowledged, read up to %llu (%d)\n", p, acked[p],
                   (unsigned long long)next, (int)rc);
            missing = 1;
        }
    }
    assert_int_equal(append_sync(st, TABLE_LOG_7D, 0, 1, BATCH_BYTES), WERR_OK);
    store_close(st);
    return missing;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "write") == 0) {
        return run_write(argv[2], argv[3], (unsigned)strtoul(argv[4], NULL, 10));
    }
    if (argc == 4 && strcmp(argv[1], "check") == 0) {
        return run_check(argv[2], argv[3]);
    }
    fprintf(stderr, "usage: store_power_cut write DIR ACKS N | check DIR ACKS\n");
    return 2;
}
