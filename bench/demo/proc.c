#include "bench/demo/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/demo/board.h"

#define READY_MS 60000

/* Happy path: fork, arrange descriptors, exec. What can fail: all of it; a child that cannot exec
 * ends with 127 and says why in its log. */

static _Noreturn void child(const char *const *argv, const struct proc_setup *s, pid_t parent)
{
    int log = -1;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(127);
    }
    (void)setpgid(0, 0); /* a ^C on the terminal is the director's business */
    if (s->log_path != NULL) {
        log = open(s->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        (void)dup2(log, STDERR_FILENO);
        (void)dup2(log, STDOUT_FILENO);
    }
    if (s->out_fd >= 0) {
        (void)dup2(s->out_fd, STDOUT_FILENO);
    }
    if (s->keep_fd >= 0) {
        (void)fcntl(s->keep_fd, F_SETFD, 0);
    }
    for (size_t i = 0; s->envs != NULL && s->envs[i] != NULL; i++) {
        (void)putenv(strdup(s->envs[i]));
    }
    (void)execv(argv[0], (char *const *)(uintptr_t)argv);
    perror(argv[0]);
    _exit(127);
}

pid_t proc_start(const char *const *argv, const struct proc_setup *setup)
{
    const pid_t parent = getpid();
    const pid_t pid = fork();

    if (pid == 0) {
        child(argv, setup, parent);
    }
    return pid;
}

static int code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int proc_wait(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return 127;
        }
    }
    return code_of(status);
}

bool proc_ended(pid_t pid, int *exit_code)
{
    int status;

    if (waitpid(pid, &status, WNOHANG) != pid) {
        return false;
    }
    *exit_code = code_of(status);
    return true;
}

void proc_kill(pid_t pid)
{
    if (pid > 0) {
        (void)kill(pid, SIGKILL);
        (void)proc_wait(pid);
    }
}

uint64_t proc_rss_bytes(pid_t pid)
{
    char path[64], line[256];
    unsigned long long kib = 0;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    f = pid > 0 ? fopen(path, "re") : NULL;
    if (f == NULL) {
        return 0;
    }
    while (fgets(line, sizeof line, f) != NULL && sscanf(line, "VmRSS: %llu", &kib) != 1) {
    }
    (void)fclose(f);
    return kib * 1024;
}

/* nftw passes no argument to its function. */
static _Thread_local uint64_t du_sum;

static int du_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)type;
    (void)ftw;
    du_sum += (uint64_t)st->st_blocks * 512;
    return 0;
}

uint64_t disk_bytes(const char *dir)
{
    du_sum = 0;
    (void)nftw(dir, du_one, 16, FTW_PHYS);
    return du_sum;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

void remove_tree(const char *dir)
{
    (void)nftw(dir, remove_one, 16, FTW_PHYS | FTW_DEPTH);
}

void server_kill(struct server *s)
{
    if (s->pid > 0) {
        proc_kill(s->pid);
        s->pid = 0;
    }
    if (s->ready_fd > 0) {
        close(s->ready_fd);
        s->ready_fd = 0;
    }
}

int server_stop(struct server *s, int timeout_ms)
{
    const uint64_t deadline = mono_ns() + (uint64_t)timeout_ms * 1000000;
    int code = 0;

    (void)kill(s->pid, SIGTERM);
    while (!proc_ended(s->pid, &code)) {
        if (mono_ns() > deadline) {
            server_kill(s);
            return 128 + SIGKILL;
        }
        (void)poll(NULL, 0, 10);
    }
    s->pid = 0;
    return code;
}

int server_start(struct server *s, const char *const *envs, char *err, size_t err_size)
{
    struct proc_setup setup = {.log_path = s->log_path, .out_fd = -1, .envs = envs};
    char fd_text[16];
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0) {
        (void)snprintf(err, err_size, "pipe: %s", strerror(errno));
        return -1;
    }
    (void)snprintf(fd_text, sizeof fd_text, "%d", fds[1]);
    setup.keep_fd = fds[1];
    s->started_ns = mono_ns();
    s->ready_ns = 0;
    s->line_bytes = 0;
    s->ready_fd = fds[0];
    s->pid = proc_start((const char *const[]){s->binary, "--data", s->data_dir, "--listen",
                                              s->listen, "--ready-fd", fd_text, NULL},
                        &setup);
    close(fds[1]);
    if (s->pid < 0) {
        (void)snprintf(err, err_size, "cannot start %s: %s", s->binary, strerror(errno));
        server_kill(s);
        return -1;
    }
    return 0;
}

int server_ready(struct server *s, int timeout_ms, char *err, size_t err_size)
{
    struct pollfd p = {.fd = s->ready_fd, .events = POLLIN};
    ssize_t got;

    if (s->ready_ns != 0) {
        return 1;
    }
    if (mono_ns() - s->started_ns > READY_MS * UINT64_C(1000000)) {
        (void)snprintf(err, err_size, "the server was not ready after %d s", READY_MS / 1000);
        goto dead;
    }
    if (poll(&p, 1, timeout_ms) <= 0) {
        return 0;
    }
    got = read(s->ready_fd, s->line + s->line_bytes, sizeof s->line - 1 - s->line_bytes);
    if (got <= 0) {
        (void)snprintf(err, err_size, "the server ended (exit %d) before it was ready",
                       proc_wait(s->pid));
        s->pid = 0;
        goto dead;
    }
    s->line_bytes += (size_t)got;
    s->line[s->line_bytes] = '\0';
    if (strchr(s->line, '\n') == NULL) {
        return 0;
    }
    if (sscanf(s->line, "READY %63s", s->listen) != 1) {
        (void)snprintf(err, err_size, "the server said \"%.40s\" instead of READY", s->line);
        goto dead;
    }
    s->ready_ns = mono_ns();
    close(s->ready_fd);
    s->ready_fd = 0;
    return 1;
dead:
    server_kill(s);
    return -1;
}
