/*
 * Happy path: the environment is read before main; each visit counts; at the one that was asked for
 * the process kills itself. What can fail: a name that is not in the list ends the process at once,
 * or a test would wait for a death that cannot come.
 *
 * Who owns what: the counters are the process's, so they are static; this file is in no package
 * (cmake -DWEIR_KILLPOINTS=ON).
 */
#include "proto/killpoint.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_BAD_NAME = 64 };

#define NAME_TEXT(name, when, text) #name,
static const char *const names[KILLPOINT_COUNT] = {WEIR_KILLPOINT_LIST(NAME_TEXT)};
#undef NAME_TEXT

static _Atomic unsigned long hits[KILLPOINT_COUNT];
static enum killpoint die_at = KILLPOINT_COUNT;
static unsigned long die_at_hit;

static void list_hits(void)
{
    for (int i = 0; i < KILLPOINT_COUNT; i++) {
        fprintf(stderr, "killpoint %s %lu\n", names[i], atomic_load(&hits[i]));
    }
}

__attribute__((constructor)) static void read_environment(void)
{
    const char *wish = getenv("WEIR_KILLPOINT");
    const size_t n = wish != NULL ? strcspn(wish, ":") : 0;

    if (wish == NULL || wish[0] == '\0') {
        return;
    }
    if (strcmp(wish, "list") == 0) {
        (void)atexit(list_hits);
        return;
    }
    for (int i = 0; i < KILLPOINT_COUNT; i++) {
        if (strlen(names[i]) == n && strncmp(names[i], wish, n) == 0) {
            die_at = (enum killpoint)i;
        }
    }
    die_at_hit = wish[n] == ':' ? strtoul(wish + n + 1, NULL, 10) : 1;
    if (die_at == KILLPOINT_COUNT || die_at_hit == 0) {
        fprintf(stderr, "WEIR_KILLPOINT=%s: want NAME:N or list\n", wish);
        _exit(EXIT_BAD_NAME);
    }
}

void killpoint_hit(enum killpoint at)
{
    const unsigned long n = atomic_fetch_add(&hits[at], 1) + 1;

    if (at == die_at && n == die_at_hit) {
        (void)kill(getpid(), SIGKILL);
        for (;;) {
            (void)pause(); /* it is delivered before this thread runs again */
        }
    }
}
