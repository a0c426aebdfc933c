#include "broker/reply.h"

void reply_init(struct reply *r)
{
    r->heads = (struct buf){0};
    r->n = r->data_bytes = 0;
}

void reply_data(struct reply *r, struct bytes data)
{
    if (r->n == REPLY_PARTS) {
        buf_put(&r->heads, data.p, data.n);
        blob_unref(data.owner);
        return;
    }
    r->part[r->n].at = r->heads.len;
    r->part[r->n++].data = data;
    r->data_bytes += data.n;
}

void reply_send(struct reply *r, struct conn *c)
{
    size_t at = 0;

    frame_end(&r->heads, 0, r->data_bytes);
    if (r->heads.failed) {
        conn_close(c, "no_memory");
        for (size_t i = 0; i < r->n; i++) {
            blob_unref(r->part[i].data.owner);
        }
        buf_fini(&r->heads);
        return;
    }
    for (size_t i = 0; i < r->n; i++) {
        buf_put(conn_ctl(c), r->heads.p + at, r->part[i].at - at);
        at = r->part[i].at;
        conn_put_bytes(c, r->part[i].data); /* the connection's now; dropped when it is closed */
    }
    buf_put(conn_ctl(c), r->heads.p + at, r->heads.len - at);
    conn_sent(c);
    buf_fini(&r->heads);
}
