#include "tests/blackbox/client/server.h"

#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READY_MS = 20000, TERM_MS = 15000, READY_FD = 3 };

/* In the child: becomes the server. */
static void exec_server(const struct server *s, int ready)
{
    const char *program = getenv("WEIR_SERVER");
    char data[80];
    int log;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(data, sizeof data, "%s/log", s->dir);
    log = open(data, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(log, 1);
    dup2(log, 2);
    snprintf(data, sizeof data, "%s/data", s->dir);
    if (dup2(ready, READY_FD) == READY_FD && program) {
        execl(program, program, "--listen", s->listen, "--data", data, "--ready-fd", "3",
              (char *)NULL);
    }
    _exit(127);
}

/* Reads "READY host:port" or "READY host port". */
static bool wait_ready(struct server *s, int fd)
{
    struct pollfd p = {fd, POLLIN, 0};
    char line[128] = "", host[40], *colon;
    unsigned port;
    ssize_t n;

    if (poll(&p, 1, READY_MS) != 1 || (n = read(fd, line, sizeof line - 1)) <= 0) {
        return false;
    }
    line[n] = 0;
    colon = strrchr(line, ':');
    if (colon) {
        *colon = ' ';
    }
    if (sscanf(line, "READY %39s %u", host, &port) != 2) {
        return false;
    }
    snprintf(s->listen, sizeof s->listen, "%s:%u", host, port);
    snprintf(s->url, sizeof s->url, "weir://%s", s->listen);
    return true;
}

bool server_start(struct server *s)
{
    int fds[2];
    bool ready;

    if (pipe(fds) != 0) {
        return false;
    }
    fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    s->pid = fork();
    if (s->pid == 0) {
        close(fds[0]);
        exec_server(s, fds[1]);
    }
    close(fds[1]);
    ready = s->pid > 0 && wait_ready(s, fds[0]);
    close(fds[0]);
    if (!ready) {
        fprintf(stderr, "weir-server did not get ready; its log is in %s/log\n", s->dir);
    }
    return ready;
}

bool server_init(struct server *s)
{
    memset(s, 0, sizeof *s);
    snprintf(s->dir, sizeof s->dir, "/tmp/weir-test-XXXXXX");
    snprintf(s->listen, sizeof s->listen, "127.0.0.1:0");
    return mkdtemp(s->dir) && server_start(s);
}

void server_kill(struct server *s)
{
    if (s->pid > 0) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
        s->pid = 0;
    }
}

int server_term(struct server *s)
{
    int fd = (int)syscall(SYS_pidfd_open, s->pid, 0), status = -1;
    struct pollfd p = {fd, POLLIN, 0};

    kill(s->pid, SIGTERM);
    if (fd >= 0 && poll(&p, 1, TERM_MS) == 1) {
        waitpid(s->pid, &status, 0);
        s->pid = 0;
    }
    close(fd);
    return status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void server_fini(struct server *s)
{
    server_kill(s);
    nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
