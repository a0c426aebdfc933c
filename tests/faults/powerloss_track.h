#ifndef WEIR_TESTS_FAULTS_POWERLOSS_TRACK_H
#define WEIR_TESTS_FAULTS_POWERLOSS_TRACK_H
/*
 * The memory of the power-loss shim: which bytes of which files in one directory tree would survive
 * a power cut now. Kept by inode, written line by line to a log outside that tree, at once (the
 * process will be killed). powerloss-apply reads the log.
 *
 * Lines of the log, fields separated by one blank, a path last:
 *   B ino size                      existed when the process began: durable as it is
 *   C seq dir ino path              created (file or directory) in the directory with inode dir
 *   S seq ino size                  synced: the first size bytes are durable, and so is every
 *                                   overwrite with a smaller seq
 *   P seq ino size                  the first size bytes are durable (write through O_DSYNC)
 *   O seq ino offset len pos        durable bytes about to be overwritten or cut off, saved at pos
 *                                   of the file "undo"
 *   R seq dir ino saved from|to     renamed within or between directories; what stood at `to` is
 *                                   kept as the link "saved.<seq>" when saved is 1
 *   U seq dir ino path              unlinked; kept as the link "saved.<seq>"
 *   D seq dir                       directory synced: all its C, R, U with a smaller seq are
 * durable
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct stat;

/** The calls that the shim replaces and itself needs: set by it, so that nothing loops. */
struct pl_real {
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*pread)(int, void *, size_t, off_t);
    int (*unlink)(const char *);
};

/**
 * Begins: scans root for what is there, creates the log in state_dir (which must exist on the same
 * file system and hold no log yet). Ends the process with a message when it cannot: a test must not
 * go on without its injector.
 */
void pl_begin(const char *root, const char *state_dir, const struct pl_real *real);

/** False while the shim is not active, or the path is not inside root. out: absolute path. */
bool pl_inside(int dirfd, const char *path, char *out, size_t out_size);

/** Draws a sequence number. @thread any, as all below. */
uint64_t pl_seq(void);
/** A file or directory that did not exist was created. */
void pl_created(const char *path, const struct stat *st);
/** A file is known to be in the tree. */
bool pl_tracked(ino_t ino);
/** Before durable bytes [offset, offset + len) of fd change: saves them. Elsewhere: nothing. */
void pl_before_change(int fd, ino_t ino, off_t offset, size_t len);
/** A sync that began at seq, when the file had this size, succeeded. */
void pl_synced(uint64_t seq, ino_t ino, off_t size);
/** A write through O_DSYNC succeeded. */
void pl_written_through(ino_t ino, off_t offset, size_t len);
/** A sync of a directory that began at seq succeeded. */
void pl_dir_synced(uint64_t seq, ino_t dir);
/** Before a name goes away or is replaced: keeps its file. @return seq to pass on. */
uint64_t pl_before_name_change(const char *victim, bool *saved);
void pl_renamed(uint64_t seq, bool saved, const char *from, const char *to);
void pl_unlinked(uint64_t seq, bool saved, const char *path, ino_t ino);

#endif
