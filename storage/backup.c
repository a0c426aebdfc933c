/*
 * Happy path of a backup: a checkpoint is there (links, made by RocksDB); its files are synced and
 * listed. Of a restore: the list is read and checked, each file is linked or copied, everything is
 * synced, the new directory gets its name.
 * What can fail: reading and writing files; a backup that is not whole. A restore that failed
 * leaves `to` as it was; what it had copied is removed.
 * Who owns what: the text of a list belongs to struct list; entries point into it.
 */
#include "storage/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/buf.h"
#include "proto/crc32c.h"
#include "storage/file_io.h"

enum { FORMAT = 1, NAME_MAX_BYTES = 255, CHUNK = 1 << 20, LIST_MAX_BYTES = 64 << 20 };

static const char lock_name[] = "weir.lock";
static const char unfinished[] = "RESTORING"; /* in a data directory: its restore has not ended */

/* ---------------------------------------------------------------- files */

static enum werr sys_error(struct werror *e, const char *what, const char *dir, const char *name)
{
    const int err = errno;

    return werror_set(e, err == ENOSPC ? WERR_STORAGE_FULL : WERR_IO, "%s %.180s%s%.60s: %s", what,
                      dir, *name != '\0' ? "/" : "", name, strerror(err));
}

static int open_dir(const char *dir, struct werror *e)
{
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        (void)sys_error(e, "open", dir, "");
    }
    return fd;
}

static enum werr sync_dir(const char *dir, struct werror *e)
{
    const int fd = open_dir(dir, e);
    enum werr rc = WERR_OK;

    if (fd < 0) {
        return WERR_IO;
    }
    if (fsync(fd) != 0) {
        rc = sys_error(e, "sync", dir, "");
    }
    close(fd);
    return rc;
}

/* The directory that `dir` is in. */
static enum werr sync_parent(const char *dir, struct werror *e)
{
    char parent[4096];

    snprintf(parent, sizeof parent, "%s/..", dir);
    return sync_dir(parent, e);
}

/* The one above that: the folder of backups may be new, too. */
static enum werr sync_grandparent(const char *dir, struct werror *e)
{
    char above[4096];

    snprintf(above, sizeof above, "%s/../..", dir);
    return sync_dir(above, e);
}

/* A new file with these bytes, synced. */
static enum werr write_file(int dirfd, const char *dir, const char *name, struct slice bytes,
                            struct werror *e)
{
    const int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    enum werr rc = WERR_OK;

    if (fd < 0 || !file_write(fd, bytes.p, bytes.n) || fsync(fd) != 0) {
        rc = sys_error(e, "write", dir, name);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static bool is_table(const char *name)
{
    const size_t n = strlen(name);

    return n > 4 && strcmp(name + n - 4, ".sst") == 0;
}

/* A file of a backup. */
struct entry {
    uint64_t size;
    uint32_t crc;
    bool summed; /* crc is known */
    const char *name;
};

/* Reads what is left of `in`, writes it to `out` unless that is -1, and fills in *size and *crc. */
static enum werr pump(int in, int out, const char *dir, const char *name, uint64_t *size,
                      uint32_t *crc, struct werror *e)
{
    uint8_t *chunk = malloc(CHUNK);
    ssize_t n = 1;
    enum werr rc = chunk == NULL ? werror_set(e, WERR_NOMEM, "no memory for a copy") : WERR_OK;

    *size = *crc = 0;
    while (rc == WERR_OK && n > 0) {
        n = file_read(in, chunk, CHUNK);
        if (n < 0 || (out >= 0 && !file_write(out, chunk, (size_t)n))) {
            rc = sys_error(e, "copy", dir, name);
        } else {
            *crc = crc32c_more(*crc, chunk, (size_t)n);
            *size += (uint64_t)n;
        }
    }
    free(chunk);
    return rc;
}

/* ---------------------------------------------------------------- making */

static void put_text(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

static void put_head(struct buf *b, const struct backup_info *about)
{
    char line[96], hex[33];

    for (size_t i = 0; i < sizeof about->store_uuid; i++) {
        snprintf(hex + 2 * i, 3, "%02x", about->store_uuid[i]);
    }
    snprintf(line, sizeof line, "weir-backup %d\nstore %s\ncreated_ms %" PRId64 "\n", FORMAT, hex,
             about->created_ms);
    put_text(b, line);
}

/*
 * One file of the checkpoint, synced and listed. Tables are large, and their blocks have sums of
 * their own; the others are read for theirs.
 */
static enum werr list_file(struct buf *b, int dirfd, const char *dir, const char *name,
                           struct werror *e)
{
    char line[NAME_MAX_BYTES + 64], sum[16] = "-";
    struct stat st;
    struct entry x = {.name = name, .summed = !is_table(name)};
    const int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    enum werr rc = WERR_OK;

    if (fd < 0 || fsync(fd) != 0 || fstat(fd, &st) != 0) {
        rc = sys_error(e, "sync", dir, name);
    } else if (x.summed) {
        rc = pump(fd, -1, dir, name, &x.size, &x.crc, e);
        snprintf(sum, sizeof sum, "%08" PRIx32, x.crc);
    } else {
        x.size = (uint64_t)st.st_size;
    }
    if (fd >= 0) {
        close(fd);
    }
    snprintf(line, sizeof line, "file %" PRIu64 " %s %s\n", x.size, sum, name);
    put_text(b, line);
    return rc;
}

static enum werr list_files(struct buf *b, const char *dir, uint64_t *n, struct werror *e)
{
    DIR *d = opendir(dir);
    const struct dirent *ent;
    enum werr rc = WERR_OK;

    if (d == NULL) {
        return sys_error(e, "open", dir, "");
    }
    while (rc == WERR_OK && (ent = readdir(d)) != NULL) {
        if (ent->d_name[0] != '.' && strcmp(ent->d_name, lock_name) != 0) {
            rc = list_file(b, dirfd(d), dir, ent->d_name, e);
            ++*n;
        }
    }
    closedir(d);
    return rc;
}

enum werr backup_seal(const char *dir, const struct backup_info *about, struct werror *e)
{
    struct buf b = {0};
    char end[64];
    uint64_t n = 0;
    int fd = -1;
    enum werr rc;

    put_head(&b, about);
    rc = list_files(&b, dir, &n, e);
    snprintf(end, sizeof end, "end %" PRIu64 " %08" PRIx32 "\n", n, crc32c(b.p, b.len));
    put_text(&b, end);
    if (rc == WERR_OK && b.failed) {
        rc = werror_set(e, WERR_NOMEM, "no memory for a list of %" PRIu64 " files", n);
    }
    if (rc == WERR_OK) {
        fd = open_dir(dir, e);
        rc = fd < 0 ? WERR_IO : write_file(fd, dir, lock_name, (struct slice){NULL, 0}, e);
    }
    if (rc == WERR_OK) {
        rc = write_file(fd, dir, BACKUP_LIST ".new", buf_slice(&b), e);
    }
    if (rc == WERR_OK && renameat(fd, BACKUP_LIST ".new", fd, BACKUP_LIST) != 0) {
        rc = sys_error(e, "rename", dir, BACKUP_LIST ".new");
    }
    if (rc == WERR_OK) {
        rc = sync_dir(dir, e);
    }
    if (rc == WERR_OK) {
        rc = sync_parent(dir, e);
    }
    if (rc == WERR_OK) {
        rc = sync_grandparent(dir, e);
    }
    if (fd >= 0) {
        close(fd);
    }
    buf_fini(&b);
    return rc;
}

/* ---------------------------------------------------------------- the list */

struct list {
    struct buf text; /* ends with a zero byte */
    char *next;      /* first line not handed out */
    struct backup_info about;
};

static enum werr corrupt(struct werror *e, const char *dir, const char *what)
{
    return werror_set(e, WERR_CORRUPT, "%.180s/" BACKUP_LIST ": %s", dir, what);
}

static enum werr read_text(struct list *l, const char *dir, struct werror *e)
{
    char path[4096];
    ssize_t n = 1;
    int fd;
    enum werr rc = WERR_OK;

    snprintf(path, sizeof path, "%s/" BACKUP_LIST, dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR
                   ? werror_set(e, WERR_NOT_FOUND, "%.180s is no backup: no " BACKUP_LIST, dir)
                   : sys_error(e, "open", dir, BACKUP_LIST);
    }
    l->text.limit = LIST_MAX_BYTES;
    while (rc == WERR_OK && n > 0) {
        if (!buf_reserve(&l->text, CHUNK)) {
            rc = corrupt(e, dir, "too long");
            break;
        }
        n = file_read(fd, l->text.p + l->text.len, CHUNK - 1);
        l->text.len += n > 0 ? (size_t)n : 0;
        if (n < 0) {
            rc = sys_error(e, "read", dir, BACKUP_LIST);
        }
    }
    close(fd);
    if (rc == WERR_OK && memchr(l->text.p, '\0', l->text.len) != NULL) {
        rc = corrupt(e, dir, "a zero byte in it");
    }
    if (rc == WERR_OK) {
        l->text.p[l->text.len] = '\0';
    }
    return rc;
}

/* The next line without its end; NULL: there is none. */
static char *next_line(struct list *l)
{
    char *line = l->next, *end = line != NULL ? strchr(line, '\n') : NULL;

    if (end == NULL) {
        return NULL;
    }
    *end = '\0';
    l->next = end + 1;
    return line;
}

/* A number that fills the text up to `end`. */
static bool number(const char *p, const char *end, int base, uint64_t *out)
{
    char *stop;

    if (p == end || *p == '-' || *p == '+' || *p == ' ') {
        return false;
    }
    errno = 0;
    *out = strtoull(p, &stop, base);
    return errno == 0 && stop == end;
}

/* What follows `word ` in a line; NULL: it begins with something else. */
static const char *after(const char *line, const char *word)
{
    const size_t n = strlen(word);

    return line != NULL && strncmp(line, word, n) == 0 && line[n] == ' ' ? line + n + 1 : NULL;
}

static bool read_uuid(const char *hex, uint8_t uuid[16])
{
    if (hex == NULL || strlen(hex) != 32) {
        return false;
    }
    for (size_t i = 0; i < 16; i++) {
        const char two[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        uint64_t v;

        if (!number(two, two + 2, 16, &v)) {
            return false;
        }
        uuid[i] = (uint8_t)v;
    }
    return true;
}

/* A plain name: a list must not lead out of the directory. */
static bool plain_name(const char *s)
{
    return *s != '\0' && *s != '.' && strchr(s, '/') == NULL && strlen(s) <= NAME_MAX_BYTES;
}

/* `SIZE SUM NAME` */
static bool read_entry(const char *p, struct entry *x)
{
    const char *sum = strchr(p, ' '), *name = sum != NULL ? strchr(sum + 1, ' ') : NULL;
    uint64_t crc = 0;

    if (name == NULL || !number(p, sum, 10, &x->size) || !plain_name(name + 1)) {
        return false;
    }
    x->summed = name - sum != 2 || sum[1] != '-';
    if (x->summed && (name - sum != 9 || !number(sum + 1, name, 16, &crc))) {
        return false;
    }
    x->crc = (uint32_t)crc;
    x->name = name + 1;
    return true;
}

/* The last line is whole, and its sum is that of the lines before it: cut off. */
static bool check_end(struct list *l, uint64_t *files)
{
    char *text = (char *)l->text.p, *at;
    const char *sum;
    uint64_t crc;

    if (l->text.len < 2 || text[l->text.len - 1] != '\n') {
        return false;
    }
    text[l->text.len - 1] = '\0';
    at = strrchr(text, '\n');
    if (at == NULL || strncmp(++at, "end ", 4) != 0) {
        return false;
    }
    sum = strchr(at + 4, ' ');
    if (sum == NULL || !number(at + 4, sum, 10, files) ||
        !number(sum + 1, sum + strlen(sum), 16, &crc) ||
        crc != crc32c(l->text.p, (size_t)(at - text))) {
        return false;
    }
    *at = '\0';
    return true;
}

static enum werr check_head(struct list *l, const char *dir, struct werror *e)
{
    const char *format = after(next_line(l), "weir-backup"), *created;
    uint64_t v;

    if (format == NULL || !number(format, format + strlen(format), 10, &v)) {
        return corrupt(e, dir, "does not begin with weir-backup");
    }
    if (v != FORMAT) {
        return werror_set(e, WERR_FORMAT_NEWER,
                          "%.180s is a backup of format %" PRIu64 ", this version reads %d", dir, v,
                          FORMAT);
    }
    if (!read_uuid(after(next_line(l), "store"), l->about.store_uuid)) {
        return corrupt(e, dir, "no store");
    }
    created = after(next_line(l), "created_ms");
    if (created == NULL || !number(created, created + strlen(created), 10, &v)) {
        return corrupt(e, dir, "no created_ms");
    }
    l->about.created_ms = (int64_t)v;
    return WERR_OK;
}

/* The next file. WERR_NOT_FOUND: that was the last. */
static enum werr next_entry(struct list *l, const char *dir, struct entry *x, struct werror *e)
{
    char *line = next_line(l);
    const char *p = after(line, "file");

    if (line == NULL) {
        return WERR_NOT_FOUND;
    }
    if (p == NULL || !read_entry(p, x)) {
        (void)corrupt(e, dir, "a line that is no file");
        return WERR_CORRUPT;
    }
    return WERR_OK;
}

/* Reads and checks the whole list, and stands at its first file again. */
static enum werr list_open(struct list *l, const char *dir, struct werror *e)
{
    struct list copy;
    struct entry x = {.size = 0};
    uint64_t files = 0;
    enum werr rc;

    *l = (struct list){.next = NULL};
    rc = read_text(l, dir, e);
    if (rc == WERR_OK && !check_end(l, &files)) {
        rc = corrupt(e, dir, "cut or damaged: its last line does not fit the others");
    }
    if (rc == WERR_OK) {
        l->next = (char *)l->text.p;
        rc = check_head(l, dir, e);
    }
    copy = *l;
    while (rc == WERR_OK && copy.next != NULL && *copy.next != '\0') {
        rc = next_entry(&copy, dir, &x, e);
        if (rc == WERR_OK) {
            copy.next[-1] = '\n'; /* to be read again */
            l->about.files++;
            l->about.bytes += x.size;
        }
    }
    if (rc == WERR_OK && l->about.files != files) {
        rc = corrupt(e, dir, "not all of its files are listed");
    }
    return rc;
}

static void list_close(struct list *l)
{
    buf_fini(&l->text);
}

enum werr backup_read(const char *dir, struct backup_info *about, struct werror *e)
{
    struct list l;
    const enum werr rc = list_open(&l, dir, e);

    *about = l.about;
    list_close(&l);
    return rc;
}

/* ---------------------------------------------------------------- restore */

static enum werr wrong_size(const char *dir, const struct entry *x, uint64_t size, struct werror *e)
{
    return werror_set(e, WERR_CORRUPT, "%.180s/%.60s has %" PRIu64 " bytes, %" PRIu64 " are listed",
                      dir, x->name, size, x->size);
}

static int open_entry(int from, const char *dir, const struct entry *x, struct werror *e)
{
    const int fd = openat(from, x->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) {
        (void)werror_set(e, WERR_CORRUPT, "%.180s/%.60s is missing", dir, x->name);
    } else if (fd < 0) {
        (void)sys_error(e, "open", dir, x->name);
    }
    return fd;
}

/* Reads a file, copies it to `out` unless that is -1, and compares it with the list. */
static enum werr compare(int from, int out, const char *dir, const struct entry *x,
                         struct werror *e)
{
    uint64_t size;
    uint32_t crc;
    const int in = open_entry(from, dir, x, e);
    enum werr rc;

    if (in < 0) {
        return e->code;
    }
    rc = pump(in, out, dir, x->name, &size, &crc, e);
    if (rc == WERR_OK && size != x->size) {
        rc = wrong_size(dir, x, size, e);
    } else if (rc == WERR_OK && x->summed && crc != x->crc) {
        rc = werror_set(e, WERR_CORRUPT,
                        "%.180s/%.60s is damaged: sum %08" PRIx32 ", %08" PRIx32 " is listed", dir,
                        x->name, crc, x->crc);
    }
    close(in);
    return rc;
}

/* A file that has no sum in the list: it is there, with its size. */
static enum werr compare_size(int from, const char *dir, const struct entry *x, struct werror *e)
{
    struct stat st;
    const int fd = open_entry(from, dir, x, e);
    enum werr rc = WERR_OK;

    if (fd < 0) {
        return e->code;
    }
    if (fstat(fd, &st) != 0) {
        rc = sys_error(e, "look at", dir, x->name);
    } else if ((uint64_t)st.st_size != x->size) {
        rc = wrong_size(dir, x, (uint64_t)st.st_size, e);
    }
    close(fd);
    return rc;
}

enum werr backup_check(const char *dir, struct backup_info *about, struct werror *e)
{
    struct list l;
    struct entry x = {.size = 0};
    int fd = -1;
    enum werr rc = list_open(&l, dir, e);

    *about = l.about;
    if (rc == WERR_OK) {
        fd = open_dir(dir, e);
        rc = fd < 0 ? e->code : WERR_OK;
    }
    while (rc == WERR_OK && (rc = next_entry(&l, dir, &x, e)) == WERR_OK) {
        rc = x.summed ? compare(fd, -1, dir, &x, e) : compare_size(fd, dir, &x, e);
    }
    if (fd >= 0) {
        close(fd);
    }
    list_close(&l);
    return rc == WERR_NOT_FOUND && fd >= 0 ? WERR_OK : rc;
}

/* ---------------------------------------------------------------- restore */

/* A link to a table, where the file system allows it. True: done. */
static bool link_table(int from, int to, const struct entry *x)
{
    struct stat st;

    return is_table(x->name) && fstatat(from, x->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(st.st_mode) && (uint64_t)st.st_size == x->size &&
           linkat(from, x->name, to, x->name, 0) == 0;
}

static enum werr sync_file(int to, const struct entry *x, struct werror *e)
{
    const int fd = openat(to, x->name, O_RDONLY | O_CLOEXEC);
    enum werr rc = WERR_OK;

    if (fd < 0 || fsync(fd) != 0) {
        rc = sys_error(e, "sync", "the copy", x->name);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static enum werr bring(int from, int to, const char *dir, const struct entry *x, struct werror *e)
{
    int out;
    enum werr rc;

    if (link_table(from, to, x)) {
        return sync_file(to, x, e); /* who brought the backup here may not have synced it */
    }
    out = openat(to, x->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    rc = out < 0 ? sys_error(e, "make", "the copy", x->name) : compare(from, out, dir, x, e);
    if (rc == WERR_OK && fsync(out) != 0) {
        rc = sys_error(e, "sync", "the copy", x->name);
    }
    if (out >= 0) {
        close(out);
    }
    return rc;
}

/* Makes the directory, or finds it empty. */
static enum werr begin_restore(const char *to, bool *made, struct werror *e)
{
    DIR *d;
    const struct dirent *ent;
    enum werr rc = WERR_OK;

    *made = mkdir(to, 0700) == 0;
    if (!*made && errno != EEXIST) {
        return sys_error(e, "make", to, "");
    }
    d = opendir(to);
    if (d == NULL) {
        return sys_error(e, "open", to, "");
    }
    while ((ent = readdir(d)) != NULL) {
        if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0 &&
            strcmp(ent->d_name, "lost+found") != 0) {
            rc = werror_set(e, WERR_EXISTS,
                            "%.180s is not empty (%.60s): a backup is restored to a new directory",
                            to, ent->d_name);
        }
    }
    closedir(d);
    return rc;
}

/* Takes a restore that failed away again. */
static void undo_restore(const char *to, bool made)
{
    const int fd = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *ent;

    while (d != NULL && (ent = readdir(d)) != NULL) {
        (void)unlinkat(fd, ent->d_name, 0); /* all are ours: it was empty */
    }
    if (d != NULL) {
        closedir(d);
    } else if (fd >= 0) {
        close(fd);
    }
    if (made) {
        (void)rmdir(to);
    }
}

static enum werr bring_all(struct list *l, const char *dir, const char *to, struct werror *e)
{
    const int from_fd = open_dir(dir, e), to_fd = open_dir(to, e);
    struct entry x = {.size = 0};
    enum werr rc = from_fd < 0 || to_fd < 0 ? WERR_IO : WERR_OK;

    if (rc == WERR_OK) {
        rc = write_file(to_fd, to, unfinished, (struct slice){NULL, 0}, e);
    }
    if (rc == WERR_OK) {
        rc = sync_dir(to, e);
    }
    while (rc == WERR_OK && (rc = next_entry(l, dir, &x, e)) == WERR_OK) {
        rc = bring(from_fd, to_fd, dir, &x, e);
    }
    if (rc == WERR_NOT_FOUND) {
        rc = sync_dir(to, e);
    }
    if (rc == WERR_OK && unlinkat(to_fd, unfinished, 0) != 0) {
        rc = sys_error(e, "remove", to, unfinished);
    }
    if (rc == WERR_OK) {
        rc = sync_dir(to, e);
    }
    if (from_fd >= 0) {
        close(from_fd);
    }
    if (to_fd >= 0) {
        close(to_fd);
    }
    return rc;
}

enum werr backup_is_finished(const char *dir, struct werror *e)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s", dir, unfinished);
    return access(path, F_OK) != 0
               ? WERR_OK
               : werror_set(e, WERR_CORRUPT,
                            "%.180s: a restore was cut short: empty the directory "
                            "and restore again",
                            dir);
}

enum werr backup_restore(const char *dir, const char *to, struct backup_info *about,
                         struct werror *e)
{
    struct list l;
    bool made = false, begun = false;
    enum werr rc = list_open(&l, dir, e);

    *about = l.about;
    if (rc == WERR_OK) {
        rc = begin_restore(to, &made, e);
        begun = rc == WERR_OK;
    }
    if (rc == WERR_OK) {
        rc = bring_all(&l, dir, to, e);
    }
    if (rc == WERR_OK && made) {
        rc = sync_parent(to, e);
    }
    if (rc != WERR_OK && begun) {
        undo_restore(to, made);
    }
    list_close(&l);
    return rc;
}
