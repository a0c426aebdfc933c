#include "storage/file_io.h"

#include <errno.h>
#include <unistd.h>

static const uint64_t HERE = UINT64_MAX; /* where the descriptor stands */

static ssize_t read_from(int fd, void *p, size_t n, uint64_t at)
{
    uint8_t *to = p;
    size_t done = 0;

    while (done < n) {
        const ssize_t got = at == HERE ? read(fd, to + done, n - done)
                                       : pread(fd, to + done, n - done, (off_t)(at + done));
        if (got == 0) {
            break;
        }
        if (got > 0) {
            done += (size_t)got;
        } else if (errno != EINTR) {
            return -1;
        }
    }
    return (ssize_t)done;
}

static bool write_to(int fd, const void *p, size_t n, uint64_t at)
{
    const uint8_t *from = p;
    size_t done = 0;

    while (done < n) {
        const ssize_t put = at == HERE ? write(fd, from + done, n - done)
                                       : pwrite(fd, from + done, n - done, (off_t)(at + done));
        if (put == 0) {
            errno = EIO;
            return false;
        }
        if (put > 0) {
            done += (size_t)put;
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

ssize_t file_read(int fd, void *p, size_t n)
{
    return read_from(fd, p, n, HERE);
}

ssize_t file_read_at(int fd, void *p, size_t n, uint64_t at)
{
    return read_from(fd, p, n, at);
}

bool file_write(int fd, const void *p, size_t n)
{
    return write_to(fd, p, n, HERE);
}

bool file_write_at(int fd, const void *p, size_t n, uint64_t at)
{
    return write_to(fd, p, n, at);
}
