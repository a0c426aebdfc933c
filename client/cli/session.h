#ifndef WEIR_CLI_SESSION_H
#define WEIR_CLI_SESSION_H
/*
 * What every command that talks to a server needs: a connected handle, and one way to report
 * failures: one line on standard error, and an exit code.
 */
#include <weir/weir.h>

#include "client/cli/args.h"

/** Exit codes of the program. */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_REFUSED = 1,
    EXIT_USAGE = 2,
    EXIT_UNREACHABLE = 3,
    EXIT_NOT_FOUND = 4,
    EXIT_DENIED = 5
};

enum output { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_JSONL, OUTPUT_NAME };

struct session {
    weir *w;
    const struct args *args; /**< kept by the caller */
    const char *url;         /**< as given; "" = the default */
    int timeout_ms;
    bool verbose;
    bool troubled; /**< the connection is lost, and that was told */
    enum output output;
};

/**
 * Makes a client and asks the server once, so that an unreachable one is reported before anything
 * else happens. Fails with a line on stderr.
 * @param more NULL, or options for weir_open that come before those of -X
 * @return EXIT_DONE or why not. session_close in both cases.
 */
int session_open(struct session *s, const struct args *a, const char *more);
/** The same without asking the server. @param w[out] a further handle; close with weir_close. */
int session_handle(const struct session *s, const char *more, weir **w);
/**
 * For commands that run long: from now on a lost connection is told on stderr, once, and so is its
 * return. s must stay where it is until session_close. (With --verbose everything is told anyway.)
 */
void session_tell_trouble(struct session *s);
/** Closes at once. Safe on zeroed memory and twice. */
void session_close(struct session *s);

/** The same after waiting, a few seconds at most, until the server heard what was left to say. */
void session_leave(struct session *s);

/** Prints "weir: ..." and a newline on stderr. @return code */
int cli_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/** The exit code of a failure. EXIT_DONE for outcome DONE. */
int exit_code_of(const weir_error *e);
/** Prints a failure as one line. @return its exit code */
int session_fail(const weir_error *e);
/** The same for a call about a topic: an unknown one is named, with the nearest that exists. */
int session_fail_topic(const struct session *s, const char *topic, const weir_error *e);
/** The same for a call about a group. */
int session_fail_group(const struct session *s, const char *group, const weir_error *e);

/**
 * Asks a person. Without a terminal, --yes is needed.
 * @return EXIT_DONE: go on; EXIT_REFUSED: the answer was no; EXIT_USAGE: nobody can be asked.
 */
int session_confirm(const struct session *s, const char *question);

/** Reads --output; table when it was not given. */
enum output args_output(const struct args *a);

#endif
