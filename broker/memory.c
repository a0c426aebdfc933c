#include "broker/memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/server.h"
#include "broker/session.h"
#include "broker/sub_impl.h"
#include "proto/limits.h"

enum {
    MACHINE_PERCENT = 60,
    CLASS_SHARE = 4, /* a class may have one part in so many */
    AHEAD_SHARE = 8,
    LEAST = 64 << 20,
    /* Measured: what one takes, with what the allocator and its tables add. */
    CONNECTION_BYTES = 1 << 10,
    REQUEST_BYTES = 4 << 10,
    READ_PART_BYTES = 200,
    PART_LEAST_BYTES = 5, /* of a request, per partition that it names */
    REQUESTS_LEAST = 64 << 10,
    READS_LEAST = 4, /* twice the store's threads */
    READS_SCARCE = 2,
    GIVE_BACK_LEAST = 32 << 20,
};
static const int64_t GIVE_BACK_EVERY_NS = 10 * (int64_t)1000000000;

static uint64_t least_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---------------------------------------------------------------- how much there is */

/* The first n - 1 bytes of a file. False: it cannot be read. */
static bool read_file(const char *path, char *out, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, out, n - 1) : -1;

    if (fd >= 0) {
        close(fd);
    }
    out[got > 0 ? got : 0] = '\0';
    return got > 0;
}

/* The limit in a file of the control group; UINT64_MAX: none. */
static uint64_t limit_in(const char *path)
{
    char text[64];
    uint64_t v = read_file(path, text, sizeof text) ? strtoull(text, NULL, 10) : 0;

    return v > 0 ? v : UINT64_MAX; /* "max" is no number */
}

static uint64_t group_limit(void)
{
    char text[4096], path[4200];
    uint64_t v = least_of(limit_in("/sys/fs/cgroup/memory.max"),
                          limit_in("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    const char *line = read_file("/proc/self/cgroup", text, sizeof text) ? text : "";

    while (line != NULL && strncmp(line, "0::", 3) != 0) { /* the line of version 2 */
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    if (line != NULL) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%.*s/memory.max", (int)strcspn(line + 3, "\n"),
                 line + 3);
        v = least_of(v, limit_in(path));
    }
    return v;
}

uint64_t memory_machine_bytes(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    const uint64_t all = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;

    return least_of(all > 0 ? all : UINT64_MAX, group_limit());
}

uint64_t memory_budget_of(uint64_t machine_bytes, const struct config *conf)
{
    const uint64_t share = machine_bytes / 100 * MACHINE_PERCENT;
    const uint64_t caches = conf->memory + conf->tail_cache;

    return share > caches + LEAST ? share - caches : LEAST;
}

void memory_init(struct memory *m, const struct config *conf)
{
    m->budget = conf->connection_memory;
    if (m->budget == 0) {
        m->budget = memory_budget_of(memory_machine_bytes(), conf);
    }
    m->requests = m->budget / CLASS_SHARE;
    m->read_ahead = m->budget / AHEAD_SHARE;
    m->input = least_of(conf->input, m->budget / CLASS_SHARE);
    m->output = least_of(conf->output, m->budget / CLASS_SHARE);
}

/* ---------------------------------------------------------------- how much is used */

const char *memory_class_name(enum memory_class c)
{
    static const char *const names[MEMORY_CLASSES] = {
        "connections", "input", "large_input", "output", "requests", "read_ahead", "produce"};

    return names[c];
}

uint64_t memory_used(const struct server *srv, enum memory_class c)
{
    switch (c) {
    case MEMORY_CONNECTIONS:
        return (uint64_t)srv->n_conns * CONNECTION_BYTES;
    case MEMORY_INPUT:
        return srv->in_bytes;
    case MEMORY_LARGE_INPUT:
        return srv->big_bytes;
    case MEMORY_OUTPUT:
        return srv->out_bytes + core_held_bytes(srv->core);
    case MEMORY_REQUESTS:
        return srv->n_requests * REQUEST_BYTES + core_read_parts(srv->core) * READ_PART_BYTES +
               srv->offsets_bytes;
    case MEMORY_READ_AHEAD:
        return core_ahead_bytes(srv->core);
    case MEMORY_PRODUCE:
        return core_inflight_bytes(srv->core);
    case MEMORY_CLASSES:
        break;
    }
    return 0;
}

uint64_t memory_in_use(const struct server *srv)
{
    uint64_t sum = 0;

    for (int c = 0; c < MEMORY_CLASSES; c++) {
        sum += memory_used(srv, (enum memory_class)c);
    }
    return sum;
}

bool memory_is_tight(const struct server *srv)
{
    return memory_in_use(srv) > srv->memory.budget / 100 * MEMORY_TIGHT_PERCENT;
}

bool memory_takes_produce(const struct server *srv)
{
    return core_inflight_bytes(srv->core) < MEMORY_PRODUCE_LEAST || !memory_is_tight(srv);
}

bool memory_is_out(const struct server *srv)
{
    return memory_in_use(srv) > srv->memory.budget / 100 * MEMORY_OUT_PERCENT;
}

unsigned memory_reads(const struct server *srv)
{
    const uint64_t whole = srv->memory.output / LIMIT_FRAME;

    if (memory_used(srv, MEMORY_OUTPUT) <= srv->memory.output) {
        return whole < READS_LEAST ? READS_LEAST : (unsigned)least_of(whole, CORE_READS);
    }
    return memory_is_out(srv) ? 0 : READS_SCARCE;
}

/* What it has of that class, with a request of `body` bytes more. */
static uint64_t requests_of(const struct conn *c, size_t body)
{
    uint64_t parts = body / PART_LEAST_BYTES + fetches_parts(c);
    const struct sub *s;

    LIST_FOREACH (s, &c->subs, of_conn) {
        parts += core_reader_parts(s->rd);
    }
    return (c->inflight + UINT64_C(1)) * REQUEST_BYTES + parts * READ_PART_BYTES;
}

bool memory_refuses_request(const struct conn *c, size_t body)
{
    const struct server *srv = c->srv;
    const uint64_t share = srv->memory.requests / (srv->n_conns + 1U);
    const uint64_t used = memory_used(srv, MEMORY_REQUESTS);

    if (used < srv->memory.requests) {
        return false;
    }
    return memory_is_out(srv) || used >= srv->memory.requests / 2 * 3 ||
           requests_of(c, body) > (share > REQUESTS_LEAST ? share : REQUESTS_LEAST);
}

enum memory_state memory_state(const struct server *srv)
{
    if (memory_is_out(srv)) {
        return MEMORY_OUT;
    }
    if (memory_is_tight(srv)) {
        return MEMORY_TIGHT;
    }
    return memory_used(srv, MEMORY_OUTPUT) > srv->memory.output ? MEMORY_OUTPUT_USED : MEMORY_FREE;
}

const char *memory_state_name(enum memory_state s)
{
    static const char *const names[] = {"free", "output_used_up", "tight", "out"};

    return names[s];
}

/* What lies below anything small that lives on would stay with the process for good. */
bool memory_give_back(struct server *srv, int64_t now_mono_ns)
{
    struct memory *m = &srv->memory;
    const uint64_t used = memory_in_use(srv);

    if (used >= m->peak) {
        m->peak = used;
        return false;
    }
    if (m->peak - used < GIVE_BACK_LEAST || used > m->peak / 2 ||
        now_mono_ns - m->gave_back_mono_ns < GIVE_BACK_EVERY_NS) {
        return false;
    }
    (void)malloc_trim(0);
    m->peak = used;
    m->gave_back_mono_ns = now_mono_ns;
    return true;
}
