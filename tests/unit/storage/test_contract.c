/* The contract on the store in memory: stepped, and with its threads. */
#include "storage/store_mem.h"
#include "tests/lib/store_contract.h"
#include "tests/lib/test.h"

static void *disk_new(void)
{
    return memdisk_new();
}

static void disk_free(void *disk)
{
    memdisk_free(disk);
}

static struct store *open_stepped(void *disk, const struct store_conf *conf)
{
    struct store *st = NULL;
    struct werror e;
    if (store_open_mem(&st, disk, STORE_MEM_STEPPED, conf, &e) != WERR_OK)
        fail_msg("%s", e.text);
    return st;
}

static struct store *open_threaded(void *disk, const struct store_conf *conf)
{
    struct store *st = NULL;
    struct werror e;
    if (store_open_mem(&st, disk, STORE_MEM_THREADED, conf, &e) != WERR_OK)
        fail_msg("%s", e.text);
    return st;
}

int main(void)
{
    static const struct contract stepped = {.name = "memory, stepped",
                                            .disk_new = disk_new,
                                            .disk_free = disk_free,
                                            .open = open_stepped,
                                            .stepped = true,
                                            .step = store_step,
                                            .kill = store_abandon,
                                            .replays = true};
    static const struct contract threaded = {.name = "memory, threaded",
                                             .disk_new = disk_new,
                                             .disk_free = disk_free,
                                             .open = open_threaded,
                                             .kill = store_abandon,
                                             .replays = true};
    return contract_run(&stepped) + contract_run(&threaded);
}
