/* weir-dump: options, the copy, and the verdict. */
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/dump/dump.h"
#include "storage/backup.h"

enum { EXIT_FINE = 0, EXIT_BROKEN = 1, EXIT_WRONG_USE = 2, EXIT_UNREADABLE = 3 };

static const char usage[] =
    "usage: weir-dump DIR [--fsck | --backup] [--batches TOPIC/PARTITION[@OFFSET]] [--limit N]\n"
    "Shows what a stopped store holds: topics, partitions, groups, rows.\n"
    "  --fsck     also verify every checksum and every rule of the format; exit 1 if one is "
    "broken\n"
    "  --backup   DIR is a backup: as --fsck, and every file is as its list says; prints one line\n"
    "  --batches  list the batches of one partition\n"
    "  --limit N  batches at most (default 100)\n"
    "Nothing in DIR is changed. Exit: 0 fine, 1 broken, 2 wrong use, 3 cannot be opened.\n";

struct options {
    const char *dir, *batches;
    uint64_t limit;
    bool fsck, backup;
};

/* ---------------------------------------------------------------- the core's surroundings */

static int64_t mono(void *arg)
{
    (void)arg;
    return clock_mono_ns();
}

static int64_t wall(void *arg)
{
    (void)arg;
    return clock_wall_ms();
}

static uint64_t no_random(void *arg)
{
    (void)arg;
    return 4; /* nothing is decided here */
}

static void quiet(void *arg, int level, const char *event, const char *kv)
{
    (void)arg;
    (void)level;
    (void)event;
    (void)kv;
}

static void store_says(void *arg, const char *event, const char *text)
{
    fprintf(arg, "%s: %s\n", event, text);
}

static int report(struct dump *d, const struct options *o)
{
    char topic[300];
    unsigned p = 0;
    uint64_t from = 0;

    if (o->batches != NULL) {
        if (sscanf(o->batches, "%299[^/]/%u@%" SCNu64, topic, &p, &from) < 2 ||
            !dump_batches(d, topic, p, from, o->limit)) {
            fprintf(stderr, "weir-dump: no partition %s\n", o->batches);
            return EXIT_WRONG_USE;
        }
    } else {
        dump_walk(d, o->fsck);
        if (o->fsck) {
            dump_check_meta(d);
        }
        if (!o->backup) {
            dump_show(d);
        }
    }
    if (o->fsck && !o->backup) {
        fprintf(d->out, "%" PRIu64 " problems\n", d->problems);
    }
    return d->problems > 0 ? EXIT_BROKEN : EXIT_FINE;
}

static int dump(const struct options *o);

/* The list, then the contents. */
static int check_backup(const struct options *o)
{
    struct backup_info about;
    struct werror e = {.code = WERR_OK};
    const enum werr rc = backup_check(o->dir, &about, &e);
    int code;

    if (rc != WERR_OK) {
        fprintf(stderr, "weir-dump: %s: %s\n", werr_name(rc), e.text);
        return rc == WERR_CORRUPT ? EXIT_BROKEN : EXIT_UNREADABLE;
    }
    code = dump(o);
    printf("%s: %" PRIu64 " files, %" PRIu64 " bytes: %s\n", o->dir, about.files, about.bytes,
           code == EXIT_FINE ? "whole" : "damaged");
    return code;
}

static int dump(const struct options *o)
{
    static struct store_copy copy;
    const struct store_conf conf = {.log = store_says, .log_arg = stderr, .min_free_bytes = 1};
    const struct core_env env = {
        .mono_ns = mono, .wall_ms = wall, .random = no_random, .log = quiet};
    struct core_conf core = {.broker_id = 1, .tail_cache_bytes = 0, .inflight_bytes = 1 << 20};
    struct dump d = {.out = stdout};
    struct werror e = {.code = WERR_OK};
    char scratch[4000];
    int code = EXIT_UNREADABLE;

    topic_config_defaults(&core.topic_defaults);
    snprintf(scratch, sizeof scratch, "%s.dump-%ld", o->dir, (long)getpid());
    enum werr rc = store_copy_open(&copy, o->dir, scratch, &conf, &e);
    d.st = copy.st;
    if (rc == WERR_OK) {
        rc = core_open(&d.co, &core, d.st, &env, &e);
    }
    if (rc == WERR_OK) {
        dump_map_parts(&d);
        code = report(&d, o);
    } else {
        fprintf(stderr, "weir-dump: %s: %s\n", werr_name(rc), e.text);
    }
    store_copy_close(&copy);
    if (d.co != NULL) {
        core_close(d.co);
    }
    dump_fini(&d);
    return code;
}

int main(int argc, char **argv)
{
    static const struct option table[] = {
        {"fsck", no_argument, NULL, 'f'},          {"backup", no_argument, NULL, 'k'},
        {"batches", required_argument, NULL, 'b'}, {"limit", required_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
    struct options o = {.limit = 100};
    int key;

    while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (key == 'f') {
            o.fsck = true;
        } else if (key == 'k') {
            o.fsck = o.backup = true;
        } else if (key == 'b') {
            o.batches = optarg;
        } else if (key == 'n') {
            o.limit = strtoull(optarg, NULL, 10);
        } else {
            fputs(usage, key == 'h' ? stdout : stderr);
            return key == 'h' ? EXIT_FINE : EXIT_WRONG_USE;
        }
    }
    if (optind + 1 != argc) {
        fputs(usage, stderr);
        return EXIT_WRONG_USE;
    }
    o.dir = argv[optind];
    for (size_t n = strlen(o.dir); n > 1 && argv[optind][n - 1] == '/'; n--) {
        argv[optind][n - 1] = '\0';
    }
    return o.backup ? check_backup(&o) : dump(&o);
}
