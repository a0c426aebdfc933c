/* Messages about the server itself: SERVER_CONNECTIONS, SERVER_CONFIG, BACKUP_CREATE. */
#include "proto/msg_server.h"

#include "proto/msg_impl.h"

/* ---- SERVER_CONNECTIONS ---- */

void msg_put_server_conns(struct buf *b, uint32_t corr, uint64_t from, uint32_t limit)
{
    size_t at = frame_begin_request(b, corr, OP_SERVER_CONNECTIONS);

    mpw_array(b, 2);
    mpw_uint(b, from);
    mpw_uint(b, limit);
    frame_end(b, at, 0);
}

enum werr msg_get_server_conns(struct mpread *r, uint64_t *from, uint32_t *limit, struct werror *e)
{
    uint32_t left = args_begin(r, 2);

    *from = mpread_uint(r, LIMIT_UINT);
    *limit = (uint32_t)mpread_uint(r, UINT32_MAX);
    if (r->err == WERR_OK && *limit > LIMIT_PAGE) {
        return werror_set(e, WERR_TOO_LARGE, "limit = %u, at most %d", *limit, LIMIT_PAGE);
    }
    return args_end(r, left, e);
}

size_t msg_begin_server_conns_ok(struct buf *b, uint32_t corr, size_t n)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 2);
    mpw_array(b, n);
    return at;
}

void msg_put_server_conn(struct buf *b, const struct msg_server_conn *m)
{
    mpw_array(b, 13);
    mpw_uint(b, m->id);
    put_str_or_nil(b, m->client);
    mpw_str(b, m->address);
    mpw_str(b, m->state);
    put_str_or_nil(b, m->waits_for);
    mpw_uint(b, m->age_ms);
    mpw_uint(b, m->idle_ms);
    mpw_uint(b, m->requests);
    mpw_uint(b, m->request_bytes);
    mpw_uint(b, m->subs);
    mpw_uint(b, m->members);
    mpw_uint(b, m->bytes_in);
    mpw_uint(b, m->output_bytes);
}

void msg_end_server_conns_ok(struct buf *b, size_t begin, bool has_next, uint64_t next)
{
    if (has_next) {
        mpw_uint(b, next);
    } else {
        mpw_nil(b);
    }
    frame_end(b, begin, 0);
}

enum werr msg_get_server_conns_ok(struct mpread *r, struct msg_server_conns_ok *m, struct werror *e)
{
    uint32_t left = result_begin(r, 1);

    *m = (struct msg_server_conns_ok){0};
    m->n = list_skip(r, &m->conns);
    if (left > 0) {
        left--;
        if (!mpread_nil(r)) {
            m->has_next = true;
            m->next = mpread_uint(r, LIMIT_UINT);
        }
    }
    return result_end(r, left, e);
}

bool msg_next_server_conn(struct mpread *r, struct msg_server_conn *m)
{
    uint32_t left;

    if (!list_next(r)) {
        return false;
    }
    left = result_begin(r, 13);
    m->id = mpread_uint(r, LIMIT_UINT);
    m->client = str_or_nil(r, SIZE_MAX);
    m->address = mpread_str(r, SIZE_MAX);
    m->state = mpread_str(r, SIZE_MAX);
    m->waits_for = str_or_nil(r, SIZE_MAX);
    m->age_ms = mpread_uint(r, LIMIT_UINT);
    m->idle_ms = mpread_uint(r, LIMIT_UINT);
    m->requests = mpread_uint(r, LIMIT_UINT);
    m->request_bytes = mpread_uint(r, LIMIT_UINT);
    m->subs = mpread_uint(r, LIMIT_UINT);
    m->members = mpread_uint(r, LIMIT_UINT);
    m->bytes_in = mpread_uint(r, LIMIT_UINT);
    m->output_bytes = mpread_uint(r, LIMIT_UINT);
    return result_end(r, left, NULL) == WERR_OK;
}

/* ---- SERVER_CONFIG ---- */

void msg_put_server_config(struct buf *b, uint32_t corr)
{
    size_t at = frame_begin_request(b, corr, OP_SERVER_CONFIG);

    mpw_array(b, 0);
    frame_end(b, at, 0);
}

size_t msg_begin_server_config_ok(struct buf *b, uint32_t corr, size_t n)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, n);
    return at;
}

void msg_put_server_setting(struct buf *b, const struct msg_server_setting *m)
{
    mpw_array(b, 4);
    mpw_str(b, m->key);
    mpw_str(b, m->value);
    mpw_str(b, m->source);
    mpw_bool(b, m->reloads);
}

enum werr msg_get_server_config_ok(struct mpread *r, struct mpread *settings, uint32_t *n,
                                   struct werror *e)
{
    *n = list_skip(r, settings);
    return read_error(r, e);
}

bool msg_next_server_setting(struct mpread *r, struct msg_server_setting *m)
{
    uint32_t left;

    if (!list_next(r)) {
        return false;
    }
    left = result_begin(r, 4);
    m->key = mpread_str(r, SIZE_MAX);
    m->value = mpread_str(r, SIZE_MAX);
    m->source = mpread_str(r, SIZE_MAX);
    m->reloads = mpread_bool(r);
    return result_end(r, left, NULL) == WERR_OK;
}

/* ---- BACKUP_CREATE ---- */

void msg_put_backup_create(struct buf *b, uint32_t corr, struct slice name)
{
    size_t at = frame_begin_request(b, corr, OP_BACKUP_CREATE);

    mpw_array(b, 1);
    put_str_or_nil(b, name);
    frame_end(b, at, 0);
}

enum werr msg_get_backup_create(struct mpread *r, struct slice *name, struct werror *e)
{
    uint32_t left = args_begin(r, 0);

    *name = (struct slice){NULL, 0};
    if (left > 0) {
        left--;
        *name = str_or_nil(r, LIMIT_NAME);
    }
    return args_end(r, left, e);
}

void msg_put_backup_create_ok(struct buf *b, uint32_t corr, const struct msg_backup *m)
{
    size_t at = frame_begin_response(b, corr);

    mpw_array(b, 5);
    mpw_str(b, m->path);
    mpw_uint(b, m->files);
    mpw_uint(b, m->bytes);
    mpw_int(b, m->created_ms);
    mpw_uint(b, m->took_ms);
    frame_end(b, at, 0);
}

enum werr msg_get_backup_create_ok(struct mpread *r, struct msg_backup *m, struct werror *e)
{
    uint32_t left = result_begin(r, 5);

    m->path = mpread_str(r, SIZE_MAX);
    m->files = mpread_uint(r, LIMIT_UINT);
    m->bytes = mpread_uint(r, LIMIT_UINT);
    m->created_ms = mpread_int(r, 0, LIMIT_UINT);
    m->took_ms = mpread_uint(r, LIMIT_UINT);
    return result_end(r, left, e);
}
