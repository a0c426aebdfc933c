/*
 * weir backup create, weir backup verify.
 * Happy path: one request that is answered when the copy is on disk; a program beside this one that
 * reads a copy through.
 * What can fail: the server's answer (one line); weir-dump that is not there.
 */
#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/cli/json.h"
#include "client/cli/run.h"
#include "client/cli/session.h"

enum { MADE_MS = 600000 };

extern char **environ;

static void show(const weir_backup_info *b, enum output output)
{
    struct json j;

    if (output == OUTPUT_TABLE) {
        printf("%s: %" PRIu64 " files, %" PRIu64 " bytes, made in %" PRIu64 " ms\n", b->path,
               b->files, b->bytes, b->took_ms);
        return;
    }
    json_init(&j, stdout, output == OUTPUT_JSON);
    json_open(&j, NULL, '{');
    json_text(&j, "path", b->path);
    json_uint(&j, "files", b->files);
    json_uint(&j, "bytes", b->bytes);
    json_int(&j, "created_ms", b->created_ms);
    json_uint(&j, "took_ms", b->took_ms);
    json_close(&j, '}');
    json_end(&j);
}

int run_backup_create(const struct args *a)
{
    struct session s = {0};
    weir_backup_info info;
    weir_error e;
    int r = session_open(&s, a, NULL);

    if (!r) {
        e = weir_backup_create(s.w, a->n_words > 0 ? a->words[0] : NULL, &info,
                               args_has(a, OPT_TIMEOUT) ? s.timeout_ms : MADE_MS);
        if (e.outcome == WEIR_DONE) {
            show(&info, s.output);
        } else {
            r = session_fail(&e);
        }
    }
    session_close(&s);
    return r;
}

/* weir-dump in the directory of this program; "weir-dump", to be found in PATH, when it is not. */
static const char *dump_program(char *path, size_t size)
{
    static const char name[] = "weir-dump";
    const ssize_t n = readlink("/proc/self/exe", path, size - sizeof name);
    char *slash;

    if (n > 0) {
        path[n] = '\0';
        slash = strrchr(path, '/');
        if (slash) {
            memcpy(slash + 1, name, sizeof name);
            if (access(path, X_OK) == 0) {
                return path;
            }
        }
    }
    return name;
}

int run_backup_verify(const struct args *a)
{
    char path[4096], program[] = "weir-dump", option[] = "--backup", end[] = "--";
    char *argv[] = {program, option, end, NULL, NULL};
    char dir[4096];
    int status = 0, err;
    pid_t pid;

    if ((size_t)snprintf(dir, sizeof dir, "%s", a->words[0]) >= sizeof dir) {
        return cli_fail(EXIT_REFUSED, "%.100s...: the path is too long", a->words[0]);
    }
    argv[3] = dir;
    err = posix_spawnp(&pid, dump_program(path, sizeof path), NULL, NULL, argv, environ);
    if (err) {
        return cli_fail(EXIT_REFUSED, "weir-dump (package weir-server): %s", strerror(err));
    }
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return cli_fail(EXIT_REFUSED, "weir-dump: %s", strerror(errno));
        }
    }
    if (WIFSIGNALED(status)) {
        return cli_fail(EXIT_REFUSED, "weir-dump was ended by signal %d", WTERMSIG(status));
    }
    return WEXITSTATUS(status) == 0 ? EXIT_DONE : EXIT_REFUSED;
}
