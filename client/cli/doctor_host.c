/* weir doctor: limits, clock and memory of the host, from /proc and the kernel. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timex.h>

#include "client/cli/clock.h"
#include "client/cli/doctor.h"

enum {
    FILES_GOOD = 16384, /* 10,000 connections, and a quarter for the store */
    FILES_LEAST = 1024,
    LINE = 512,
    MIB = 1 << 20,
    MEMORY_GOOD_MIB = 768, /* what the default budgets add up to, and room for the rest */
    YEAR_2025_S = 1735689600,
};

/* The second number of a line that begins with `name`; 0 = none. */
static uint64_t number_in(const char *path, const char *name, uint64_t other)
{
    char line[LINE];
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        size_t n = strlen(name);
        if (strncmp(line, name, n) == 0) {
            char *end;
            uint64_t v = strtoull(line + n, &end, 10);
            other = end != line + n ? v : UINT64_MAX; /* "unlimited", "max" */
            break;
        }
    }
    if (f) {
        fclose(f);
    }
    return other;
}

static void check_files(struct report *r, long pid)
{
    static const char change[] = "set LimitNOFILE=65536 in the unit (systemctl edit weir-server), "
                                 "or 'ulimit -n 65536' where it is started";
    struct rlimit limit = {0};
    char path[64];
    uint64_t most;
    if (pid > 0) {
        snprintf(path, sizeof path, "/proc/%ld/limits", pid);
        most = number_in(path, "Max open files", 0);
    } else {
        most = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (uint64_t)limit.rlim_cur : 0;
    }
    report_add(r,
               most < FILES_LEAST  ? FINDING_BAD
               : most < FILES_GOOD ? FINDING_WARN
                                   : FINDING_OK,
               "open_files", change,
               "%" PRIu64 " descriptors (%s); about three quarters of them can be connections",
               most, pid > 0 ? "of the running server" : "of this shell, not of the service");
}

static void check_clock(struct report *r)
{
    struct timex t = {.modes = 0};
    char source[64] = "";
    if (cli_wall_ms() / 1000 < YEAR_2025_S) {
        report_add(r, FINDING_BAD, "clock", "set the clock: retention and delays go by it",
                   "the clock shows a time before 2025");
    }
    if (adjtimex(&t) < 0) {
        report_add(r, FINDING_WARN, "clock_sync", "look whether chrony or systemd-timesyncd runs",
                   "the kernel does not say whether the clock is synchronized");
    } else if (t.status & STA_UNSYNC) {
        report_add(r, FINDING_WARN, "clock_sync",
                   "run chrony or systemd-timesyncd (timedatectl set-ntp true)",
                   "the clock is not synchronized");
    } else {
        report_add(r, FINDING_OK, "clock_sync", NULL, "synchronized, off by %ld ms at most",
                   t.maxerror / 1000);
    }
    FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    if (f && fgets(source, sizeof source, f)) {
        source[strcspn(source, "\n")] = 0;
        bool slow = strcmp(source, "hpet") == 0 || strcmp(source, "acpi_pm") == 0 ||
                    strcmp(source, "jiffies") == 0;
        report_add(r, slow ? FINDING_WARN : FINDING_OK, "clock_source",
                   "choose another one: reading the clock is slow with this (kernel parameter "
                   "clocksource=tsc)",
                   "%s", source);
    }
    if (f) {
        fclose(f);
    }
}

static void check_memory(struct report *r)
{
    uint64_t kib = number_in("/proc/meminfo", "MemAvailable:", 0);
    uint64_t group = number_in("/sys/fs/cgroup/memory.max", "", UINT64_MAX);
    uint64_t mib = kib / 1024;
    if (group != UINT64_MAX && group / MIB < mib) {
        mib = group / MIB;
    }
    report_add(r, mib < MEMORY_GOOD_MIB ? FINDING_WARN : FINDING_OK, "memory",
               "give it more, or set memory, tail_cache and connection_memory lower",
               "%" PRIu64 " MiB available", mib);
}

void doctor_host(struct report *r, long server_pid)
{
    check_files(r, server_pid);
    check_clock(r);
    check_memory(r);
}
