#include "broker/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/clock.h"

enum { LINE_BYTES = 1024, PER_SECOND = 10 };

static const char *const level_names[] = {"error", "warn", "info", "debug"};

enum log_level log_level_of(const char *name)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            return (enum log_level)i;
        }
    }
    return LOG_INFO;
}

static void timestamp(char *out, size_t n)
{
    int64_t ms = clock_wall_ms();
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    char date[32];

    gmtime_r(&s, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, n, "%s.%03dZ", date, (int)(ms % 1000));
}

/* "k=v k2="a b"" -> ,"k":"v","k2":"a b" */
static void put_json_pairs(char *out, size_t n, const char *kv)
{
    size_t at = 0;
    bool quoted = false, in_value = false;

    for (const char *p = kv; *p != '\0' && at + 8 < n; p++) {
        if (!in_value && *p == ' ') {
            continue;
        }
        if (!in_value) { /* a key begins */
            at += (size_t)snprintf(out + at, n - at, ",\"");
            while (*p != '\0' && *p != '=' && at + 8 < n) {
                out[at++] = *p++;
            }
            at += (size_t)snprintf(out + at, n - at, "\":\"");
            quoted = p[0] == '=' && p[1] == '"';
            p += quoted;
            in_value = true;
            if (*p == '\0') {
                break;
            }
        } else if ((quoted && *p == '"') || (!quoted && *p == ' ')) {
            out[at++] = '"';
            in_value = false;
        } else {
            if (*p == '"' || *p == '\\') {
                out[at++] = '\\';
            }
            out[at++] = (unsigned char)*p < 0x20 ? ' ' : *p;
        }
    }
    if (in_value) {
        out[at++] = '"';
    }
    out[at] = '\0';
}

const char *log_text(char out[LOG_TEXT], const void *text, size_t n)
{
    const unsigned char *p = text;
    size_t i = 0;

    for (; i < n && i < LOG_TEXT - 1; i++) {
        out[i] = p[i] == '"' || p[i] == '\\' ? '\'' : p[i] < 0x20 || p[i] > 0x7e ? '?' : (char)p[i];
    }
    out[i] = '\0';
    return out;
}

/* Lines are shorter than PIPE_BUF: a pipe that polls writable takes one whole. */
static bool put(int fd, const char *line, size_t n)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0 && write(fd, line, n) == (ssize_t)n;
}

void log_line(struct log *l, enum log_level level, const char *module, const char *event,
              const char *fmt, ...)
{
    char kv[LINE_BYTES], pairs[LINE_BYTES + 256], line[2 * LINE_BYTES + 256], ts[48];
    va_list ap;
    int n;

    if (level > l->level) {
        return;
    }
    va_start(ap, fmt);
    n = vsnprintf(kv, sizeof kv, fmt, ap);
    va_end(ap);
    if (l->dropped > 0 && n >= 0 && (size_t)n < sizeof kv) {
        snprintf(kv + n, sizeof kv - (size_t)n, "%sdropped=%u", n > 0 ? " " : "", l->dropped);
    }
    for (char *p = kv; *p != '\0'; p++) {
        *p = (unsigned char)*p < 0x20 ? ' ' : *p; /* one event, one line */
    }
    timestamp(ts, sizeof ts);
    if (l->json) {
        put_json_pairs(pairs, sizeof pairs, kv);
        n = snprintf(line, sizeof line,
                     "{\"ts\":\"%s\",\"level\":\"%s\",\"module\":\"%s\",\"event\":\"%s\"%s}\n", ts,
                     level_names[level], module, event, pairs);
    } else {
        n = snprintf(line, sizeof line, "%s %s %s %s%s%s\n", ts, level_names[level], module, event,
                     kv[0] != '\0' ? " " : "", kv);
    }
    if (n > 0 && put(l->fd, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1)) {
        l->dropped = 0;
    } else {
        l->dropped++; /* a full or closed log must not stop the broker */
    }
}

bool log_allowed(struct log_limit *limit, int64_t mono_ns, unsigned *swallowed)
{
    int64_t second = mono_ns / 1000000000;

    *swallowed = 0;
    if (second != limit->second) {
        *swallowed = limit->swallowed;
        *limit = (struct log_limit){.second = second};
    }
    if (limit->n >= PER_SECOND) {
        limit->swallowed++;
        return false;
    }
    limit->n++;
    return true;
}
