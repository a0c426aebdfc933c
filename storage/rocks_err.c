/* The one place where RocksDB's error strings are read and freed. */
#include <errno.h>
#include <string.h>

#include "storage/rocks.h"

/* Another process has the directory, or this one has it open already. A lock file that cannot be
 * opened or read is neither. */
static bool is_held(const char *msg)
{
    return strstr(msg, "lock hold by current process") != NULL ||
           (strstr(msg, "lock file") != NULL &&
            (strstr(msg, strerror(EAGAIN)) != NULL || strstr(msg, strerror(EACCES)) != NULL));
}

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
    } else if (is_held(msg)) {
        rc = WERR_LOCKED;
    } else if (strncmp(msg, "Operation failed. Try again.", 28) == 0) {
        rc = WERR_AGAIN;
    }
    werror_set(e, rc, "%s: rocksdb: %s", what, msg);
    rocksdb_free(msg);
    return rc;
}
