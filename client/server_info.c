/*
 * What the server knows of itself: its connections, its settings; backups of its store.
 * What can fail: the request, as in admin.c; an answer that breaks the protocol.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/admin.h"
#include "client/handle.h"
#include "proto/msg_server.h"

enum { CONNS_PAGE = 500, SHORT_TEXT = 128, VALUE_TEXT = 8192 };

/* Cut to the room there is. */
static const char *keep(char *to, size_t size, struct slice s)
{
    const size_t n = s.n < size ? s.n : size - 1;

    if (n > 0) {
        memcpy(to, s.p, n);
    }
    to[n] = 0;
    return to;
}

typedef int (*conn_fn)(void *user, const weir_connection_info *info);

static bool tell_conn(struct call *c, conn_fn fn, void *user, const struct msg_server_conn *m)
{
    char client[SHORT_TEXT], address[SHORT_TEXT], state[SHORT_TEXT], waits_for[SHORT_TEXT];
    const weir_connection_info info = {
        .id = m->id,
        .client = keep(client, sizeof client, m->client),
        .address = keep(address, sizeof address, m->address),
        .state = keep(state, sizeof state, m->state),
        .waits_for = keep(waits_for, sizeof waits_for, m->waits_for),
        .age_ms = m->age_ms,
        .idle_ms = m->idle_ms,
        .requests = m->requests,
        .request_bytes = m->request_bytes,
        .subscriptions = m->subs,
        .members = m->members,
        .bytes_in = m->bytes_in,
        .output_bytes = m->output_bytes,
    };
    int more;

    c->w->in_callback = true;
    more = fn(user, &info);
    c->w->in_callback = false;
    return more != 0;
}

/* Hands one page to the caller. True: another one follows, at *from. */
static bool conns_page(struct call *c, conn_fn fn, void *user, uint64_t *from)
{
    struct msg_server_conns_ok ok;
    struct msg_server_conn m;
    struct werror e = {0};
    bool more = true;

    if (msg_get_server_conns_ok(&c->cur, &ok, &e) != WERR_OK) {
        return call_broken(c, &e);
    }
    while (more && !c->w->closing && msg_next_server_conn(&ok.conns, &m)) {
        more = tell_conn(c, fn, user, &m);
    }
    if (more && ok.conns.err != WERR_OK) {
        werror_set(&e, WERR_MALFORMED, "server_connections: a connection that cannot be read");
        return call_broken(c, &e);
    }
    if (ok.has_next && ok.next <= *from) {
        werror_set(&e, WERR_MALFORMED, "server_connections: the listing does not advance");
        return call_broken(c, &e);
    }
    *from = ok.next;
    return more && ok.has_next;
}

weir_error weir_server_connections(weir *w, conn_fn fn, void *user, int timeout_ms)
{
    struct call c;
    uint64_t from = 0;
    bool more = call_begin(&c, w, true, timeout_ms);

    if (more && !fn) {
        c.error = err_make(WERR_MISUSE, "fn is NULL");
        more = false;
    }
    while (more) {
        msg_put_server_conns(&c.req.frame, c.req.corr, from, CONNS_PAGE);
        more = call_run(&c) && conns_page(&c, fn, user, &from) && !c.w->closing && call_again(&c);
    }
    return call_end(&c);
}

typedef void (*setting_fn)(void *user, const weir_setting_info *info);

static bool read_settings(struct call *c, setting_fn fn, void *user)
{
    struct msg_server_setting s;
    struct mpread list;
    struct werror e = {0};
    char key[SHORT_TEXT], source[SHORT_TEXT];
    char *value = malloc(VALUE_TEXT);
    uint32_t n;
    bool good = true;

    if (!value) {
        c->error = err_make(WERR_NOMEM, "out of memory");
        return false;
    }
    if (msg_get_server_config_ok(&c->cur, &list, &n, &e) != WERR_OK) {
        good = call_broken(c, &e);
        goto out;
    }
    while (!c->w->closing && msg_next_server_setting(&list, &s)) {
        const weir_setting_info info = {.key = keep(key, sizeof key, s.key),
                                        .value = keep(value, VALUE_TEXT, s.value),
                                        .source = keep(source, sizeof source, s.source),
                                        .reloads = s.reloads};

        c->w->in_callback = true;
        fn(user, &info);
        c->w->in_callback = false;
    }
    if (list.err != WERR_OK) {
        werror_set(&e, WERR_MALFORMED, "server_config: a setting that cannot be read");
        good = call_broken(c, &e);
    }
out:
    free(value);
    return good;
}

weir_error weir_server_config(weir *w, setting_fn fn, void *user, int timeout_ms)
{
    struct call c;

    if (call_begin(&c, w, true, timeout_ms)) {
        msg_put_server_config(&c.req.frame, c.req.corr);
        if (!fn) {
            c.error = err_make(WERR_MISUSE, "fn is NULL");
        } else if (call_run(&c)) {
            (void)read_settings(&c, fn, user);
        }
    }
    return call_end(&c);
}

weir_error weir_backup_create(weir *w, const char *name, weir_backup_info *info, int timeout_ms)
{
    struct call c;
    struct msg_backup m;
    struct werror e = {0};

    if (info) {
        *info = (weir_backup_info){.files = 0};
    }
    if (call_begin(&c, w, false, timeout_ms)) {
        msg_put_backup_create(&c.req.frame, c.req.corr, slice_str(name ? name : ""));
        if (call_run(&c)) {
            if (msg_get_backup_create_ok(&c.cur, &m, &e) != WERR_OK) {
                (void)call_broken(&c, &e);
            } else if (info) {
                (void)keep(info->path, sizeof info->path, m.path);
                info->files = m.files;
                info->bytes = m.bytes;
                info->created_ms = m.created_ms;
                info->took_ms = m.took_ms;
            }
        }
    }
    return call_end(&c);
}
