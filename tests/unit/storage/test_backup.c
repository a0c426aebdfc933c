/* Lists of backups: made, read, damaged in every byte, restored. What is in the files does not
 * matter here; tests/blackbox/cli/test_backup.py does it with real stores. */
#include "storage/backup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/crc32c.h"
#include "rocks_env.h"
#include "tests/lib/test.h"

static const struct {
    const char *name, *text;
} files[] = {{"CURRENT", "MANIFEST-000004\n"},
             {"MANIFEST-000004", "some manifest"},
             {"000007.sst", "a table of some bytes"},
             {"floor.1", "floor"},
             {"000008.log", ""}};
enum { N_FILES = sizeof files / sizeof files[0], TEXT = 4096 };

static void put(const char *dir, const char *name, const char *text, size_t n)
{
    char path[600];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static size_t get(const char *dir, const char *name, char out[TEXT])
{
    char path[600];
    size_t n = 0;
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "rb");
    if (f != NULL) {
        n = fread(out, 1, TEXT - 1, f);
        fclose(f);
    }
    out[n] = '\0';
    return f != NULL ? n : SIZE_MAX;
}

static void make(const struct tmp_dir *d, char dir[300])
{
    const struct backup_info about = {.store_uuid = {0x00, 0x11, 0xff},
                                      .created_ms = 1795558212345};
    struct werror e = {0};

    tmp_path(d, "backup", dir, 300);
    assert_int_equal(mkdir(dir, 0700), 0);
    for (size_t i = 0; i < N_FILES; i++) {
        put(dir, files[i].name, files[i].text, strlen(files[i].text));
    }
    assert_int_equal(backup_seal(dir, &about, &e), WERR_OK);
}

static void test_made_and_read(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct backup_info about;
    struct werror e = {0};
    char dir[300], text[TEXT];

    (void)state;
    make(d, dir);
    assert_int_equal(backup_read(dir, &about, &e), WERR_OK);
    assert_true(about.files == N_FILES && about.bytes == 16 + 13 + 21 + 5);
    assert_int_equal(about.created_ms, 1795558212345);
    assert_true(about.store_uuid[1] == 0x11 && about.store_uuid[2] == 0xff);
    assert_int_equal(backup_check(dir, &about, &e), WERR_OK);
    assert_int_equal(get(dir, "weir.lock", text), 0);
    assert_true(get(dir, BACKUP_LIST, text) > 0);
    assert_ptr_equal(strstr(text, "weir-backup 1\nstore 0011ff00"), text);
    assert_non_null(strstr(text, "\nfile 21 - 000007.sst\n")); /* tables are not read */
    assert_non_null(strstr(text, "\nfile 0 00000000 000008.log\n"));
    assert_int_equal(backup_seal(dir, &about, &e), WERR_IO); /* it is one already */
    tmp_dir_free(d);
}

/* Whatever is cut off or changed in the list: it is noticed. */
static void test_damaged_lists(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct backup_info about;
    struct werror e = {0};
    char dir[300], text[TEXT];
    size_t n;

    (void)state;
    make(d, dir);
    n = get(dir, BACKUP_LIST, text);
    for (size_t i = 0; i < n; i++) {
        put(dir, BACKUP_LIST, text, i);
        assert_int_equal(backup_read(dir, &about, &e), WERR_CORRUPT);
        assert_non_null(strstr(e.text, dir));
    }
    for (size_t i = 0; i < 8 * n; i++) {
        text[i / 8] ^= (char)(1 << i % 8);
        put(dir, BACKUP_LIST, text, n);
        /* the case of a hexadecimal digit says nothing */
        if (backup_read(dir, &about, &e) == WERR_OK) {
            assert_true(i % 8 == 5 && i / 8 > n - 10);
        }
        text[i / 8] ^= (char)(1 << i % 8);
    }
    n = (size_t)snprintf(text, sizeof text, "weir-backup 2\nend 0 %08x\n",
                         crc32c("weir-backup 2\n", 14));
    put(dir, BACKUP_LIST, text, n);
    assert_int_equal(backup_read(dir, &about, &e), WERR_FORMAT_NEWER);
    assert_non_null(strstr(e.text, "format 2, this version reads 1"));
    snprintf(text, sizeof text, "%s/" BACKUP_LIST, dir);
    assert_int_equal(unlink(text), 0);
    assert_int_equal(backup_read(dir, &about, &e), WERR_NOT_FOUND);
    assert_int_equal(backup_check("/nonexistent", &about, &e), WERR_NOT_FOUND);
    tmp_dir_free(d);
}

static void test_restored(void **state)
{
    struct tmp_dir *d = tmp_dir_new();
    struct backup_info about;
    struct werror e = {0};
    struct stat a, b;
    char dir[300], to[300], text[TEXT], path[600];

    (void)state;
    make(d, dir);
    tmp_path(d, "restored", to, sizeof to);
    assert_int_equal(backup_restore(dir, to, &about, &e), WERR_OK);
    assert_int_equal(about.files, N_FILES);
    for (size_t i = 0; i < N_FILES; i++) {
        assert_int_equal(get(to, files[i].name, text), strlen(files[i].text));
        assert_string_equal(text, files[i].text);
    }
    assert_int_equal(backup_is_finished(to, &e), WERR_OK);
    assert_int_equal(get(to, BACKUP_LIST, text), SIZE_MAX); /* a data directory is no backup */
    snprintf(path, sizeof path, "%s/000007.sst", dir);
    assert_int_equal(stat(path, &a), 0);
    snprintf(path, sizeof path, "%s/000007.sst", to);
    assert_true(stat(path, &b) == 0 && a.st_ino == b.st_ino); /* a link */
    snprintf(path, sizeof path, "%s/CURRENT", to);
    assert_true(stat(path, &b) == 0 && b.st_nlink == 1); /* what is written again is not */
    assert_int_equal(backup_restore(dir, to, &about, &e), WERR_EXISTS);
    assert_non_null(strstr(e.text, to));
    put(to, "RESTORING", "", 0);
    assert_int_equal(backup_is_finished(to, &e), WERR_CORRUPT);
    tmp_dir_free(d);
}

/* A backup that is not whole: refused by name of the file, and nothing stays. */
static void test_not_whole(void **state)
{
    static const struct {
        const char *name, *text, *says;
    } harm[] = {{"CURRENT", "MANIFEST-000005\n", "damaged"},
                {"MANIFEST-000004", "short", "5 bytes, 13 are listed"},
                {"000007.sst", "longer than it was before", "25 bytes, 21 are listed"},
                {"floor.1", NULL, "missing"}};
    struct tmp_dir *d = tmp_dir_new();
    struct backup_info about;
    struct werror e = {0};
    char dir[300], to[300], path[600], was[TEXT];

    (void)state;
    make(d, dir);
    tmp_path(d, "restored", to, sizeof to);
    for (size_t i = 0; i < sizeof harm / sizeof harm[0]; i++) {
        const size_t n = get(dir, harm[i].name, was);

        snprintf(path, sizeof path, "%s/%s", dir, harm[i].name);
        assert_int_equal(unlink(path), 0);
        if (harm[i].text != NULL) {
            put(dir, harm[i].name, harm[i].text, strlen(harm[i].text));
        }
        assert_int_equal(backup_check(dir, &about, &e), WERR_CORRUPT);
        assert_non_null(strstr(e.text, harm[i].name));
        assert_non_null(strstr(e.text, harm[i].says));
        assert_int_equal(backup_restore(dir, to, &about, &e), WERR_CORRUPT);
        assert_int_not_equal(access(to, F_OK), 0);
        put(dir, harm[i].name, was, n);
    }
    assert_int_equal(mkdir(to, 0700), 0);
    put(to, "mine", "x", 1);
    assert_int_equal(backup_restore(dir, to, &about, &e), WERR_EXISTS);
    assert_int_equal(get(to, "mine", was), 1);
    tmp_dir_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_and_read),
        cmocka_unit_test(test_damaged_lists),
        cmocka_unit_test(test_restored),
        cmocka_unit_test(test_not_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
