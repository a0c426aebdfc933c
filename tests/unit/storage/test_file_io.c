/* Reads and writes that are interrupted, cut short, or fail: the linker sends the calls here. */
#include "storage/file_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rocks_env.h"
#include "tests/lib/test.h"

ssize_t __real_read(int fd, void *p, size_t n);
ssize_t __wrap_read(int fd, void *p, size_t n);
ssize_t __real_pread(int fd, void *p, size_t n, off_t at);
ssize_t __wrap_pread(int fd, void *p, size_t n, off_t at);
ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);
ssize_t __real_pwrite(int fd, const void *p, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at);

enum { FEW = 3, NOTHING = -1 };
static int errors[8]; /* of the next calls; 0: a few bytes, NOTHING: none */
static size_t calls;

static bool fails(void)
{
    errno = calls < 8 ? errors[calls] : 0;
    calls++;
    return errno != 0;
}

static ssize_t failed(void)
{
    return errno == NOTHING ? 0 : -1;
}

static size_t few(size_t n)
{
    return n < FEW ? n : FEW;
}

ssize_t __wrap_read(int fd, void *p, size_t n)
{
    return fails() ? failed() : __real_read(fd, p, few(n));
}

ssize_t __wrap_pread(int fd, void *p, size_t n, off_t at)
{
    return fails() ? failed() : __real_pread(fd, p, few(n), at);
}

ssize_t __wrap_write(int fd, const void *p, size_t n)
{
    return fails() ? failed() : __real_write(fd, p, few(n));
}

ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at)
{
    return fails() ? failed() : __real_pwrite(fd, p, few(n), at);
}

static void plan(int first, int second, int third)
{
    memset(errors, 0, sizeof errors);
    errors[0] = first;
    errors[1] = second;
    errors[2] = third;
    calls = 0;
}

static void test_file_io(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    char path[4096], got[16];
    int fd;
    (void)state;

    fd = open(tmp_path(d, "file", path, sizeof path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    plan(EINTR, 0, EINTR);
    assert_true(file_write(fd, "0123456789", 10));
    assert_int_equal(calls, 6); /* two for nothing, 3 + 3 + 3 + 1 */
    plan(EINTR, 0, EINTR);
    assert_true(file_write_at(fd, "abcdefgh", 8, 2));

    plan(0, EINTR, EINTR);
    assert_int_equal(file_read_at(fd, got, 8, 1), 8);
    assert_memory_equal(got, "1abcdefg", 8);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    plan(EINTR, 0, 0);
    assert_int_equal(file_read(fd, got, sizeof got), 10); /* and then its end */
    assert_memory_equal(got, "01abcdefgh", 10);
    assert_int_equal(file_read(fd, got, sizeof got), 0);

    plan(0, EIO, 0);
    assert_int_equal(file_read_at(fd, got, 8, 0), -1);
    assert_int_equal(errno, EIO);
    plan(0, ENOSPC, 0);
    assert_false(file_write_at(fd, "abcdefgh", 8, 2));
    assert_int_equal(errno, ENOSPC);
    plan(0, NOTHING, 0);
    assert_false(file_write(fd, "abcdefgh", 8));
    assert_int_equal(errno, EIO);
    close(fd);
    tmp_dir_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_file_io)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
