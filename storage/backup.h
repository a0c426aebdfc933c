#ifndef WEIR_STORAGE_BACKUP_H
#define WEIR_STORAGE_BACKUP_H
/*
 * Backups. One is a directory with the files of a checkpoint and a list of them, BACKUP, which is
 * written last: a directory without it is none. The list is text:
 *
 *   weir-backup 1
 *   store 00112233445566778899aabbccddeeff
 *   created_ms 1795558212345
 *   file 67108864 8a3f00c1 000012.sst
 *   file 1234 - MANIFEST-000005
 *   end 2 5b3c9a01
 *
 * A file has its size and the CRC32C of its bytes; tables have `-`: they are links, large, and have
 * sums of their own in each block. The last line has the number of files and the CRC32C of all
 * lines before it. Numbers of sums are hexadecimal.
 */
#include <stdbool.h>
#include <stdint.h>

#include "proto/error.h"

/* Directory of backups inside a data directory; the store leaves it alone. */
#define BACKUP_FOLDER "backups"
/* The list. */
#define BACKUP_LIST "BACKUP"

struct backup_info {
    uint8_t store_uuid[16];
    int64_t created_ms; /* all that was acknowledged before is in it */
    uint64_t files, bytes;
};

/*
 * Makes a backup of a finished checkpoint in dir: syncs all its files, adds the lock file that
 * other programs expect, writes the list, syncs dir and the directory it is in. Blocks. WERR_IO,
 * WERR_STORAGE_FULL.
 */
enum werr backup_seal(const char *dir, const struct backup_info *about,
                      struct werror *e) WEIR_NODISCARD;
/* What the list says of itself. WERR_NOT_FOUND: dir is no backup; WERR_CORRUPT, WERR_FORMAT_NEWER,
 * WERR_IO. Reads only the list. */
enum werr backup_read(const char *dir, struct backup_info *about, struct werror *e) WEIR_NODISCARD;
/*
 * Is it whole? Every file is there with its size and, unless it is a table (whose contents
 * weir-dump --fsck reads), its sum. WERR_CORRUPT names the file; others as backup_read. e is
 * needed.
 */
enum werr backup_check(const char *dir, struct backup_info *about, struct werror *e) WEIR_NODISCARD;
/*
 * Copies a backup into data directory `to`, which must not exist or be empty (WERR_EXISTS). Every
 * file must be there with its size and, where the list has one, its sum (WERR_CORRUPT names the
 * file). Tables, which are never written again, become links where that is possible. When it fails,
 * what it had copied is removed; when it is killed, `to` is refused by a start. Blocks. e is
 * needed.
 */
enum werr backup_restore(const char *dir, const char *to, struct backup_info *about,
                         struct werror *e) WEIR_NODISCARD;
/* WERR_CORRUPT: dir is what a restore that was killed has left. */
enum werr backup_is_finished(const char *dir, struct werror *e) WEIR_NODISCARD;

#endif
