#include "bench/demo/report.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/demo/plot.h"
#include "bench/demo/proc.h"

/* key=value words of the judge into the verdict. */
static void take_words(struct verdict *v, char *line)
{
    const struct {
        const char *key;
        uint64_t *to;
    } rows[] = {
        {"acked", &v->acked},
        {"failed", &v->failed},
        {"unknown", &v->unknown},
        {"delivered", &v->delivered},
        {"unknown_delivered", &v->unknown_delivered},
        {"kills", &v->kills},
        {"lost", &v->lost},
        {"duplicated", &v->duplicated},
        {"out_of_order", &v->out_of_order},
        {"corrupted", &v->corrupted},
        {"phantom", &v->phantom},
        {"rewritten", &v->rewritten},
        {"misplaced", &v->misplaced},
        {"ack_p50_us", &v->p50_us},
        {"ack_p90_us", &v->p90_us},
        {"ack_p99_us", &v->p99_us},
        {"ack_p999_us", &v->p999_us},
        {"ack_max_us", &v->max_us},
    };
    char *save = NULL;

    for (char *word = strtok_r(line, " \n", &save); word != NULL;
         word = strtok_r(NULL, " \n", &save)) {
        char *eq = strchr(word, '=');

        for (size_t i = 0; eq != NULL && i < sizeof rows / sizeof rows[0]; i++) {
            if (strncmp(word, rows[i].key, (size_t)(eq - word)) == 0 &&
                rows[i].key[eq - word] == '\0') {
                *rows[i].to = strtoull(eq + 1, NULL, 10);
            }
        }
    }
}

void report_judge(struct verdict *v, const struct options *o, const char *work_dir)
{
    char binary[DEMO_PATH_BYTES + 32], dir[DEMO_PATH_BYTES + 32], acked[32], kills[32];
    char line[1024];
    struct text remarks = {.buf = v->remarks, .size = sizeof v->remarks};
    int fds[2];
    pid_t pid;
    FILE *f;

    memset(v, 0, sizeof *v);
    v->exit_code = 2;
    (void)snprintf(binary, sizeof binary, "%s/weir-judge", o->bin_dir);
    (void)snprintf(dir, sizeof dir, "%s/hist", work_dir);
    /* All but what may rightly have stayed without an answer. */
    (void)snprintf(acked, sizeof acked, "%llu", (unsigned long long)(o->messages / 10 * 9));
    (void)snprintf(kills, sizeof kills, "%u", o->kills);
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return;
    }
    pid = proc_start(
        (const char *const[]){binary, "--min-acked", acked, "--min-kills", kills, dir, NULL},
        &(struct proc_setup){.out_fd = fds[1], .keep_fd = -1});
    close(fds[1]);
    f = fdopen(fds[0], "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "judge ", 6) == 0) {
            take_words(v, line);
        } else {
            text_add(&remarks, "%s", line);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    v->exit_code = pid < 0 ? 2 : proc_wait(pid);
    v->exit_code = v->exit_code > 2 ? 2 : v->exit_code;
}

static void row(const char *label, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void row(const char *label, const char *fmt, ...)
{
    va_list ap;

    printf("  %-12s ", label);
    va_start(ap, fmt);
    (void)vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

/* Mean of the out-rate while there was a backlog and the server was up: how steady it was. */
static double steady_out(const struct series *s)
{
    double sum = 0;
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++) {
        if (s->values[M_BACKLOG][i] > 0 && s->values[M_OUT][i] > 0) {
            sum += s->values[M_OUT][i];
            n++;
        }
    }
    return n == 0 ? 0 : sum / (double)n;
}

static void print_restarts(const struct options *o, const struct director_facts *f)
{
    for (uint32_t i = 0; i < f->kills; i++) {
        char ready[16], ack[16];

        row(i == 0 ? "restart" : "", "%s, ready %s after its start, first answer after %s",
            o->power_loss ? "power cut" : "kill -9", short_time(ready, f->ready_s[i]),
            f->first_ack_s[i] > 0 ? short_time(ack, f->first_ack_s[i]) : "(none)");
    }
}

void report_print(const struct verdict *v, const struct options *o, const struct series *s,
                  const struct director_facts *f)
{
    char a[32], b[32], c[32], d[32], e[32];

    printf("\n");
    row("messages", "%s acknowledged, %s refused, %s without an answer (%s of them arrived)",
        long_number(a, v->acked), long_number(b, v->failed), long_number(c, v->unknown),
        long_number(d, v->unknown_delivered));
    row("in", "%s/s at peak, %u bursts over %s", short_number(a, s->peak[M_IN]), o->bursts,
        short_time(b, f->produce_s));
    row("out", "%s/s on average, %s/s at peak, done after %s", short_number(a, steady_out(s)),
        short_number(b, s->peak[M_OUT]), short_time(c, f->total_s));
    row("backlog", "%s messages at peak", long_number(a, (uint64_t)s->peak[M_BACKLOG]));
    row("lag", "%s at most", short_time(a, s->peak[M_LAG]));
    row("ack latency", "p50 %s, p90 %s, p99 %s, p99.9 %s, max %s (with the time it was down)",
        short_time(a, (double)v->p50_us / 1e6), short_time(b, (double)v->p90_us / 1e6),
        short_time(c, (double)v->p99_us / 1e6), short_time(d, (double)v->p999_us / 1e6),
        short_time(e, (double)v->max_us / 1e6));
    print_restarts(o, f);
    row("disk", "%s at the end, %s at peak", short_bytes(a, series_now(s, M_DISK, 1)),
        short_bytes(b, s->peak[M_DISK]));
    row("memory", "%s of the server at peak", short_bytes(a, s->peak[M_MEMORY]));
    if (v->corrupted + v->phantom + v->rewritten + v->misplaced > 0) {
        row("also", "%llu corrupted, %llu phantom, %llu rewritten, %llu misplaced",
            (unsigned long long)v->corrupted, (unsigned long long)v->phantom,
            (unsigned long long)v->rewritten, (unsigned long long)v->misplaced);
    }
    printf("\n%s\n", v->remarks);
    printf("demo: produced %llu, delivered %llu, lost %llu, duplicated %llu, out of order %llu\n",
           (unsigned long long)v->acked, (unsigned long long)v->delivered,
           (unsigned long long)v->lost, (unsigned long long)v->duplicated,
           (unsigned long long)v->out_of_order);
    (void)fflush(stdout);
}
