#include "client/cli/sections.h"

static const struct section_row time_rows[] = {
    {"2026-01-31T12:00:00Z", "RFC 3339, with Z or an offset such as +02:00"},
    {"1769860800000", "milliseconds since 1970"},
    {"-1h, -1h30m, -2d", "that long ago; units ms, s, m, h, d"},
    {"now", "this moment"},
    {NULL, NULL}};

static const struct section_row start_rows[] = {
    {"earliest", "the first message that is still stored"},
    {"latest", "only what comes from now on (peek: the newest ones)"},
    {"OFFSET", "a number: the message with this offset, in each partition that is read"},
    {"@TIME", "the first message appended at or after a time"},
    {NULL, NULL}};

static const struct section_row format_rows[] = {
    {"%k", "key (nothing when there is none)"},
    {"%v, %s", "value"},
    {"%K, %S", "size of the key (-1: none) and of the value (-1: none) in bytes"},
    {"%t", "topic"},
    {"%p", "partition"},
    {"%o", "offset"},
    {"%T", "time given by the producer, in milliseconds since 1970"},
    {"%a", "time of the append at the server, in milliseconds since 1970"},
    {"%h", "headers: name=value, separated by commas"},
    {"%d", "deliveries: 1 = for the first time (counts in queue groups)"},
    {"%r", "reason why the delivery before failed (queue groups; else nothing)"},
    {"%%", "a percent sign"},
    {"\\n \\t \\r \\0 \\\\ \\xHH", "newline, tab, carriage return, NUL, backslash, any byte"},
    {NULL, NULL}};

static const struct section_row position_rows[] = {
    {"earliest", "the first message that is still stored"},
    {"latest", "the end: only what comes from now on"},
    {"OFFSET", "this offset, in each partition that is moved"},
    {"@TIME", "the first message appended at or after a time"},
    {"-N", "N messages back from the present position (no further than to the earliest)"},
    {"-1h, -1h30m, -2d", "the first message appended since then; the same as @-1h"},
    {"a file",
     "lines 'TOPIC PARTITION OFFSET'; empty ones and those that begin with # do not count. "
     "'weir group lag GROUP -o positions' writes them"},
    {NULL, NULL}};

static const struct section_row exit_rows[] = {
    {"0", "done"},
    {"1", "refused, or not all of it was done"},
    {"2", "the command line is wrong"},
    {"3", "the server cannot be reached or does not answer"},
    {"4", "not found"},
    {"5", "not allowed"},
    {NULL, NULL}};

static const struct section_row environment_rows[] = {
    {"WEIR_URL", "the server, when --server is not given"}, {NULL, NULL}};

/* A section is shown with every command that takes `option`; OPT_COUNT_ALL: with all commands. */
static const struct {
    struct section section;
    enum option_id option;
} sections[] = {
    {{"START", "Where reading begins:", start_rows}, OPT_FROM},
    {{"TIMES", "A time is one of:", time_rows}, OPT_FROM},
    {{"TIMES", "A time is one of:", time_rows}, OPT_AT},
    {{"POSITIONS", "A position is one of:", position_rows}, OPT_TO},
    {{"POSITIONS", "A position is one of:", position_rows}, OPT_OUTPUT_LAG},
    {{"TIMES", "A time is one of:", time_rows}, OPT_TO},
    {{"FORMAT", "The text is written for each message, with these replaced:", format_rows},
     OPT_FORMAT},
    {{"EXIT CODES", "", exit_rows}, OPT_COUNT_ALL},
    {{"ENVIRONMENT", "", environment_rows}, OPT_COUNT_ALL},
};

const struct section *section_of(const struct command *c, size_t i)
{
    for (size_t k = 0; k < sizeof sections / sizeof sections[0]; k++) {
        bool applies =
            sections[k].option == OPT_COUNT_ALL || (c && command_takes(c, sections[k].option));
        if (applies && i-- == 0) {
            return &sections[k].section;
        }
    }
    return NULL;
}
