/*
 * A small program for the power-loss shim to be preloaded into: does the file operations that its
 * arguments name, one after the other, in the directory that the first names, then dies by SIGKILL.
 *
 *   open F | opensync F | openappend F | opentrunc F | close F   keep up to 8 files open
 *   write F N C    N bytes of C by write     pwrite F AT N C    writev F N C
 *   truncate F N | alloc F N | fsync F | fdatasync F | rangesync F | rename A B | unlink F
 *   mkdir D | dirsync
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct open_file {
    char name[32];
    int fd;
};

struct probe {
    struct open_file files[8];
    size_t n_files;
};

static int fd_of(const struct probe *p, const char *name)
{
    for (size_t i = p->n_files; i-- > 0;) {
        if (strcmp(p->files[i].name, name) == 0) {
            return p->files[i].fd;
        }
    }
    return -1;
}

static int open_as(struct probe *p, const char *name, int flags)
{
    struct open_file *f = &p->files[p->n_files++ % 8];

    (void)snprintf(f->name, sizeof f->name, "%s", name);
    f->fd = open(name, flags | O_CREAT | O_CLOEXEC, 0600);
    return f->fd >= 0;
}

static int write_filled(int fd, long at, long n, char c, int vector)
{
    char *buf = malloc((size_t)n);
    struct iovec iov[2];
    ssize_t done;

    if (buf == NULL) {
        return 0;
    }
    memset(buf, c, (size_t)n);
    iov[0] = (struct iovec){.iov_base = buf, .iov_len = (size_t)(n / 2)};
    iov[1] = (struct iovec){.iov_base = buf + n / 2, .iov_len = (size_t)(n - n / 2)};
    done = vector    ? writev(fd, iov, 2)
           : at >= 0 ? pwrite(fd, buf, (size_t)n, at)
                     : write(fd, buf, (size_t)n);
    free(buf);
    return done == n;
}

static int dirsync(void)
{
    const int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int ok = fsync(fd) == 0;

    close(fd);
    return ok;
}

static int step(struct probe *p, const char *text)
{
    char op[16], a[32] = "", b[32] = "", c[32] = "", d[32] = "";
    const int n = sscanf(text, "%15s %31s %31s %31s %31s", op, a, b, c, d);
    const int fd = fd_of(p, a);

    if (n < 1) {
        return 0;
    }
    if (strncmp(op, "open", 4) == 0) {
        return open_as(p, a,
                       strcmp(op, "opensync") == 0     ? O_RDWR | O_DSYNC
                       : strcmp(op, "openappend") == 0 ? O_WRONLY | O_APPEND
                       : strcmp(op, "opentrunc") == 0  ? O_WRONLY | O_TRUNC
                                                       : O_RDWR);
    }
    return strcmp(op, "write") == 0       ? write_filled(fd, -1, atol(b), c[0], 0)
           : strcmp(op, "writev") == 0    ? write_filled(fd, -1, atol(b), c[0], 1)
           : strcmp(op, "pwrite") == 0    ? write_filled(fd, atol(b), atol(c), d[0], 0)
           : strcmp(op, "truncate") == 0  ? ftruncate(fd, atol(b)) == 0
           : strcmp(op, "alloc") == 0     ? fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, atol(b)) == 0
           : strcmp(op, "fsync") == 0     ? fsync(fd) == 0
           : strcmp(op, "fdatasync") == 0 ? fdatasync(fd) == 0
           : strcmp(op, "rangesync") == 0
               ? sync_file_range(fd, 0, 0,
                                 SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                     SYNC_FILE_RANGE_WAIT_AFTER) == 0
           : strcmp(op, "close") == 0   ? close(fd) == 0
           : strcmp(op, "rename") == 0  ? rename(a, b) == 0
           : strcmp(op, "unlink") == 0  ? unlink(a) == 0
           : strcmp(op, "mkdir") == 0   ? mkdir(a, 0700) == 0
           : strcmp(op, "dirsync") == 0 ? dirsync()
                                        : 0;
}

int main(int argc, char **argv)
{
    struct probe p = {0};

    if (argc < 2 || chdir(argv[1]) != 0) {
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        if (!step(&p, argv[i])) {
            perror(argv[i]);
            return 2;
        }
    }
    (void)raise(SIGKILL);
    return 3;
}
