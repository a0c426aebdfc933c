/*
 * weir group seek: moves a group's positions.
 * Happy path: the group is described; each partition that is meant gets its new position, from --to
 * or from a file; one call moves them all; old and new ones are printed.
 * What can fail: the file (line by line), a partition that the group does not read, the server's
 * answers. All or nothing is moved.
 * Who owns what: the plan owns its array; topic names in it point into the group's description.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/clock.h"
#include "client/cli/json.h"
#include "client/cli/lines.h"
#include "client/cli/reader.h"
#include "client/cli/run.h"
#include "client/cli/seekspec.h"
#include "client/cli/session.h"
#include "client/cli/table.h"

enum { LINE_MAX_BYTES = 1024 };

struct plan {
    struct session s;
    const char *group_name;
    const char *only;  /* topic; NULL = all */
    int32_t partition; /* -1 = all */
    weir_group *group;
    weir_seek *seeks;
    size_t n, cap;
};

static int add(struct plan *p, const char *topic, int32_t partition, int64_t to)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->seeks[i].partition == partition && strcmp(p->seeks[i].topic, topic) == 0) {
            return cli_fail(EXIT_USAGE, "%s/%" PRId32 " is named twice", topic, partition);
        }
    }
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 64;
        weir_seek *more = reallocarray(p->seeks, cap, sizeof *more);
        if (!more) {
            return cli_fail(EXIT_REFUSED, "out of memory");
        }
        p->seeks = more;
        p->cap = cap;
    }
    p->seeks[p->n++] = (weir_seek){topic, partition, to, -1};
    return EXIT_DONE;
}

static bool meant(const struct plan *p, const char *topic, int32_t partition)
{
    return (!p->only || strcmp(p->only, topic) == 0) &&
           (p->partition < 0 || p->partition == partition);
}

static int plan_spec(struct plan *p, const struct seek_spec *spec)
{
    const weir_group_partition_info *i;
    int r = EXIT_DONE;
    for (size_t k = 0; !r && (i = weir_group_partition(p->group, k)) != NULL; k++) {
        int64_t to = seek_spec_offset(spec, i->position, i->log_start, i->high_watermark);
        if (!meant(p, i->topic, i->partition)) {
            continue;
        }
        if (spec->kind == SEEK_TIME) {
            weir_error e = weir_offset(p->s.w, i->topic, i->partition, spec->value, &to, NULL,
                                       p->s.timeout_ms);
            if (e.outcome != WEIR_DONE) {
                return session_fail_topic(&p->s, i->topic, &e);
            }
        }
        r = add(p, i->topic, i->partition, to);
    }
    return r;
}

/* The group's own copy of a name; NULL: it does not read that partition. */
static const char *topic_of(const struct plan *p, const struct position *at)
{
    const weir_group_partition_info *i;
    for (size_t k = 0; (i = weir_group_partition(p->group, k)) != NULL; k++) {
        if (i->partition == at->partition && strcmp(i->topic, at->topic) == 0) {
            return i->topic;
        }
    }
    return NULL;
}

static int plan_line(struct plan *p, const char *file, int64_t number, const char *line, size_t n)
{
    struct position at;
    const char *topic;
    switch (position_parse(line, n, &at)) {
    case POSITION_NONE:
        return EXIT_DONE;
    case POSITION_BAD:
        return cli_fail(EXIT_USAGE, "%s, line %" PRId64 ": not of the form TOPIC PARTITION OFFSET",
                        file, number);
    case POSITION_OK:
        break;
    }
    if (!meant(p, at.topic, at.partition)) {
        return EXIT_DONE;
    }
    topic = topic_of(p, &at);
    return topic ? add(p, topic, at.partition, at.offset)
                 : cli_fail(EXIT_NOT_FOUND,
                            "%s, line %" PRId64 ": group '%s' does not read %s/%" PRId32, file,
                            number, p->group_name, at.topic, at.partition);
}

static int plan_file(struct plan *p, const char *file)
{
    struct lines lines = {0};
    const char *line;
    size_t n;
    int r = EXIT_DONE;
    bool end = false;
    int fd = strcmp(file, "-") == 0 ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cli_fail(EXIT_REFUSED, "cannot open %s: %s", file, strerror(errno));
    }
    if (!lines_init(&lines, fd, LINE_MAX_BYTES)) {
        r = cli_fail(EXIT_REFUSED, "out of memory");
    }
    for (int64_t number = 1; !r && !end;) {
        switch (lines_next(&lines, &line, &n)) {
        case LINE_OK:
            r = plan_line(p, file, number++, line, n);
            break;
        case LINE_TOO_LONG:
            r = cli_fail(EXIT_USAGE, "%s, line %" PRId64 ": too long", file, number);
            break;
        case LINE_MORE:
            if (lines_fill(&lines)) {
                r = cli_fail(EXIT_REFUSED, "cannot read %s: %s", file, strerror(errno));
            }
            break;
        case LINE_END:
            end = true;
            break;
        }
    }
    lines_fini(&lines);
    if (fd > STDIN_FILENO) {
        close(fd);
    }
    return r;
}

static void show_json(const struct plan *p, bool dry)
{
    struct json j;
    json_init(&j, stdout, p->s.output == OUTPUT_JSON);
    if (p->s.output == OUTPUT_JSON) {
        json_open(&j, NULL, '[');
    }
    for (size_t i = 0; i < p->n; i++) {
        json_open(&j, NULL, '{');
        json_text(&j, "topic", p->seeks[i].topic);
        json_int(&j, "partition", p->seeks[i].partition);
        json_int(&j, "from", p->seeks[i].from);
        json_int(&j, "to", p->seeks[i].to);
        json_bool(&j, "dry_run", dry);
        json_close(&j, '}');
        if (p->s.output == OUTPUT_JSONL) {
            json_end(&j);
        }
    }
    if (p->s.output == OUTPUT_JSON) {
        json_close(&j, ']');
        json_end(&j);
    }
}

static void show(const struct plan *p, bool dry)
{
    static const char *const titles[] = {"PARTITION", ">POSITION", ">NEW POSITION", ">CHANGE"};
    struct table tab;
    if (p->s.output == OUTPUT_JSON || p->s.output == OUTPUT_JSONL) {
        show_json(p, dry);
        return;
    }
    table_init(&tab, titles, sizeof titles / sizeof titles[0]);
    for (size_t i = 0; i < p->n; i++) {
        const weir_seek *s = &p->seeks[i];
        if (p->s.output == OUTPUT_NAME) {
            printf("%s/%" PRId32 "\n", s->topic, s->partition);
            continue;
        }
        table_cellf(&tab, "%s/%" PRId32, s->topic, s->partition);
        table_cellf(&tab, "%" PRId64, s->from);
        table_cellf(&tab, "%" PRId64, s->to);
        table_cellf(&tab, "%+" PRId64, s->to - s->from);
    }
    if (p->s.output == OUTPUT_TABLE) {
        printf("%s group %s%s\n", dry ? "would move" : "moved", p->group_name,
               dry ? " (nothing was done)" : "");
        table_print(&tab, stdout);
    }
    table_fini(&tab);
}

static int seek(struct plan *p, const struct seek_spec *spec, const char *file)
{
    const struct args *a = p->s.args;
    bool dry = args_has(a, OPT_DRY_RUN);
    unsigned flags = (dry ? WEIR_DRY_RUN : 0U) | (args_has(a, OPT_FORCE) ? WEIR_FORCE : 0U);
    weir_error e = weir_group_describe(p->s.w, p->group_name, &p->group, p->s.timeout_ms);
    if (e.outcome != WEIR_DONE) {
        return session_fail_group(&p->s, p->group_name, &e);
    }
    int r = file ? plan_file(p, file) : plan_spec(p, spec);
    if (r) {
        return r;
    }
    if (p->n == 0) {
        return cli_fail(EXIT_NOT_FOUND, "group '%s' reads no such partition", p->group_name);
    }
    e = weir_group_seek(p->s.w, p->group_name, p->seeks, p->n, flags, p->s.timeout_ms);
    if (e.outcome != WEIR_DONE) {
        return session_fail_group(&p->s, p->group_name, &e);
    }
    show(p, dry);
    return EXIT_DONE;
}

int run_group_seek(const struct args *a)
{
    struct plan p = {.group_name = a->words[0],
                     .only = args_text(a, OPT_TOPIC_ONLY, NULL),
                     .partition = reader_partition(a)};
    struct seek_spec spec = {0};
    const char *to = args_text(a, OPT_TO, NULL);
    const char *file = args_text(a, OPT_FROM_FILE, NULL);
    int r = EXIT_DONE;
    if (!to == !file) {
        r = cli_fail(EXIT_USAGE, "group seek needs either --to or --from-file");
    } else if (to && !seek_spec_parse(to, cli_wall_ms(), &spec)) {
        r = cli_fail(
            EXIT_USAGE,
            "--to: '%.80s' is not earliest, latest, an offset, @TIME, -N (messages) or -1h "
            "(time)",
            to);
    }
    if (!r) {
        r = session_open(&p.s, a, NULL);
    }
    if (!r) {
        r = seek(&p, &spec, file);
    }
    free(p.seeks);
    weir_group_free(p.group);
    session_close(&p.s);
    return r;
}
