/* The one place where RocksDB's error strings are read and freed. */
#include <string.h>

#include "storage/rocks.h"

enum werr rocks_error(char *msg, const char *what, struct werror *e)
{
    enum werr rc = WERR_IO;

    if (msg == NULL) {
        return WERR_OK;
    }
    if (strstr(msg, "No space left") != NULL || strstr(msg, "NoSpace") != NULL) {
        rc = WERR_STORAGE_FULL;
    } else if (strncmp(msg, "Corruption", 10) == 0) {
        rc = WERR_CORRUPT;
    } else if (strstr(msg, "lock") != NULL && strstr(msg, "LOCK") != NULL) {
        rc = WERR_LOCKED;
    }
    werror_set(e, rc, "%s: rocksdb: %s", what, msg);
    rocksdb_free(msg);
    return rc;
}
