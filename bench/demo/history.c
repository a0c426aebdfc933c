#include "bench/demo/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Happy path: create, add, finish; load maps the file. What can fail: the disk (sticky flag, the
 * end record is then missing and the judge refuses the file). A writer owns its FILE; a hist_file
 * owns its mapping.
 */

#define HIST_MAGIC UINT64_C(0x3154534948524957) /* "WIRHIST1" */
#define HIST_BUFFER_BYTES (1u << 20)

struct hist_header {
    uint64_t magic;
    uint32_t role, number;
    uint8_t reserved[16];
};
_Static_assert(sizeof(struct hist_header) == sizeof(struct hist_rec), "records stay aligned");

uint64_t hist_hash(const void *key, size_t key_size, const void *value, size_t value_size)
{
    const uint64_t prime = UINT64_C(0x100000001b3);
    const uint8_t *k = key, *v = value;
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < key_size; i++) {
        h = (h ^ k[i]) * prime;
    }
    h = (h ^ 0x1ff) * prime;
    for (size_t i = 0; i < value_size; i++) {
        h = (h ^ v[i]) * prime;
    }
    return h;
}

/* Order-sensitive and cheap: it guards against cut and mixed files, not against malice. */
static uint64_t rec_mix(uint64_t running, const struct hist_rec *r)
{
    uint64_t w[4];

    memcpy(w, r, sizeof w);
    for (size_t i = 0; i < 4; i++) {
        running = (running ^ w[i]) * UINT64_C(0x9e3779b97f4a7c15);
        running ^= running >> 29;
    }
    return running;
}

int hist_create(struct hist_writer *h, const char *path, enum hist_role role, uint32_t number)
{
    const struct hist_header head = {.magic = HIST_MAGIC, .role = role, .number = number};

    memset(h, 0, sizeof *h);
    h->file = fopen(path, "wxe");
    if (h->file == NULL) {
        return -1;
    }
    (void)setvbuf(h->file, NULL, _IOFBF, HIST_BUFFER_BYTES);
    h->failed = fwrite(&head, sizeof head, 1, h->file) != 1;
    return 0;
}

void hist_add(struct hist_writer *h, const struct hist_rec *r)
{
    h->failed |= fwrite(r, sizeof *r, 1, h->file) != 1;
    h->running = rec_mix(h->running, r);
    h->n++;
}

int hist_finish(struct hist_writer *h)
{
    if (h->file == NULL) {
        return 0;
    }
    const struct hist_rec end = {.kind = HIST_END, .id = h->n, .hash = h->running, .offset = -1};

    if (!h->failed) {
        h->failed = fwrite(&end, sizeof end, 1, h->file) != 1;
    }
    h->failed |= fclose(h->file) != 0;
    h->file = NULL;
    return h->failed ? -1 : 0;
}

/* Which records may stand in whose history. */
static bool kind_fits(uint32_t role, uint8_t kind)
{
    switch (role) {
    case HIST_PRODUCER:
        return kind == HIST_SENT || kind == HIST_RESULT;
    case HIST_CONSUMER:
        return kind == HIST_DELIVERED;
    case HIST_DIRECTOR:
        return kind == HIST_KILL || kind == HIST_RESTART;
    default:
        return false;
    }
}

static const char *check(struct hist_file *f)
{
    const struct hist_header *head = f->map;
    const struct hist_rec *end;
    uint64_t running = 0;

    if (f->map_bytes < 2 * sizeof *head || f->map_bytes % sizeof *head != 0 ||
        head->magic != HIST_MAGIC) {
        return "not a history, or cut short";
    }
    f->role = (enum hist_role)head->role;
    f->number = head->number;
    f->recs = (const struct hist_rec *)f->map + 1;
    f->n = f->map_bytes / sizeof *head - 2;
    end = f->recs + f->n;
    for (size_t i = 0; i < f->n; i++) {
        if (!kind_fits(head->role, f->recs[i].kind)) {
            return "holds a record that does not belong there";
        }
        running = rec_mix(running, &f->recs[i]);
    }
    if (end->kind != HIST_END || end->id != f->n || end->hash != running) {
        return "has no end record: its process did not finish";
    }
    return NULL;
}

int hist_load(struct hist_file *f, const char *path, char *err, size_t err_size)
{
    const char *why = NULL;
    struct stat st;
    int fd;

    memset(f, 0, sizeof *f);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        why = strerror(errno);
        goto out;
    }
    f->map_bytes = (size_t)st.st_size;
    if (f->map_bytes == 0) {
        why = "is empty";
        goto out;
    }
    f->map = mmap(NULL, f->map_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (f->map == MAP_FAILED) {
        f->map = NULL;
        why = strerror(errno);
        goto out;
    }
    why = check(f);
out:
    if (fd >= 0) {
        close(fd);
    }
    if (why != NULL) {
        (void)snprintf(err, err_size, "%s: %s", path, why);
        hist_unload(f);
        return -1;
    }
    return 0;
}

void hist_unload(struct hist_file *f)
{
    if (f->map != NULL) {
        munmap(f->map, f->map_bytes);
    }
    memset(f, 0, sizeof *f);
}
