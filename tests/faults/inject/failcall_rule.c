/*
 * The rule of the failing-call shim.
 *
 * Happy path: a call of the watched kind on a watched file is counted; the one with the right
 * number is told to fail and noted in the log. What can fail: nothing may here, so nothing is
 * allocated and what cannot be found out (a path longer than PATH_MAX, a closed descriptor) does
 * not count. Counters are atomic: calls of many threads get numbers in some order. The thread that
 * asks for a path or writes the log makes system calls of its own, past the wrappers.
 */
#include "tests/faults/inject/failcall_rule.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum fail_mode { MODE_ONCE, MODE_STICKY, MODE_EVERY };

static const char *const call_names[FAIL_CALLS] = {
    "write",  "pwrite",    "writev",          "pwritev",   "read",      "pread",
    "fsync",  "fdatasync", "sync_file_range", "fallocate", "ftruncate", "open",
    "openat", "close",     "rename",          "unlink",    "mkdir",     "alloc"};

static const struct {
    const char *name;
    int value;
} error_names[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EINTR", EINTR},
                   {"EROFS", EROFS},   {"EMFILE", EMFILE}, {"ENFILE", ENFILE},
                   {"ENOMEM", ENOMEM}, {"EDQUOT", EDQUOT}, {"SHORT", FAIL_SHORT}};

/* A preloaded library has nobody to hand its state to: the one place where it lives. */
static struct {
    uint32_t calls; /* bit per enum fail_call */
    int error;
    enum fail_mode mode;
    bool program_only;
    uintptr_t program_start, program_end;
    char dir[PATH_MAX], real_dir[PATH_MAX];
    char suffix[64];
    int log_fd;
    struct fail_control own, *control;
} rule = {.log_fd = -1};

static void give_up(const char *what, const char *word)
{
    (void)dprintf(2, "failcall: %s: %s\n", what, word);
    _exit(96);
}

static const char *error_name(int error)
{
    for (size_t i = 0; i < sizeof error_names / sizeof error_names[0]; i++) {
        if (error_names[i].value == error) {
            return error_names[i].name;
        }
    }
    return "?";
}

/* ---- the words of the rule */

static void set_calls(char *names)
{
    char *save = NULL;

    for (char *n = strtok_r(names, "+", &save); n != NULL; n = strtok_r(NULL, "+", &save)) {
        size_t i = 0;

        while (i < FAIL_CALLS && strcmp(call_names[i], n) != 0) {
            i++;
        }
        if (i == FAIL_CALLS) {
            give_up("no such call", n);
        }
        rule.calls |= 1U << i;
    }
}

static void set_error(const char *name)
{
    for (size_t i = 0; i < sizeof error_names / sizeof error_names[0]; i++) {
        if (strcmp(error_names[i].name, name) == 0) {
            rule.error = error_names[i].value;
            return;
        }
    }
    give_up("no such errno", name);
}

static void set_mode(const char *name)
{
    rule.mode = strcmp(name, "sticky") == 0  ? MODE_STICKY
                : strcmp(name, "every") == 0 ? MODE_EVERY
                                             : MODE_ONCE;
    if (rule.mode == MODE_ONCE && strcmp(name, "once") != 0) {
        give_up("no such mode", name);
    }
}

static void set_word(char *word)
{
    char *value = strchr(word, '=');

    if (value == NULL) {
        give_up("not NAME=VALUE", word);
        return;
    }
    *value++ = '\0';
    if (strcmp(word, "call") == 0) {
        set_calls(value);
    } else if (strcmp(word, "errno") == 0) {
        set_error(value);
    } else if (strcmp(word, "at") == 0) {
        rule.own.at = strtoull(value, NULL, 10);
    } else if (strcmp(word, "mode") == 0) {
        set_mode(value);
    } else if (strcmp(word, "dir") == 0) {
        (void)snprintf(rule.dir, sizeof rule.dir, "%s", value);
    } else if (strcmp(word, "suffix") == 0) {
        (void)snprintf(rule.suffix, sizeof rule.suffix, "%s", value);
    } else if (strcmp(word, "from") == 0 && strcmp(value, "program") == 0) {
        rule.program_only = true;
    } else {
        give_up("no such word", word);
    }
}

/* The first object is the program; the addresses of its code are what "from=program" means. */
static int find_program(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];

        if (p->p_type == PT_LOAD && (p->p_flags & PF_X) != 0) {
            rule.program_start = info->dlpi_addr + p->p_vaddr;
            rule.program_end = rule.program_start + p->p_memsz;
        }
    }
    return 1;
}

static void map_control(const char *path)
{
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    void *map = MAP_FAILED;

    if (fd >= 0) {
        map = mmap(NULL, sizeof *rule.control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        syscall(SYS_close, fd);
    }
    if (map == MAP_FAILED || ((struct fail_control *)map)->magic != FAIL_MAGIC) {
        give_up("cannot map the control file", path);
    }
    rule.control = map;
}

void fail_begin(void)
{
    const char *text = getenv("WEIR_FAIL"), *log = getenv("WEIR_FAIL_LOG");
    const char *control = getenv("WEIR_FAIL_CONTROL");
    char words[PATH_MAX + 256], *save = NULL;

    rule.control = &rule.own;
    if (text == NULL || *text == '\0') {
        return;
    }
    rule.own = (struct fail_control){.magic = FAIL_MAGIC, .armed = 1, .at = 1};
    rule.error = EIO;
    (void)snprintf(words, sizeof words, "%s", text);
    for (char *w = strtok_r(words, ",", &save); w != NULL; w = strtok_r(NULL, ",", &save)) {
        set_word(w);
    }
    if (rule.calls == 0 || rule.own.at == 0) {
        give_up("no call, or at=0", text);
    }
    if (rule.dir[0] != '\0' && realpath(rule.dir, rule.real_dir) == NULL) {
        memcpy(rule.real_dir, rule.dir, sizeof rule.real_dir); /* not there yet */
    }
    (void)dl_iterate_phdr(find_program, NULL);
    if (log != NULL) {
        rule.log_fd = (int)syscall(SYS_openat, AT_FDCWD, log,
                                   O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (rule.log_fd < 0) {
            give_up("cannot open the log", log);
        }
    }
    if (control != NULL) {
        map_control(control);
    }
}

bool fail_watches(enum fail_call call)
{
    return (rule.calls & (1U << call)) != 0;
}

/* ---- counting */

static void note(enum fail_call call, uint64_t number, const char *what)
{
    char line[PATH_MAX + 128];
    const int n = snprintf(line, sizeof line, "%s %s %llu %s\n", call_names[call],
                           error_name(rule.error), (unsigned long long)number, what);

    if (rule.log_fd >= 0 && n > 0) {
        syscall(SYS_write, rule.log_fd, line,
                (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
    }
}

/* Who asked: the library and the place in it, which addr2line understands. */
static void note_caller(enum fail_call call, uint64_t number, size_t bytes, const void *caller)
{
    const char *name = "?";
    char what[PATH_MAX + 64];
    Dl_info info;
    size_t at = 0;

    if (dladdr(caller, &info) != 0 && info.dli_fname != NULL) {
        name = info.dli_fname;
        at = (size_t)((uintptr_t)caller - (uintptr_t)info.dli_fbase);
    }
    (void)snprintf(what, sizeof what, "%zu bytes for %s+0x%zx", bytes, name, at);
    note(call, number, what);
}

/* True when this call fails; *number is what it was counted as. */
static bool count(uint64_t *number)
{
    struct fail_control *c = rule.control;
    const uint64_t at = __atomic_load_n(&c->at, __ATOMIC_RELAXED);
    uint64_t n;
    bool fails;

    __atomic_add_fetch(&c->seen, 1, __ATOMIC_RELAXED);
    if (__atomic_load_n(&c->armed, __ATOMIC_ACQUIRE) == 0) {
        return false;
    }
    n = __atomic_add_fetch(&c->hits, 1, __ATOMIC_RELAXED);
    fails = rule.mode == MODE_ONCE     ? n == at
            : rule.mode == MODE_STICKY ? n >= at
                                       : at > 0 && n % at == 0;
    if (fails) {
        __atomic_add_fetch(&c->fired, 1, __ATOMIC_RELAXED);
    }
    *number = n;
    return fails;
}

static bool below(const char *path, const char *dir)
{
    const size_t n = strlen(dir);

    return n > 0 && strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static bool counts(const char *path)
{
    const size_t n = strlen(path), s = strlen(rule.suffix);
    struct stat st;

    if (!below(path, rule.dir) && !below(path, rule.real_dir)) {
        return false;
    }
    if (strcmp(rule.suffix, "/") == 0) {
        return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    }
    return n >= s && strcmp(path + n - s, rule.suffix) == 0;
}

/* The path of an open file; empty when it has none. */
static void path_of(int fd, char *path, size_t size)
{
    char link[32];
    ssize_t n;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    n = readlink(link, path, size - 1);
    path[n > 0 ? n : 0] = '\0';
}

static int on_path(enum fail_call call, const char *path)
{
    uint64_t number = 0;
    const int saved_errno = errno;
    const bool fails = counts(path) && count(&number);

    if (fails) {
        note(call, number, path);
    }
    errno = saved_errno;
    return fails ? rule.error : 0;
}

/* Also for calls of our own: only a file call from outside of the program can be left out here. */
int fail_on_fd(enum fail_call call, int fd)
{
    const int saved_errno = errno;
    char path[PATH_MAX];

    path_of(fd, path, sizeof path);
    errno = saved_errno;
    return on_path(call, path);
}

int fail_on_path(enum fail_call call, int dirfd, const char *path)
{
    const int saved_errno = errno;
    char base[PATH_MAX], full[2 * PATH_MAX];

    if (path[0] == '/') {
        (void)snprintf(full, sizeof full, "%s", path);
    } else {
        if (dirfd != AT_FDCWD) {
            path_of(dirfd, base, sizeof base);
        } else if (getcwd(base, sizeof base) == NULL) {
            base[0] = '\0';
        }
        (void)snprintf(full, sizeof full, "%s/%s", base, path);
    }
    errno = saved_errno;
    return on_path(call, full);
}

int fail_on_alloc(size_t bytes, const void *caller)
{
    const uintptr_t at = (uintptr_t)caller;
    const int saved_errno = errno;
    uint64_t number = 0;
    bool fails = !rule.program_only || (at >= rule.program_start && at < rule.program_end);

    fails = fails && count(&number);
    if (fails) {
        note_caller(FAIL_ALLOC, number, bytes, caller);
    }
    errno = saved_errno;
    return fails ? rule.error : 0;
}
