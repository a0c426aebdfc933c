/* The contract on RocksDB: the same cases as in memory. A kill leaves what the process wrote. */
#include "storage/front.h"
#include "storage/store_rocks.h"
#include "tests/lib/store_contract.h"
#include "tests/lib/test.h"
#include "tests/unit/storage/rocks_env.h"

static void *disk_new(void)
{
    return tmp_dir_new();
}

static void disk_free(void *disk)
{
    tmp_dir_free(disk);
}

static struct store *open_rocks(void *disk, const struct store_conf *conf)
{
    const struct tmp_dir *d = disk;
    struct store *st = NULL;
    struct werror e = {0};

    if (store_open_rocks(&st, d->path, conf, &e) != WERR_OK) {
        fail_msg("%s", e.text);
    }
    return st;
}

int main(void)
{
    static const struct contract rocks = {.name = "rocksdb",
                                          .disk_new = disk_new,
                                          .disk_free = disk_free,
                                          .open = open_rocks,
                                          .kill = front_abandon,
                                          .checkpoints = true};

    return contract_run(&rocks);
}
