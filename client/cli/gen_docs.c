/* Build-time program: writes man pages and completion scripts from the table of commands. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

#include "client/cli/completion.h"
#include "client/cli/man.h"

enum { PATH_SIZE = 4096 };

static bool man_page(FILE *f, const char *page)
{
    bool group = strcmp(page, "weir-group") == 0;
    return man_page_write(f, page, weir_version(),
                          group ? weir_group_config_keys() : weir_topic_config_keys());
}

static bool write_file(const char *folder, const char *file, const char *subject,
                       bool (*fn)(FILE *f, const char *subject))
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "w");
    if (!f) {
        perror(path);
        return false;
    }
    bool ok = fn(f, subject);
    if (fclose(f) != 0 || !ok) {
        perror(path);
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static const char *const shells[][2] = {
        {"bash", "weir"}, {"zsh", "_weir"}, {"fish", "weir.fish"}};
    bool ok = true;
    if (argc != 3) {
        fputs("usage: weir_gen_docs MAN_FOLDER COMPLETION_FOLDER\n", stderr);
        return 2;
    }
    for (size_t i = 0; man_page_name(i); i++) {
        char file[64];
        snprintf(file, sizeof file, "%s.1", man_page_name(i));
        ok = write_file(argv[1], file, man_page_name(i), man_page) && ok;
    }
    for (size_t i = 0; i < 3; i++) {
        ok = write_file(argv[2], shells[i][1], shells[i][0], completion_write) && ok;
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
