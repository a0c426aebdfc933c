/*
 * Most settings are read where they are used, so a new value is in force once it stands in
 * srv->conf. The rest was handed on at start and is handed on again here. Nothing is taken from
 * clients that they already have: lower limits meet what comes next.
 *
 * What can fail: the file. Then nothing changes.
 */
#include "broker/reload.h"

#include <stdio.h>
#include <string.h>

#include "broker/clock.h"
#include "broker/notify.h"
#include "broker/server.h"

struct reload {
    struct server *srv;
    unsigned taken, left;
};

static void on_change(void *arg, const struct config_change *ch)
{
    struct reload *r = arg;
    char from[LOG_TEXT], to[LOG_TEXT], source[LOG_TEXT];

    *(ch->taken ? &r->taken : &r->left) += 1;
    log_line(&r->srv->log, ch->taken ? LOG_INFO : LOG_WARN, "server",
             ch->taken ? "setting_changed" : "setting_needs_restart",
             "key=%s from=\"%s\" to=\"%s\" source=\"%s\"", ch->name,
             log_text(from, ch->from, strlen(ch->from)), log_text(to, ch->to, strlen(ch->to)),
             log_text(source, ch->source, strlen(ch->source)));
}

static void hand_on(struct server *srv)
{
    const struct config *conf = srv->conf;

    srv->log.json = strcmp(conf->log_format, "json") == 0;
    server_advertise(srv);
    memory_init(&srv->memory, conf);
    srv->listeners.max_conns = listeners_most(conf);
    core_set_budgets(srv->core, conf->tail_cache, config_inflight(conf),
                     (uint32_t)conf->max_topics);
    core_set_ahead(srv->core, srv->memory.read_ahead);
    store_set_min_free(srv->st, conf->min_free);
    server_again(srv); /* who waits for room may have some now */
}

/* systemd shows "reloading" between the two, and takes READY only with the time of the first. */
static void tell_reloading(void)
{
    char text[80];

    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld",
             (long long)(clock_mono_ns() / 1000));
    notify_systemd(text);
}

void reload_settings(struct server *srv)
{
    struct reload r = {.srv = srv};
    struct werror e = {.code = WERR_OK};
    char why[LOG_TEXT];
    enum log_level level;

    tell_reloading();
    if (config_reload(srv->conf, on_change, &r, &e) != WERR_OK) {
        log_line(&srv->log, LOG_ERROR, "server", "reload_refused", "why=\"%s\"",
                 log_text(why, e.text, strlen(e.text)));
    } else {
        hand_on(srv);
        level = log_level_of(srv->conf->log_level);
        srv->log.level = level > srv->log.level ? level : srv->log.level; /* the more of the two */
        log_line(&srv->log, LOG_INFO, "server", "reloaded", "changed=%u need_restart=%u", r.taken,
                 r.left);
        srv->log.level = level;
    }
    notify_systemd("READY=1");
}
