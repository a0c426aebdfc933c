/*
 * Happy path: hist_create, hist_add as often as something happens, hist_finish. The file grows by
 * windows of WINDOW events, of which one is mapped; what was written stays in the page cache when
 * the process is killed.
 * What can fail: no space. A writer then aborts rather than act unrecorded.
 * Who owns what: the writer its descriptor and mapping; a loaded file its mapping.
 */
#include "tests/faults/history/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { EVENT = sizeof(struct hist_event), WINDOW = 16384, CHECKED = 60 };

uint32_t hist_check(const struct hist_event *e)
{
    const unsigned char *b = (const unsigned char *)e;
    uint32_t h = 2166136261U;
    for (size_t i = 0; i < CHECKED; i++) {
        h = (h ^ b[i]) * 16777619U;
    }
    return h;
}

uint64_t hist_name(const char *name)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (; *name; name++) {
        h = (h ^ (unsigned char)*name) * UINT64_C(1099511628211);
    }
    return h;
}

int64_t hist_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---------------------------------------------------------------- writing */

/* Maps the window that begins at event n; allocates it, so that a full disk shows here. */
static int map_window(struct hist_writer *h)
{
    const size_t bytes = (size_t)WINDOW * EVENT;
    const off_t at = (off_t)(h->n * EVENT);
    if (h->map) {
        munmap(h->map, bytes);
        h->map = NULL;
    }
    const int rc = posix_fallocate(h->fd, at, (off_t)bytes);
    if (rc) {
        errno = rc;
        return -1;
    }
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, at);
    if (p == MAP_FAILED) {
        return -1;
    }
    h->map = p;
    h->at = 0;
    h->window = WINDOW;
    return 0;
}

int hist_create(struct hist_writer *h, const char *path, enum hist_role role, uint32_t number,
                uint64_t run)
{
    memset(h, 0, sizeof(*h));
    h->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (h->fd < 0) {
        return -1;
    }
    const struct hist_event e = {.kind = HIST_BEGIN,
                                 .partition = -1,
                                 .offset = -1,
                                 .producer = number,
                                 .op = run,
                                 .extra = (uint32_t)role};
    hist_add(h, &e);
    return 0;
}

int64_t hist_add(struct hist_writer *h, const struct hist_event *e)
{
    if (h->at == h->window && map_window(h)) {
        fprintf(stderr, "history: cannot grow after %llu events: %s\n", (unsigned long long)h->n,
                strerror(errno));
        abort();
    }
    struct hist_event w = *e;
    if (w.at_ns == 0) {
        w.at_ns = hist_now_ns();
    }
    w.check = hist_check(&w);
    h->map[h->at++] = w;
    h->n++;
    return w.at_ns;
}

int hist_finish(struct hist_writer *h)
{
    int rc = 0;
    if (h->fd > 0) {
        const struct hist_event e = {
            .kind = HIST_END, .partition = -1, .offset = -1, .counter = h->n};
        hist_add(h, &e);
        munmap(h->map, (size_t)WINDOW * EVENT);
        rc = ftruncate(h->fd, (off_t)(h->n * EVENT));
        rc = close(h->fd) ? -1 : rc;
    }
    memset(h, 0, sizeof(*h));
    return rc;
}

/* ---------------------------------------------------------------- reading */

/* Finds the end of the events: HIST_NONE, or the end of the file. A last one that is damaged is
 * not one. @return -1: damage in the middle. */
static int64_t count_events(const struct hist_event *e, size_t slots)
{
    size_t n = 0;
    while (n < slots && e[n].kind != HIST_NONE && e[n].check == hist_check(&e[n])) {
        n++;
    }
    for (size_t i = n + 1; i < slots; i++) {
        if (e[i].kind != HIST_NONE) {
            return -1;
        }
    }
    return (int64_t)n;
}

int hist_load(struct hist_file *f, const char *path, char *err, size_t err_size)
{
    int rc = -1;
    struct stat st;
    const struct hist_event *e = NULL;
    int64_t n = 0;
    memset(f, 0, sizeof(*f));
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        snprintf(err, err_size, "%s: %s", path, strerror(errno));
        goto out;
    }
    if (st.st_size < EVENT) {
        snprintf(err, err_size, "%s: no events", path);
        goto out;
    }
    f->map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (f->map == MAP_FAILED) {
        f->map = NULL;
        snprintf(err, err_size, "%s: %s", path, strerror(errno));
        goto out;
    }
    f->map_bytes = (size_t)st.st_size;
    e = f->map;
    n = count_events(e, f->map_bytes / EVENT);
    if (n < 1 || e[0].kind != HIST_BEGIN) {
        snprintf(err, err_size, "%s: %s", path, n < 0 ? "damaged in the middle" : "no beginning");
        goto out;
    }
    f->role = (enum hist_role)e[0].extra;
    f->number = e[0].producer;
    f->run = e[0].op;
    f->events = e + 1;
    f->n = (size_t)n - 1;
    if (f->n && e[n - 1].kind == HIST_END) {
        f->n--;
        f->ended = e[n - 1].counter == (uint64_t)n - 1;
        if (!f->ended) {
            snprintf(err, err_size, "%s: %lld events, its end says %llu", path, (long long)n - 1,
                     (unsigned long long)e[n - 1].counter);
            goto out;
        }
    }
    rc = 0;
out:
    if (fd >= 0) {
        close(fd);
    }
    if (rc) {
        hist_unload(f);
    }
    return rc;
}

void hist_unload(struct hist_file *f)
{
    if (f->map) {
        munmap(f->map, f->map_bytes);
    }
    memset(f, 0, sizeof(*f));
}
