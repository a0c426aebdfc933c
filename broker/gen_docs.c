/*
 * Build-time program: writes weir-server(8), weir.toml(5) and the sample configuration file from
 * the table of settings and the exit codes, so that they cannot say anything else than the server.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/config_row.h"
#include "broker/server.h"

static const struct {
    int code;
    const char *text;
} exits[] = {
    {EXIT_CODE_OK, "Stopped as asked."},
    {EXIT_CODE_USAGE, "A setting is wrong; the message names file, line, key and range."},
    {EXIT_CODE_DATA_LOSS, "Acknowledged data is missing, or the store is damaged; nothing was "
                          "changed. See OPERATIONS.md, \"Refused to start\"."},
    {EXIT_CODE_UNAVAILABLE, "An address cannot be listened on."},
    {EXIT_CODE_STORAGE, "The storage failed while running. What was in flight was answered as "
                        "unknown; the next start recovers."},
    {EXIT_CODE_IO, "The data directory cannot be opened."},
    {EXIT_CODE_LOCKED, "Another process has the data directory."},
};

/* Text for troff: backslashes and hyphens escaped, no line that begins with a control character. */
static void text(FILE *f, const char *s)
{
    if (*s == '.' || *s == '\'') {
        fputs("\\&", f);
    }
    for (; *s != '\0'; s++) {
        const char *special = *s == '\\' ? "\\e" : *s == '-' ? "\\-" : *s == '\'' ? "\\(aq" : NULL;

        if (special != NULL) {
            fputs(special, f);
        } else {
            fputc(*s, f);
        }
    }
}

static void head(FILE *f, const char *name, int section, const char *summary)
{
    fprintf(f, ".TH \"%s\" %d \"\" \"weir %s\" \"weir\"\n.SH NAME\n", name, section,
            WEIR_SERVER_VERSION);
    text(f, name);
    fputs(" \\- ", f);
    text(f, summary);
    fputc('\n', f);
}

static void item(FILE *f, const char *term, const char *argument, const char *what)
{
    fputs(".TP\n\\fB", f);
    text(f, term);
    fputs("\\fR", f);
    if (argument[0] != '\0') {
        fputs(" \\fI", f);
        text(f, argument);
        fputs("\\fR", f);
    }
    fputc('\n', f);
    text(f, what);
    fputc('\n', f);
}

static void server_page(FILE *f)
{
    head(f, "weir-server", 8, "message-queue broker");
    fputs(".SH SYNOPSIS\n\\fBweir\\-server\\fR [\\fB\\-\\-config\\fR \\fIFILE\\fR] "
          "[\\fB\\-\\-\\fIkey\\fR \\fIvalue\\fR ...]\n.br\n\\fBweir\\-server \\-\\-dev\\fR\n"
          ".SH DESCRIPTION\n",
          f);
    text(f, "weir-server keeps topics of messages on disk. Producers append to them, consumers and "
            "groups of workers take from them at their own pace; what was acknowledged is on disk. "
            "It serves 127.0.0.1:9347 and keeps its data in /var/lib/weir unless it is told "
            "something else. It stays in the foreground and logs to standard error.\n");
    fputs(".PP\n", f);
    text(f, "Every setting of weir.toml(5) is also an option: --key VALUE or --key=VALUE, with "
            "dashes or underscores in the key. An option beats the environment, which beats the "
            "file.\n");
    fputs(".SH OPTIONS\n", f);
    item(f, "--config", "FILE", "Read settings from a file. Also: WEIR_CONFIG in the environment.");
    item(f, "--check-config", "", "Check all settings and exit: 0 when they are fine, else 64.");
    item(f, "--print-config", "",
         "Print every setting and where its value came from, as a file that can be used.");
    item(f, "--sample-config", "", "Print a file with every setting, explained and commented out.");
    item(f, "--config-doc", "", "Print all settings as a table in Markdown.");
    item(f, "--restore", "BACKUP",
         "Copy a backup, made by weir backup create, to the directory of --data, which must not "
         "exist "
         "or be empty, open it once to see that it is whole, and exit. The server is then started "
         "as "
         "usual. What had been stored after the backup is not there, and its offsets are used "
         "again.");
    item(f, "--version", "", "Print the version.");
    item(f, "--help", "", "Print all settings with their defaults.");
    fputs(".SH SIGNALS\n", f);
    item(f, "SIGTERM, SIGINT", "",
         "Take no new work, finish and answer what is in flight, close the store, exit with 0. A "
         "second one stops at once, which is safe: the next start recovers.");
    item(f, "SIGHUP", "",
         "Read all settings again. Those marked \"live\" in weir.toml(5) are taken, the log names "
         "the others. When anything is wrong nothing changes.");
    fputs(".SH \"EXIT STATUS\"\n", f);
    for (size_t i = 0; i < sizeof exits / sizeof exits[0]; i++) {
        char code[16];

        snprintf(code, sizeof code, "%d", exits[i].code);
        item(f, code, "", exits[i].text);
    }
    fputs(".SH ENVIRONMENT\n", f);
    item(f, "WEIR_CONFIG", "", "The file, as --config.");
    item(f, "WEIR_KEY", "", "Any setting, its name in capitals: WEIR_LOG_LEVEL=debug.");
    item(f, "NOTIFY_SOCKET", "", "Where to tell systemd about READY, RELOADING and STOPPING.");
    fputs(".SH FILES\n", f);
    item(f, "/etc/weir/weir.toml", "", "The settings that the packaged service uses.");
    item(f, "/var/lib/weir", "", "The store.");
    fputs(".SH \"SEE ALSO\"\n\\fBweir\\fR(1), \\fBweir.toml\\fR(5), \\fBweir\\-dump\\fR(8)\n", f);
}

static void settings(FILE *f)
{
    static const char *const types[] = {"text", "list of texts", "number",
                                        "size", "time",          "true or false"};

    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const struct config_row *r = config_row(i);
        char range[96] = "", least[32], most[32];

        if (r->max != 0 && r->type != TYPE_BOOL) {
            snprintf(range, sizeof range, " from %s to %s", config_short(r, r->min, least),
                     config_short(r, r->max, most));
        }
        fputs(".TP\n\\fB", f);
        text(f, r->key);
        fprintf(f, "\\fR (%s%s; ", types[r->type], range);
        fputs(r->def[0] != '\0' ? "default \\fI" : "no default", f);
        text(f, r->def);
        fprintf(f, "%s%s)\n", r->def[0] != '\0' ? "\\fR" : "",
                r->when == WHEN_LIVE ? "; live" : "");
        text(f, r->doc);
        fputc('\n', f);
    }
}

static void toml_page(FILE *f)
{
    head(f, "weir.toml", 5, "settings of weir-server");
    fputs(".SH DESCRIPTION\n", f);
    text(f, "Lines of key = value, a subset of TOML: texts may be quoted, # begins a comment, a "
            "list is [\"a\", \"b\"] or one line for each item. No setting is required. Sizes take "
            "k, M and G (powers of 1024), times ms, s, m, h and d; without one they are bytes and "
            "milliseconds. An unknown key or a bad value refuses to start, with file, line, key "
            "and range.\n");
    fputs(".PP\n", f);
    text(f, "Each key is also an option, --key, and an environment variable, WEIR_KEY; the option "
            "wins, then the variable. weir-server --print-config says what is in force and why. "
            "Settings marked \"live\" change on SIGHUP, the others at the next start.\n");
    fputs(".SH SETTINGS\n", f);
    settings(f);
    fputs(".SH EXAMPLE\n.nf\n", f);
    text(f, "data = \"/srv/weir\"\n");
    text(f, "listen = [\"127.0.0.1:9347\", \"unix:/run/weir/weir.sock\"]\n");
    text(f, "memory = \"1G\"\nmin_free = \"20G\"\n");
    fputs(".fi\n.SH \"SEE ALSO\"\n\\fBweir\\-server\\fR(8)\n", f);
}

static bool write_file(const char *folder, const char *name, void (*fn)(FILE *f))
{
    char path[4096];
    FILE *f;
    bool ok;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "we");
    if (f == NULL) {
        perror(path);
        return false;
    }
    fn(f);
    ok = ferror(f) == 0;
    ok = fclose(f) == 0 && ok;
    if (!ok) {
        perror(path);
    }
    return ok;
}

int main(int argc, char **argv)
{
    bool ok;

    if (argc != 2) {
        fputs("usage: weir_gen_server_docs FOLDER\n", stderr);
        return EXIT_FAILURE;
    }
    ok = write_file(argv[1], "weir-server.8", server_page);
    ok = write_file(argv[1], "weir.toml.5", toml_page) && ok;
    ok = write_file(argv[1], "weir.toml", config_sample) && ok;
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
