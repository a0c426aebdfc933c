#ifndef WEIR_PROTO_MSG_SERVER_H
#define WEIR_PROTO_MSG_SERVER_H
/* Messages about the server itself: SERVER_CONNECTIONS, SERVER_CONFIG, BACKUP_CREATE. Views
 * live as long as the frame. Conventions as in msg.h. */
#include "proto/msg.h"

/* One connection, as SERVER_CONNECTIONS shows it. */
struct msg_server_conn {
    uint64_t id;
    struct slice client;              /* name/version of HELLO; empty before it */
    struct slice address, state;      /* "HOST:PORT" or "unix"; "fresh", "ready", "ending" */
    struct slice waits_for;           /* why its socket is not read; empty: it is */
    uint64_t age_ms, idle_ms;         /* since it was opened; since its last bytes came */
    uint64_t requests, request_bytes; /* without an answer yet */
    uint64_t subs, members;
    uint64_t bytes_in;     /* since it was opened */
    uint64_t output_bytes; /* that it has not taken yet */
};

struct msg_server_conns_ok {
    struct mpread conns; /* see msg_next_server_conn */
    uint32_t n;
    bool has_next;
    uint64_t next; /* where the following page begins */
};

/* ---- SERVER_CONNECTIONS: [from, limit] -> [[connection...], ?next] ---- */
void msg_put_server_conns(struct buf *b, uint32_t corr, uint64_t from, uint32_t limit);
/* limit > LIMIT_PAGE: TOO_LARGE. */
enum werr msg_get_server_conns(struct mpread *r, uint64_t *from, uint32_t *limit,
                               struct werror *e) WEIR_NODISCARD;
/* begin, n times msg_put_server_conn, end. */
size_t msg_begin_server_conns_ok(struct buf *b, uint32_t corr, size_t n);
void msg_put_server_conn(struct buf *b, const struct msg_server_conn *m);
void msg_end_server_conns_ok(struct buf *b, size_t begin, bool has_next, uint64_t next);
enum werr msg_get_server_conns_ok(struct mpread *r, struct msg_server_conns_ok *m,
                                  struct werror *e) WEIR_NODISCARD;
bool msg_next_server_conn(struct mpread *r, struct msg_server_conn *m);

/* One setting in force. */
struct msg_server_setting {
    struct slice key, value; /* as a line of the file would have it */
    struct slice source;     /* "default", "FILE:LINE", "WEIR_KEY", "--key" */
    bool reloads;            /* SIGHUP takes a new value while running */
};

/* ---- SERVER_CONFIG: [] -> [[key, value, source, reloads]...] ---- */
void msg_put_server_config(struct buf *b, uint32_t corr);
/* begin, n times msg_put_server_setting, frame_end. */
size_t msg_begin_server_config_ok(struct buf *b, uint32_t corr, size_t n);
void msg_put_server_setting(struct buf *b, const struct msg_server_setting *m);
/* *settings: see msg_next_server_setting. */
enum werr msg_get_server_config_ok(struct mpread *r, struct mpread *settings, uint32_t *n,
                                   struct werror *e) WEIR_NODISCARD;
bool msg_next_server_setting(struct mpread *r, struct msg_server_setting *m);

/* A backup that was made. */
struct msg_backup {
    struct slice path; /* on the server's host */
    uint64_t files, bytes;
    int64_t created_ms; /* all that was acknowledged before is in it */
    uint64_t took_ms;
};

/* ---- BACKUP_CREATE: [?name] -> [path, files, bytes, created ms, took ms] ---- */
void msg_put_backup_create(struct buf *b, uint32_t corr, struct slice name);
/* Empty *name: the server chooses. */
enum werr msg_get_backup_create(struct mpread *r, struct slice *name,
                                struct werror *e) WEIR_NODISCARD;
void msg_put_backup_create_ok(struct buf *b, uint32_t corr, const struct msg_backup *m);
enum werr msg_get_backup_create_ok(struct mpread *r, struct msg_backup *m,
                                   struct werror *e) WEIR_NODISCARD;

#endif
