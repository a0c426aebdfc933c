/* weir-server: settings, then server_open, server_run, server_close. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "broker/restore.h"
#include "broker/server.h"

static int other_action(enum config_action action, const struct config *conf)
{
    switch (action) {
    case CONFIG_HELP:
        config_help(stdout);
        return EXIT_CODE_OK;
    case CONFIG_VERSION:
        puts("weir-server " WEIR_SERVER_VERSION);
        return EXIT_CODE_OK;
    case CONFIG_CHECK:
        puts("configuration is fine");
        return EXIT_CODE_OK;
    case CONFIG_PRINT:
        config_print(conf, stdout);
        return EXIT_CODE_OK;
    case CONFIG_SAMPLE:
        config_sample(stdout);
        return EXIT_CODE_OK;
    case CONFIG_DOC:
        config_doc(stdout);
        return EXIT_CODE_OK;
    case CONFIG_RESTORE:
        return restore_run(conf);
    case CONFIG_RUN:
        break;
    }
    return -1;
}

int main(int argc, char **argv)
{
    static struct config conf; /* large, and lives as long as the process */
    static struct server srv;
    enum config_action action;
    struct werror e = {.code = WERR_OK};
    char why[LOG_TEXT];
    int code;

    if (config_load(&conf, argc, argv, &action, &e) != WERR_OK) {
        fprintf(stderr, "weir-server: %s\n", e.text);
        return EXIT_CODE_USAGE;
    }
    code = other_action(action, &conf);
    if (code >= 0) {
        return code;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a write past a limit on file sizes fails; it must not kill */
    if (server_open(&srv, &conf, &e) != WERR_OK) {
        code = e.code == WERR_INVALID_CONFIG ? EXIT_CODE_USAGE : srv.exit_code;
        log_line(&srv.log, LOG_ERROR, "server", "start_refused", "code=%s why=\"%s\"",
                 werr_name(e.code), log_text(why, e.text, strlen(e.text)));
    } else {
        code = server_run(&srv);
    }
    server_close(&srv);
    return code;
}
