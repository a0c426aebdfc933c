/*
 * weir doctor: the store's own files. Only their first bytes and names are read: weir-dump --fsck
 * looks at everything, and needs a server that is stopped.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/doctor.h"

enum { PATH = 4096, FLOOR_MAX = 64 << 20 };

/* The pid in weir.lock, if that process is a weir-server: the file stays when the server goes. */
static long server_of(const char *dir)
{
    char path[PATH];
    char comm[32] = "";
    long pid = 0;
    snprintf(path, sizeof path, "%s/weir.lock", dir);
    FILE *f = fopen(path, "re");
    if (f) {
        if (fgets(comm, sizeof comm, f)) {
            pid = strtol(comm, NULL, 10);
        }
        fclose(f);
    }
    if (pid <= 0) {
        return 0;
    }
    snprintf(path, sizeof path, "/proc/%ld/comm", pid);
    f = fopen(path, "re");
    if (!f || !fgets(comm, sizeof comm, f) || strcmp(comm, "weir-server\n") != 0) {
        pid = 0;
    }
    if (f) {
        fclose(f);
    }
    return pid;
}

static enum floor_state judge_file(const char *path, uint64_t *seq, int *error)
{
    enum floor_state state = FLOOR_BROKEN;
    uint8_t *bytes = NULL;
    FILE *f = fopen(path, "re");
    *error = f ? 0 : errno;
    if (!f) {
        return errno == ENOENT ? FLOOR_NONE : FLOOR_BROKEN;
    }
    long size = fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
    rewind(f);
    if (size > 0 && size <= FLOOR_MAX && (bytes = malloc((size_t)size))) {
        size_t n = fread(bytes, 1, (size_t)size, f);
        *error = ferror(f) ? EIO : 0;
        state = *error ? FLOOR_BROKEN : floor_judge(bytes, n, seq);
    }
    free(bytes);
    fclose(f);
    return state;
}

static void check_floor(struct report *r, const char *dir, bool live)
{
    enum floor_state state[2];
    char path[PATH];
    uint64_t seq[2] = {0, 0};
    int valid = 0;
    int error[2];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/floor.%d", dir, i);
        state[i] = judge_file(path, &seq[i], &error[i]);
        valid += state[i] == FLOOR_VALID;
    }
    snprintf(path, sizeof path, "%s/CURRENT", dir);
    const bool store = access(path, F_OK) == 0;
    if (error[0] == EACCES || error[1] == EACCES) {
        report_add(r, FINDING_WARN, "floor", "run weir doctor as the server's user or as root",
                   "the floor files cannot be read: permission denied");
    } else if (state[0] == FLOOR_NEWER || state[1] == FLOOR_NEWER) {
        report_add(r, FINDING_BAD, "floor",
                   "install the version of weir that wrote it, or a newer one",
                   "a newer version of weir wrote this store");
    } else if (valid > 0) {
        report_add(r, FINDING_OK, "floor", NULL, "%d of 2 slots valid, seq %" PRIu64 "%s", valid,
                   seq[0] > seq[1] ? seq[0] : seq[1],
                   valid == 1 ? " (one is enough: they are written in turns)" : "");
    } else if (!store && state[0] == FLOOR_NONE && state[1] == FLOOR_NONE) {
        report_add(r, FINDING_OK, "floor", NULL, "no store here yet");
    } else if (live) {
        report_add(r, FINDING_WARN, "floor", "run weir doctor again; look at the server's log",
                   "no slot was valid just now, and a server is writing them");
    } else {
        report_add(r, FINDING_BAD, "floor",
                   "restore a backup; --accept_data_loss starts with what is left",
                   "%s: the server will refuse to start",
                   store ? "a database, but no valid floor file" : "the floor files are damaged");
    }
}

long doctor_store(struct report *r, const char *dir)
{
    long pid = server_of(dir);
    if (pid > 0) {
        report_add(r, FINDING_OK, "server", NULL, "weir-server has it open, pid %ld", pid);
    } else {
        report_add(r, FINDING_OK, "server", NULL, "no weir-server has it open");
    }
    check_floor(r, dir, pid > 0);
    return pid;
}
