/*
 * weir-judge: reads the histories in a directory (*.hist) and says whether the broker kept its
 * promises. Exit 0: it did. 1: it did not. 2: the histories cannot be judged, or too little
 * happened for a verdict to mean something.
 *
 * Output: key=value lines for programs (first word "judge"), then one line for a person.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "bench/demo/judge.h"

#define MAX_FILES 256

static int is_history(const struct dirent *d)
{
    const char *dot = strrchr(d->d_name, '.');

    return dot != NULL && strcmp(dot, ".hist") == 0;
}

static int load_all(const char *dir, struct hist_file *files, size_t *n, char *err, size_t size)
{
    struct dirent **names = NULL;
    const int found = scandir(dir, &names, is_history, alphasort);
    int rc = 0;

    if (found < 0 || found > MAX_FILES) {
        (void)snprintf(err, size, "%s: %s", dir, found < 0 ? strerror(errno) : "too many files");
        rc = -1;
    }
    for (int i = 0; i < found; i++) {
        char path[4096];

        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
        if (rc == 0) {
            rc = hist_load(&files[*n], path, err, size);
            *n += rc == 0;
        }
        free(names[i]);
    }
    free(names);
    return rc;
}

static void print_report(const struct judge_report *r)
{
    printf("judge sent=%llu acked=%llu failed=%llu unknown=%llu delivered=%llu "
           "unknown_delivered=%llu kills=%llu restarts=%llu\n",
           (unsigned long long)r->sent, (unsigned long long)r->acked, (unsigned long long)r->failed,
           (unsigned long long)r->unknown, (unsigned long long)r->delivered,
           (unsigned long long)r->unknown_delivered, (unsigned long long)r->kills,
           (unsigned long long)r->restarts);
    printf("judge lost=%llu duplicated=%llu out_of_order=%llu corrupted=%llu phantom=%llu "
           "rewritten=%llu misplaced=%llu\n",
           (unsigned long long)r->findings[JUDGE_LOST],
           (unsigned long long)r->findings[JUDGE_DUPLICATED],
           (unsigned long long)r->findings[JUDGE_OUT_OF_ORDER],
           (unsigned long long)r->findings[JUDGE_CORRUPTED],
           (unsigned long long)r->findings[JUDGE_PHANTOM],
           (unsigned long long)r->findings[JUDGE_REWRITTEN],
           (unsigned long long)r->findings[JUDGE_MISPLACED]);
    printf("judge ack_p50_us=%u ack_p90_us=%u ack_p99_us=%u ack_p999_us=%u ack_max_us=%u\n",
           r->ack.p50_us, r->ack.p90_us, r->ack.p99_us, r->ack.p999_us, r->ack.max_us);
    for (int i = 0; i < JUDGE_FINDINGS; i++) {
        if (r->findings[i] != 0) {
            printf("%s: for example message %llu of producer %u\n",
                   judge_finding_name((enum judge_finding)i),
                   (unsigned long long)hist_counter(r->first_id[i]), hist_producer(r->first_id[i]));
        }
    }
}

static int usage(void)
{
    fputs("usage: weir-judge [--min-acked N] [--min-delivered N] [--min-kills N] DIR\n"
          "Judges the histories DIR/*.hist. Exit 0 clean, 1 promises broken, 2 cannot judge.\n",
          stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"min-acked", required_argument, NULL, 'a'},
        {"min-delivered", required_argument, NULL, 'd'},
        {"min-kills", required_argument, NULL, 'k'},
        {NULL, 0, NULL, 0},
    };
    struct hist_file *files = calloc(MAX_FILES, sizeof *files);
    struct judge_demand demand = {.min_acked = 1, .min_delivered = 1};
    struct judge_report report;
    char err[4352] = "";
    size_t n = 0;
    int rc = 2, opt;

    while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        const uint64_t value = optarg == NULL ? 0 : strtoull(optarg, NULL, 10);

        switch (opt) {
        case 'a':
            demand.min_acked = value;
            break;
        case 'd':
            demand.min_delivered = value;
            break;
        case 'k':
            demand.min_kills = value;
            break;
        default:
            rc = usage();
            goto out;
        }
    }
    if (optind + 1 != argc || files == NULL) {
        rc = usage();
        goto out;
    }
    if (load_all(argv[optind], files, &n, err, sizeof err) != 0 ||
        judge(files, n, &report, err, sizeof err) != 0) {
        printf("verdict: cannot judge: %s\n", err);
        goto out;
    }
    print_report(&report);
    if (judge_clean(&report) && judge_too_little(&report, &demand, err, sizeof err) != NULL) {
        printf("verdict: cannot judge: %s\n", err);
        goto out;
    }
    rc = judge_clean(&report) ? 0 : 1;
    printf("verdict: %s\n", rc == 0 ? "every promise kept" : "promises broken");
out:
    for (size_t i = 0; i < n; i++) {
        hist_unload(&files[i]);
    }
    free(files);
    return rc;
}
