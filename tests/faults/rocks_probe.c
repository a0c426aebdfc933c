/*
 * What the injector does to RocksDB itself, without weir.
 *   rocks_probe write DIR   100 synced puts, a flush, 100 synced puts, 100 that are not; SIGKILL
 *   rocks_probe count DIR   opens it again and prints how many there are
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <rocksdb/c.h>

static rocksdb_t *open_db(const char *dir, rocksdb_options_t *o)
{
    char *err = NULL;
    rocksdb_t *db;

    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_wal_recovery_mode(o, 2);
    db = rocksdb_open(o, dir, &err);
    if (db == NULL) {
        (void)fprintf(stderr, "open: %s\n", err);
    }
    return db;
}

static void put(rocksdb_t *db, int from, int to, unsigned char sync)
{
    rocksdb_writeoptions_t *w = rocksdb_writeoptions_create();
    char key[16], value[64], *err = NULL;

    rocksdb_writeoptions_set_sync(w, sync);
    for (int i = from; i < to && err == NULL; i++) {
        (void)snprintf(key, sizeof key, "key%06d", i);
        memset(value, 'v', sizeof value);
        rocksdb_put(db, w, key, strlen(key), value, sizeof value, &err);
    }
    if (err != NULL) {
        (void)fprintf(stderr, "put: %s\n", err);
    }
    rocksdb_writeoptions_destroy(w);
}

static int count(rocksdb_t *db)
{
    rocksdb_readoptions_t *r = rocksdb_readoptions_create();
    rocksdb_iterator_t *it = rocksdb_create_iterator(db, r);
    int n = 0;

    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        n++;
    }
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(r);
    return n;
}

int main(int argc, char **argv)
{
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_t *db = argc == 3 ? open_db(argv[2], o) : NULL;
    char *err = NULL;

    if (db == NULL) {
        return 2;
    }
    if (strcmp(argv[1], "write") == 0) {
        rocksdb_flushoptions_t *f = rocksdb_flushoptions_create();

        put(db, 0, 100, 1);
        rocksdb_flush(db, f, &err);
        put(db, 100, 200, 1);
        put(db, 200, 300, 0);
        (void)raise(SIGKILL);
    }
    printf("%d\n", count(db));
    rocksdb_close(db);
    rocksdb_options_destroy(o);
    return 0;
}
