#ifndef WEIR_CLI_DOCTOR_H
#define WEIR_CLI_DOCTOR_H
/*
 * What weir doctor looks at. Each check adds findings to one report; it changes nothing but a file
 * without a name in the data directory, which the disk probe writes and which is gone at its end.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum finding_level {
    FINDING_OK,
    FINDING_WARN, /**< works, but slower or with less room than it could */
    FINDING_BAD   /**< the server does not start, stops, or can lose what it has acknowledged */
};

struct finding {
    enum finding_level level;
    const char *check; /**< "file_system"; constant */
    char found[256];   /**< what was found */
    char change[256];  /**< what to do; "" when OK */
};

enum { REPORT_MAX = 32 };

struct report {
    struct finding rows[REPORT_MAX];
    size_t n;
};

/** Adds a finding. change NULL or "": nothing to do. Text is cut to its room. */
void report_add(struct report *r, enum finding_level level, const char *check, const char *change,
                const char *found_fmt, ...) __attribute__((format(printf, 5, 6)));

/** Limits on open files (of the running server when `server_pid` > 0), clock, memory. */
void doctor_host(struct report *r, long server_pid);
/**
 * Directory and disk: permissions, file system, mount options, free space, time of a sync.
 * @param dir the data directory; when there is none yet, the nearest one above it is looked at
 */
void doctor_disk(struct report *r, const char *dir);
/** Floor files and lock of the store in dir. @return the pid of the server that has it open, or 0
 */
long doctor_store(struct report *r, const char *dir);

enum floor_state { FLOOR_NONE, FLOOR_VALID, FLOOR_NEWER, FLOOR_BROKEN };
/** What a floor file's bytes are (docs/STORAGE_FORMAT.md). @param seq[out] of a valid one. Pure. */
enum floor_state floor_judge(const uint8_t *p, size_t n, uint64_t *seq);

struct mount_info {
    char point[256], type[32], options[512]; /**< of the mount and of its super block, by commas */
};
/**
 * Reads one line of /proc/self/mountinfo. @return false: not one. Pure.
 */
bool mount_parse(const char *line, struct mount_info *m);
/** True when path is the mount point or below it. */
bool mount_holds(const struct mount_info *m, const char *path);
/** True when the comma-separated options hold exactly this one. */
bool mount_has(const struct mount_info *m, const char *option);

#endif
