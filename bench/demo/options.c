#include "bench/demo/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "weir-demo: a flood of real records goes into weir at peak speed and comes out steadily.\n"
    "\n"
    "Starts a server on a fresh directory, streams 20,000 real flights over and over from four\n"
    "producers in bursts, lets consumers drain them at a steady lower rate, kills the server with\n"
    "kill -9 in the middle, starts it again, and has a separate program judge what arrived.\n"
    "\n"
    "usage: weir-demo [options]\n"
    "  --messages N      in total (2000000)\n"
    "  --seconds N       time that the consumers take for them at their pace (45)\n"
    "  --bursts N        in which they are sent (10)\n"
    "  --kills N         how often the server is killed (1)\n"
    "  --down-ms N       how long it then stays away (1000)\n"
    "  --power-loss      a power cut instead of a mere kill: what was not synced is gone\n"
    "  --power-data V    truncate, prefix, garble, zero: what becomes of unsynced bytes "
    "(truncate)\n"
    "  --power-names V   keep, undo, strict, random: ... of unsynced creates and renames (undo)\n"
    "  --quick           200,000 messages in about 8 seconds\n"
    "  --seed N          moves the moment of the kill and what the power cut leaves (1)\n"
    "  --plain           lines instead of plots (default without a terminal)\n"
    "  --ascii           plots without Unicode\n"
    "  --keep            keep the directory with data, histories and logs\n"
    "  --dir DIR         make it there ($TMPDIR or /tmp)\n"
    "  --bin-dir DIR     where weir-server, weir-judge and the injector are (beside weir-demo)\n"
    "  --server-bin FILE another server\n"
    "  --data FILE       other records: JSON lines with an \"origin\", packed with zstd\n"
    "Exit: 0 nothing lost, 1 the judge found broken promises, 2 it could not run or judge.\n";

enum {
    OPT_MESSAGES = 256,
    OPT_SECONDS,
    OPT_BURSTS,
    OPT_KILLS,
    OPT_DOWN_MS,
    OPT_POWER_LOSS,
    OPT_POWER_DATA,
    OPT_POWER_NAMES,
    OPT_QUICK,
    OPT_SEED,
    OPT_PLAIN,
    OPT_ASCII,
    OPT_KEEP,
    OPT_DIR,
    OPT_BIN_DIR,
    OPT_SERVER_BIN,
    OPT_DATA,
    OPT_HELP,
};

static const struct option long_options[] = {
    {"messages", required_argument, NULL, OPT_MESSAGES},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"bursts", required_argument, NULL, OPT_BURSTS},
    {"kills", required_argument, NULL, OPT_KILLS},
    {"down-ms", required_argument, NULL, OPT_DOWN_MS},
    {"power-loss", no_argument, NULL, OPT_POWER_LOSS},
    {"power-data", required_argument, NULL, OPT_POWER_DATA},
    {"power-names", required_argument, NULL, OPT_POWER_NAMES},
    {"quick", no_argument, NULL, OPT_QUICK},
    {"seed", required_argument, NULL, OPT_SEED},
    {"plain", no_argument, NULL, OPT_PLAIN},
    {"ascii", no_argument, NULL, OPT_ASCII},
    {"keep", no_argument, NULL, OPT_KEEP},
    {"dir", required_argument, NULL, OPT_DIR},
    {"bin-dir", required_argument, NULL, OPT_BIN_DIR},
    {"server-bin", required_argument, NULL, OPT_SERVER_BIN},
    {"data", required_argument, NULL, OPT_DATA},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

/* A whole number within bounds. */
static bool number(const char *name, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    unsigned long long v;

    errno = 0;
    v = strtoull(optarg, &end, 10);
    if (errno != 0 || end == optarg || *end != '\0' || optarg[0] == '-' || v < min || v > max) {
        (void)fprintf(stderr, "weir-demo: %s: \"%s\" is not a number from %llu to %llu\n", name,
                      optarg, (unsigned long long)min, (unsigned long long)max);
        return false;
    }
    *out = v;
    return true;
}

static bool small_number(const char *name, uint64_t min, uint64_t max, uint32_t *out)
{
    uint64_t v = 0;
    const bool ok = number(name, min, max, &v);

    *out = (uint32_t)v;
    return ok;
}

/* The directory of this program. */
static void own_dir(char *out, size_t size)
{
    const ssize_t n = readlink("/proc/self/exe", out, size - 1);
    char *slash;

    out[n > 0 ? n : 0] = '\0';
    slash = strrchr(out, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
}

/* An existing path, made absolute: programs are started from other directories. */
static bool take_path(char *out, size_t n)
{
    char *path = realpath(optarg, NULL);
    bool ok = path != NULL && strlen(path) < n;

    if (path == NULL) {
        perror(optarg);
    } else if (!ok) {
        fprintf(stderr, "%s: path of %zu characters, limit %zu\n", optarg, strlen(path), n - 1);
    } else {
        memcpy(out, path, strlen(path) + 1);
    }
    free(path);
    return ok;
}

static bool take(struct options *o, int opt)
{
    uint64_t v = 0;
    bool ok = true;

    switch (opt) {
    case OPT_MESSAGES:
        return number("--messages", 1000, UINT64_C(1) << 32, &o->messages);
    case OPT_SECONDS:
        ok = number("--seconds", 1, 86400, &v);
        o->seconds = (double)v;
        return ok;
    case OPT_BURSTS:
        return small_number("--bursts", 1, 10000, &o->bursts);
    case OPT_KILLS:
        return small_number("--kills", 0, DEMO_MAX_EPOCHS - 1, &o->kills);
    case OPT_DOWN_MS:
        return small_number("--down-ms", 0, 60000, &o->down_ms);
    case OPT_SEED:
        return number("--seed", 0, UINT64_MAX, &o->seed);
    case OPT_QUICK:
        o->messages = 200000;
        o->seconds = 8;
        o->bursts = 4;
        return true;
    case OPT_BIN_DIR:
        return take_path(o->bin_dir, sizeof o->bin_dir);
    case OPT_SERVER_BIN:
        return take_path(o->server_bin, sizeof o->server_bin);
    case OPT_DATA:
        return take_path(o->data_path, sizeof o->data_path);
    default:
        return false;
    }
}

int options_read(struct options *o, int argc, char **argv)
{
    const char *tmp = getenv("TMPDIR"), *term = getenv("TERM");
    int opt;

    *o = (struct options){.messages = 2000000,
                          .seconds = 45,
                          .producers = 4,
                          .consumers = 2,
                          .bursts = 10,
                          .kills = 1,
                          .down_ms = 1000,
                          .seed = 1,
                          .power_data = "truncate",
                          .power_names = "undo",
                          .dir = tmp != NULL && tmp[0] == '/' ? tmp : "/tmp"};
    o->plain = isatty(STDOUT_FILENO) == 0 || term == NULL || strcmp(term, "dumb") == 0;
    own_dir(o->bin_dir, sizeof o->bin_dir);
    (void)snprintf(o->data_path, sizeof o->data_path, "%s", WEIR_DEMO_DATA);
    while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        o->plain |= opt == OPT_PLAIN;
        o->ascii |= opt == OPT_ASCII;
        o->keep |= opt == OPT_KEEP;
        o->power_loss |= opt == OPT_POWER_LOSS;
        o->dir = opt == OPT_DIR ? optarg : o->dir;
        o->power_data = opt == OPT_POWER_DATA ? optarg : o->power_data;
        o->power_names = opt == OPT_POWER_NAMES ? optarg : o->power_names;
        if (opt == OPT_HELP) {
            (void)fputs(help, stdout);
            return 0;
        }
        if (opt == '?' ||
            (opt != OPT_PLAIN && opt != OPT_ASCII && opt != OPT_KEEP && opt != OPT_POWER_LOSS &&
             opt != OPT_DIR && opt != OPT_POWER_DATA && opt != OPT_POWER_NAMES && !take(o, opt))) {
            (void)fputs("weir-demo --help lists the options\n", stderr);
            return 2;
        }
    }
    if (optind != argc) {
        (void)fprintf(stderr, "weir-demo: \"%s\" is not an option\n", argv[optind]);
        return 2;
    }
    if (o->server_bin[0] == '\0') {
        (void)snprintf(o->server_bin, sizeof o->server_bin, "%s/weir-server", o->bin_dir);
    }
    return -1;
}
