/*
 * weir server info.
 * Happy path: one round trip for the identity, one for the counters.
 * What can fail: the server's answers (one line).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/json.h"
#include "client/cli/run.h"
#include "client/cli/session.h"
#include "client/cli/table.h"
#include "client/cli/values.h"

struct info {
    struct session s;
    struct table table;
    struct json json;
};

static void metric(void *user, const char *name, const char *label, const char *label_value,
                   uint64_t value)
{
    struct info *i = user;
    bool labelled = label && *label;
    if (i->s.output == OUTPUT_TABLE) {
        if (labelled) {
            table_cellf(&i->table, "%s{%s=%s}", name, label, label_value);
        } else {
            table_cell(&i->table, name);
        }
        table_cellf(&i->table, "%" PRIu64, value);
        return;
    }
    json_open(&i->json, NULL, '{');
    json_text(&i->json, "name", name);
    if (labelled) {
        json_open(&i->json, "labels", '{');
        json_text(&i->json, label, label_value);
        json_close(&i->json, '}');
    }
    json_uint(&i->json, "value", value);
    json_close(&i->json, '}');
}

static int show(struct info *i)
{
    static const char *const titles[] = {"COUNTER", ">VALUE"};
    int64_t rtt_us = 0;
    char text[32];
    const char *url = *i->s.url ? i->s.url : "weir://localhost:9347";
    weir_error e = weir_ping(i->s.w, &rtt_us, i->s.timeout_ms);
    if (e.outcome != WEIR_DONE) {
        return session_fail(&e);
    }
    const char *version = weir_server_version(i->s.w);
    const char *cluster = weir_server_cluster(i->s.w);
    if (i->s.output == OUTPUT_NAME) {
        puts(version);
        return EXIT_DONE;
    }
    table_init(&i->table, titles, sizeof titles / sizeof titles[0]);
    json_init(&i->json, stdout, i->s.output == OUTPUT_JSON);
    if (i->s.output != OUTPUT_TABLE) {
        json_open(&i->json, NULL, '{');
        json_text(&i->json, "url", url);
        json_text(&i->json, "version", version);
        json_text(&i->json, "cluster", cluster);
        json_int(&i->json, "round_trip_us", rtt_us);
        json_open(&i->json, "metrics", '[');
    }
    e = weir_metrics(i->s.w, NULL, metric, i, i->s.timeout_ms);
    if (i->s.output != OUTPUT_TABLE) {
        json_close(&i->json, ']');
        json_close(&i->json, '}');
        json_end(&i->json);
    } else if (e.outcome == WEIR_DONE) {
        printf("url         %s\nversion     %s\ncluster     %s\nround trip  %s\n\n", url, version,
               cluster, text_nanos(text, sizeof text, rtt_us * 1000));
        table_print(&i->table, stdout);
    }
    return e.outcome == WEIR_DONE ? EXIT_DONE : session_fail(&e);
}

int run_server_info(const struct args *a)
{
    struct info i = {0};
    int r = session_open(&i.s, a, NULL);
    if (!r) {
        r = show(&i);
    }
    table_fini(&i.table);
    session_close(&i.s);
    return r;
}
