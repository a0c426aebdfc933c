#ifndef WEIR_TESTS_UNIT_STORAGE_ROCKS_ENV_H
#define WEIR_TESTS_UNIT_STORAGE_ROCKS_ENV_H
/* Directories with real stores in them, and ways to look at and to damage their files. */
#include "storage/store.h"

struct tmp_dir {
    char path[256];
};
/* A new empty directory under TMPDIR (or /tmp); gives. Fails the test when it cannot. */
struct tmp_dir *tmp_dir_new(void);
/* Removes it with everything in it. NULL allowed. */
void tmp_dir_free(struct tmp_dir *d);
/* "DIR/name" in a buffer of the caller. */
const char *tmp_path(const struct tmp_dir *d, const char *name, char *out, size_t n);
/* Removes a directory tree. */
void remove_tree(const char *path);
/* Copies the plain files of a flat directory into a new one. */
void copy_dir(const char *from, const char *to);
/* A hash over names, sizes and contents of the plain files in a directory, but for RocksDB's own
 * text log (LOG*) and our lock file. */
uint64_t hash_dir(const char *path);

/* i-th newest file whose name ends in `suffix` ("" counts too), by the number in its name; false
 * when there are fewer. */
bool nth_file(const char *dir, const char *suffix, unsigned i, char *name, size_t n);
/* The file that CURRENT names. */
void manifest_name(const char *dir, char *name, size_t n);
uint64_t size_of(const char *dir, const char *name);
void cut_file(const char *dir, const char *name, uint64_t size);
void flip_byte(const char *dir, const char *name, uint64_t at);
void delete_file(const char *dir, const char *name);
void write_file(const char *dir, const char *name, const void *p, size_t n);

/* Small memory, no limit on free space, no wakeup. */
struct store_conf rocks_conf(void);
/* Runs fn(arg) in a child process that ends by kill -9 when fn returns; waits for it. */
void in_killed_child(void (*fn)(void *arg), void *arg);
/* Polls until *flag; fails the test after 60 s. */
void poll_until(struct store *st, const bool *flag);
/* Appends one batch of `bytes` to a partition and waits until it is durable. */
enum werr append_sync(struct store *st, enum store_table t, uint32_t partition, uint32_t count,
                      uint32_t bytes);
/* Appends without waiting. *done when not NULL is raised by the completion. */
void append_async(struct store *st, enum store_table t, uint32_t partition, uint32_t count,
                  uint32_t bytes, bool *done);
/* Ends the bucket and waits until that is durable. */
void roll_sync(struct store *st);
/* Reads everything of a partition from its start; returns the next offset that it reached. *rc is
 * the first error. Checks that every batch is what append_* wrote. */
uint64_t read_all(struct store *st, uint32_t partition, enum werr *rc);

#endif
