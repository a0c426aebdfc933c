#ifndef WEIR_BENCH_DEMO_PROC_H
#define WEIR_BENCH_DEMO_PROC_H
/* Processes that the director starts: the server, the workers, the judge. All of them get SIGKILL
 * from the kernel when the director dies, so nothing is left behind. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** What a new process gets besides its arguments. -1 / NULL = nothing. */
struct proc_setup {
    const char *log_path;    /* standard error (and output, unless out_fd) are appended here */
    int out_fd;              /* becomes standard output; borrowed */
    int keep_fd;             /* stays open in the child under the same number; borrowed */
    const char *const *envs; /* "NAME=value", NULL at the end; added to the environment */
};

/** Starts argv[0] with argv (NULL at the end). @return pid, or -1 with errno. */
pid_t proc_start(const char *const *argv, const struct proc_setup *setup);
/** SIGKILL and wait. pid <= 0: nothing. */
void proc_kill(pid_t pid);
/** Whether it ended; then *exit_code is its exit code, or 128 + the signal. @blocks no */
bool proc_ended(pid_t pid, int *exit_code);
/** Waits for the end. @return as exit_code above. */
int proc_wait(pid_t pid);

/** Resident memory in bytes; 0 when there is no such process. */
uint64_t proc_rss_bytes(pid_t pid);
/** Bytes on disk that the files below dir use. */
uint64_t disk_bytes(const char *dir);
/** Removes dir with all below. */
void remove_tree(const char *dir);

/* A server under test. */
struct server {
    const char *binary, *data_dir, *log_path;
    char listen[64];               /* given on: after a restart the same port is used */
    pid_t pid;                     /* 0 = none */
    uint64_t started_ns, ready_ns; /* monotonic, of the last start; ready 0 = not yet */
    int ready_fd;                  /* while it is not ready */
    char line[128];
    size_t line_bytes;
};

/** Starts it. envs as above. @return 0, or -1 with a sentence in err. */
int server_start(struct server *s, const char *const *envs, char *err, size_t err_size);
/**
 * Waits up to timeout_ms for it to be ready.
 * @return 1 ready, 0 not yet, -1 it never will be (a sentence in err; the process is gone).
 */
int server_ready(struct server *s, int timeout_ms, char *err, size_t err_size);
/** SIGTERM, and SIGKILL when it takes longer than timeout_ms. @return its exit code, as proc_ended
 */
int server_stop(struct server *s, int timeout_ms);
/** Kills and forgets it. Safe when there is none. */
void server_kill(struct server *s);

#endif
