/*
 * powerloss-apply: makes the directory of a killed process look as after a power cut, from the log
 * that the preloaded shim (powerloss.c) kept.
 *
 *   powerloss-apply --dir DIR --state STATE [--data VARIANT] [--names VARIANT] [--seed N]
 *
 * --data   what becomes of bytes that were not synced:
 *          truncate  gone (default)
 *          prefix    a random part of the front of each tail is kept
 *          garble    the length is kept, random 512-byte sectors are zero or noise
 *          zero      the length is kept, all zero (size written, data not)
 *          Overwrites in place that were not synced: undone by truncate and zero, each at random by
 *          prefix and garble.
 * --names  what becomes of creates, renames and unlinks whose directory was not synced:
 *          keep      all stay (default)
 *          undo      renames and unlinks are undone; a new file goes unless it was synced itself
 *                    (on ext4, xfs and btrfs that carries its name along)
 *          strict    as undo, and new files go even when synced (the letter of POSIX)
 *          random    a random number of the latest are undone
 *
 * Happy path: read the log, undo names newest first, undo overwrites newest first, cut the tails.
 * What can fail: everything ends the program with exit 2. STATE/log is renamed to log.applied, so
 * that it cannot be applied twice.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR_BYTES 512

enum data_variant { DATA_TRUNCATE, DATA_PREFIX, DATA_GARBLE, DATA_ZERO };
enum names_variant { NAMES_KEEP, NAMES_UNDO, NAMES_STRICT, NAMES_RANDOM };

/* One file by inode. */
struct file_state {
    uintmax_t ino;
    uintmax_t synced_seq;
    intmax_t durable;
    bool base, ever_synced;
};

struct overwrite {
    uintmax_t seq, ino;
    intmax_t offset, len, pos;
};

struct name_change {
    char kind; /* C, R, U */
    bool saved, durable;
    uintmax_t seq, dir, ino;
    char *path; /* given to free; R: "from|to" */
};

struct plan {
    const char *dir, *state;
    enum data_variant data;
    enum names_variant names;
    uint64_t rng;
    struct file_state *files;
    size_t n_files;
    struct overwrite *overwrites;
    size_t n_overwrites;
    struct name_change *changes;
    size_t n_changes;
    /* what was done */
    unsigned cut_files, undone_overwrites, undone_names;
    uintmax_t cut_bytes;
};

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "powerloss-apply: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void *grow(void *p, size_t n, size_t size)
{
    /* Doubles at powers of two. */
    if ((n & (n - 1)) == 0) {
        p = realloc(p, (n == 0 ? 1 : n * 2) * size);
        if (p == NULL) {
            die("memory");
        }
    }
    return p;
}

static uint64_t next_random(struct plan *p)
{
    p->rng ^= p->rng << 13;
    p->rng ^= p->rng >> 7;
    p->rng ^= p->rng << 17;
    return p->rng;
}

static struct file_state *file_of(struct plan *p, uintmax_t ino)
{
    for (size_t i = p->n_files; i-- > 0;) {
        if (p->files[i].ino == ino) {
            return &p->files[i];
        }
    }
    return NULL;
}

/* A new file takes the number: what was known of an older one with it is void. */
static struct file_state *file_add(struct plan *p, uintmax_t ino)
{
    struct file_state *f = file_of(p, ino);

    if (f == NULL) {
        p->files = grow(p->files, p->n_files, sizeof *p->files);
        f = &p->files[p->n_files++];
    }
    *f = (struct file_state){.ino = ino};
    return f;
}

/* ---- the log */

static void read_name_change(struct plan *p, const char *line)
{
    struct name_change c = {.kind = line[0]};
    int at = 0, saved = 1, n = 0;

    if (c.kind == 'R') {
        n = sscanf(line, "R %ju %ju %ju %d %n", &c.seq, &c.dir, &c.ino, &saved, &at) - 1;
    } else {
        n = sscanf(line + 1, "%ju %ju %ju %n", &c.seq, &c.dir, &c.ino, &at);
        at++;
    }
    if (n != 3 || at <= 1) {
        die("bad line in the log");
    }
    c.saved = saved != 0;
    c.path = strdup(line + at);
    p->changes = grow(p->changes, p->n_changes, sizeof *p->changes);
    p->changes[p->n_changes++] = c;
    if (c.kind == 'C') {
        file_add(p, c.ino);
    }
}

static void read_line(struct plan *p, const char *line)
{
    uintmax_t seq = 0, ino = 0;
    intmax_t size = 0;
    struct overwrite o;
    struct file_state *f;

    if (line[0] == 'C' || line[0] == 'R' || line[0] == 'U') {
        read_name_change(p, line);
    } else if (sscanf(line, "B %ju %jd", &ino, &size) == 2) {
        f = file_add(p, ino);
        f->durable = size;
        f->base = f->ever_synced = true;
    } else if (sscanf(line, "S %ju %ju %jd", &seq, &ino, &size) == 3) {
        f = file_of(p, ino);
        if (f != NULL && seq >= f->synced_seq) {
            f->durable = size;
            f->synced_seq = seq;
            f->ever_synced = true;
        }
    } else if (sscanf(line, "P %ju %ju %jd", &seq, &ino, &size) == 3) {
        f = file_of(p, ino);
        if (f != NULL && size > f->durable) {
            f->durable = size;
        }
    } else if (sscanf(line, "O %ju %ju %jd %jd %jd", &o.seq, &o.ino, &o.offset, &o.len, &o.pos) ==
               5) {
        p->overwrites = grow(p->overwrites, p->n_overwrites, sizeof *p->overwrites);
        p->overwrites[p->n_overwrites++] = o;
    } else if (sscanf(line, "D %ju %ju", &seq, &ino) == 2) {
        for (size_t i = 0; i < p->n_changes; i++) {
            p->changes[i].durable |= p->changes[i].dir == ino && p->changes[i].seq < seq;
        }
    } else {
        die("bad line in the log");
    }
}

static void read_log(struct plan *p)
{
    char path[PATH_MAX], *line = NULL;
    size_t size = 0;
    ssize_t n;
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/log", p->state);
    f = fopen(path, "re");
    if (f == NULL) {
        die(path);
    }
    while ((n = getline(&line, &size, f)) > 0) {
        if (line[n - 1] != '\n') {
            break; /* killed while writing it: what it tells has not been answered yet */
        }
        line[n - 1] = '\0';
        read_line(p, line);
    }
    free(line);
    (void)fclose(f);
}

/* ---- names */

static void undo_change(struct plan *p, struct name_change *c)
{
    char saved[PATH_MAX], *to;
    const struct file_state *f = file_of(p, c->ino);
    struct stat st;

    (void)snprintf(saved, sizeof saved, "%s/saved.%ju", p->state, c->seq);
    if (c->kind == 'C') {
        if (f != NULL && f->ever_synced && p->names != NAMES_STRICT) {
            return;
        }
        if (lstat(c->path, &st) != 0 || st.st_ino != c->ino || remove(c->path) != 0) {
            return; /* gone since, or a directory that is not empty */
        }
    } else if (c->kind == 'U') {
        if (link(saved, c->path) != 0) {
            return; /* the name was taken again */
        }
    } else {
        to = strchr(c->path, '|');
        *to++ = '\0';
        if (lstat(to, &st) != 0 || st.st_ino != c->ino || rename(to, c->path) != 0) {
            return;
        }
        if (c->saved && link(saved, to) != 0) {
            die("cannot bring back a replaced file");
        }
    }
    p->undone_names++;
}

static void undo_names(struct plan *p)
{
    size_t open_changes = 0, todo;

    for (size_t i = 0; i < p->n_changes; i++) {
        open_changes += !p->changes[i].durable;
    }
    todo = p->names == NAMES_KEEP     ? 0
           : p->names == NAMES_RANDOM ? next_random(p) % (open_changes + 1)
                                      : open_changes;
    for (size_t i = p->n_changes; i-- > 0 && todo > 0;) {
        if (!p->changes[i].durable) {
            undo_change(p, &p->changes[i]);
            todo--;
        }
    }
}

/* ---- bytes */

static void write_at(int fd, const void *buf, size_t n, off_t offset)
{
    if (pwrite(fd, buf, n, offset) != (ssize_t)n) {
        die("write");
    }
}

static void undo_overwrites(struct plan *p, int fd, const struct file_state *f)
{
    char path[PATH_MAX], *buf;
    int undo;

    (void)snprintf(path, sizeof path, "%s/undo", p->state);
    undo = open(path, O_RDONLY | O_CLOEXEC);
    for (size_t i = p->n_overwrites; i-- > 0;) {
        const struct overwrite *o = &p->overwrites[i];
        const bool random = p->data == DATA_PREFIX || p->data == DATA_GARBLE;

        if (o->ino != f->ino || o->seq < f->synced_seq || (random && next_random(p) % 2 == 0)) {
            continue;
        }
        buf = malloc((size_t)o->len);
        if (buf == NULL || pread(undo, buf, (size_t)o->len, o->pos) != o->len) {
            die(path);
        }
        write_at(fd, buf, (size_t)o->len, o->offset);
        free(buf);
        p->undone_overwrites++;
    }
    close(undo);
}

static void garble(struct plan *p, int fd, off_t from, off_t end)
{
    uint8_t sector[SECTOR_BYTES];

    for (off_t at = from; at < end;) {
        off_t stop = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        const unsigned choice = p->data == DATA_ZERO ? 0 : (unsigned)(next_random(p) % 3);

        stop = stop < end ? stop : end;
        for (size_t i = 0; i < sizeof sector; i++) {
            sector[i] = choice == 0 ? 0 : (uint8_t)next_random(p);
        }
        if (choice != 2) { /* 2: this sector made it to the disk */
            write_at(fd, sector, (size_t)(stop - at), at);
        }
        at = stop;
    }
}

static void cut_file(struct plan *p, const char *path, const struct file_state *f)
{
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat st;
    off_t keep;

    if (fd < 0) {
        die(path);
    }
    undo_overwrites(p, fd, f);
    if (fstat(fd, &st) != 0) {
        die(path);
    }
    if (st.st_size > f->durable) {
        p->cut_files++;
        p->cut_bytes += (uintmax_t)(st.st_size - f->durable);
        keep = p->data == DATA_PREFIX
                   ? f->durable + (off_t)(next_random(p) % (uint64_t)(st.st_size - f->durable))
                   : f->durable;
        if (p->data == DATA_GARBLE || p->data == DATA_ZERO) {
            garble(p, fd, f->durable, st.st_size);
        } else if (ftruncate(fd, keep) != 0) {
            die(path);
        }
    }
    close(fd);
}

/* nftw takes no argument for its function; the plan of this one-shot program is reached by this. */
static struct plan *walking;

static int cut_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    const struct file_state unknown = {.ino = st->st_ino}, *f;

    (void)ftw;
    if (type == FTW_F && S_ISREG(st->st_mode)) {
        f = file_of(walking, st->st_ino);
        cut_file(walking, path, f == NULL ? &unknown : f); /* never seen = never synced */
    }
    return 0;
}

static int pick(const char *arg, const char *const *names)
{
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(arg, names[i]) == 0) {
            return i;
        }
    }
    errno = EINVAL;
    die(arg);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},  {"state", required_argument, NULL, 's'},
        {"data", required_argument, NULL, 'v'}, {"names", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 'r'}, {NULL, 0, NULL, 0},
    };
    static const char *const data[] = {"truncate", "prefix", "garble", "zero", NULL};
    static const char *const names[] = {"keep", "undo", "strict", "random", NULL};
    struct plan p = {.rng = 1};
    char from[PATH_MAX], to[PATH_MAX];
    int opt;

    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        p.dir = opt == 'd' ? optarg : p.dir;
        p.state = opt == 's' ? optarg : p.state;
        p.data = opt == 'v' ? (enum data_variant)pick(optarg, data) : p.data;
        p.names = opt == 'n' ? (enum names_variant)pick(optarg, names) : p.names;
        p.rng = opt == 'r' ? strtoull(optarg, NULL, 10) * UINT64_C(0x9e3779b97f4a7c15) | 1 : p.rng;
        if (opt == '?') {
            return 2;
        }
    }
    if (p.dir == NULL || p.state == NULL) {
        errno = EINVAL;
        die("--dir and --state are needed");
    }
    read_log(&p);
    undo_names(&p);
    walking = &p;
    if (nftw(p.dir, cut_one, 16, FTW_PHYS) != 0) {
        die(p.dir);
    }
    walking = NULL;
    (void)snprintf(from, sizeof from, "%s/log", p.state);
    (void)snprintf(to, sizeof to, "%s/log.applied", p.state);
    if (rename(from, to) != 0) {
        die(to);
    }
    printf(
        "%ju bytes in %u files were not synced (%s); %u overwrites, %u name changes undone (%s)\n",
        p.cut_bytes, p.cut_files, data[p.data], p.undone_overwrites, p.undone_names,
        names[p.names]);
    for (size_t i = 0; i < p.n_changes; i++) {
        free(p.changes[i].path);
    }
    free(p.changes);
    free(p.overwrites);
    free(p.files);
    return 0;
}
