/*
 * The broker from sockets to store, with two connections: the whole server in process, on the store
 * in memory, with a clock that only the input moves. The system calls that would reach outside are
 * replaced at link time (--wrap): the sockets are two arrays, the clocks two numbers.
 *
 * Input: byte 0 bit 0: HELLO is said on both. Then actions, a byte each, of which bit 7 picks the
 * connection and the low bits say what:
 *   0 FRAME   n (2 bytes), n bytes: a frame with that body
 *   1 BYTES   n (2 bytes), n bytes: as they are
 *   2 CLOCK   ms (2 bytes), in bit 6: times 64
 *   3 PIECE   n: this many bytes a recv from now on, 0 = all
 *   4 TURN    the loop's end of turn; bit 6: without the store
 *   5 TAKE    n: the peer takes n * 256 bytes of output at once from now on; 0 = nothing
 *   6 CUT     the connection ends (bit 6: with a reset) and another one begins
 *   7 END     the peer sends no more
 *
 * What must hold: no assertion and no sanitizer speaks, and when both are closed and everything has
 * run out, nothing of them is left: connections, requests in flight, waiting fetches, readers,
 * budgets; and at the end no memory at all (LeakSanitizer).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "broker/server.h"
#include "proto/limits.h"
#include "proto/msg.h"
#include "storage/store_mem.h"
#include "tests/fuzz/target.h"

enum { FD_FIRST = 900, PEERS = 2, MAX_ACTIONS = 512 };
enum action { A_FRAME, A_BYTES, A_CLOCK, A_PIECE, A_TURN, A_TAKE, A_CUT, A_END };

/* The other end of a connection. */
struct peer {
    struct conn *c;
    uint64_t id;
    struct buf in; /* sent, not yet received by the broker */
    size_t piece, take;
    bool ended, reset, shut;
};

static struct {
    struct config conf;
    struct server srv;
    struct peer peers[PEERS];
    int64_t mono_ns, wall_ms;
    uint64_t random;
} w;

/* ---------------------------------------------------------------- instead of the system */

int64_t __wrap_clock_mono_ns(void);
int64_t __wrap_clock_wall_ms(void);
uint64_t __wrap_clock_random(void);
int64_t __wrap_store_mono_ns(void);
ssize_t __wrap_recv(int fd, void *to, size_t n, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
int __wrap_shutdown(int fd, int how);
int __wrap_close(int fd);
int __real_close(int fd);
enum werr __wrap_store_open_mem(struct store **out, struct memdisk *d, enum store_mem_mode mode,
                                const struct store_conf *conf, struct werror *e);
enum werr __real_store_open_mem(struct store **out, struct memdisk *d, enum store_mem_mode mode,
                                const struct store_conf *conf, struct werror *e);

int64_t __wrap_clock_mono_ns(void)
{
    return w.mono_ns;
}

int64_t __wrap_clock_wall_ms(void)
{
    return w.wall_ms;
}

int64_t __wrap_store_mono_ns(void)
{
    return w.mono_ns;
}

uint64_t __wrap_clock_random(void)
{
    w.random = w.random * 6364136223846793005u + 1442695040888963407u;
    return w.random >> 1;
}

ssize_t __wrap_recv(int fd, void *to, size_t n, int flags)
{
    struct peer *p = &w.peers[fd - FD_FIRST];

    (void)flags;
    if (p->reset) {
        errno = ECONNRESET;
        return -1;
    }
    if (p->in.len == 0) {
        errno = EAGAIN;
        return p->ended ? 0 : -1;
    }
    n = n < p->in.len ? n : p->in.len;
    n = p->piece != 0 && n > p->piece ? p->piece : n;
    memcpy(to, p->in.p, n);
    buf_consume(&p->in, n);
    return (ssize_t)n;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
    struct peer *p = &w.peers[fd - FD_FIRST];
    size_t n = 0;

    (void)flags;
    for (size_t i = 0; i < m->msg_iovlen; i++) {
        n += m->msg_iov[i].iov_len;
    }
    if (p->shut) {
        abort(); /* sends after it said that it would not */
    }
    if (p->reset) {
        errno = EPIPE;
        return -1;
    }
    n = n < p->take ? n : p->take;
    if (n == 0) {
        errno = EAGAIN;
        return -1;
    }
    return (ssize_t)n;
}

int __wrap_shutdown(int fd, int how)
{
    (void)how;
    w.peers[fd - FD_FIRST].shut = true;
    return 0;
}

int __wrap_close(int fd)
{
    return fd >= FD_FIRST && fd < FD_FIRST + PEERS ? 0 : __real_close(fd);
}

enum werr __wrap_store_open_mem(struct store **out, struct memdisk *d, enum store_mem_mode mode,
                                const struct store_conf *conf, struct werror *e)
{
    (void)mode;
    return __real_store_open_mem(out, d, STORE_MEM_STEPPED, conf, e);
}

/* ---------------------------------------------------------------- the loop */

static struct conn *alive(const struct peer *p)
{
    struct conn *c;

    TAILQ_FOREACH (c, &w.srv.conns, all) {
        if (c == p->c && c->id == p->id && c->state != CONN_CLOSED) {
            return c;
        }
    }
    return NULL;
}

/* What epoll would report. */
static void poll_socket(struct peer *p)
{
    struct conn *c = alive(p);
    int events = 0;

    if (c != NULL && ev_is_active(&c->io)) {
        events |= p->in.len > 0 || p->ended || p->reset ? EV_READ : 0;
        events |= p->take > 0 || p->reset ? EV_WRITE : 0;
        events &= c->io.events;
    }
    if (events != 0) {
        ev_invoke(w.srv.loop, &c->io, events);
    }
}

static void turn(bool with_store)
{
    for (int i = 0; i < PEERS; i++) {
        poll_socket(&w.peers[i]);
    }
    ev_invoke(w.srv.loop, &w.srv.before_sleep, EV_PREPARE);
    if (with_store) {
        store_step(w.srv.st);
        ev_invoke(w.srv.loop, &w.srv.store_ready, EV_ASYNC);
    }
}

static void pass(int64_t ms)
{
    w.mono_ns += ms * 1000000;
    w.wall_ms += ms;
    for (int i = 0; i < 4 && core_deadline_mono_ns(w.srv.core) <= w.mono_ns; i++) {
        ev_invoke(w.srv.loop, &w.srv.core_timer, EV_TIMER);
    }
    ev_invoke(w.srv.loop, &w.srv.second, EV_TIMER);
    turn(true);
}

static void connect_peer(struct peer *p)
{
    struct sockaddr_storage from = {.ss_family = AF_UNIX};

    buf_clear(&p->in);
    p->piece = 0;
    p->take = SIZE_MAX;
    p->ended = p->reset = p->shut = false;
    p->c = conn_open(&w.srv, FD_FIRST + (int)(p - w.peers), &from);
    if (p->c == NULL) {
        abort();
    }
    p->id = p->c->id;
}

static void say_hello(struct peer *p)
{
    struct msg_hello m = {
        .proto = WEIR_PROTO_VERSION, .client = slice_str("fuzz"), .version = slice_str("1")};

    msg_put_hello(&p->in, 1, &m);
}

/* Ends p's connection and lets the broker notice. */
static void cut(struct peer *p, bool reset)
{
    p->reset = reset;
    p->ended = true;
    p->take = SIZE_MAX;
    for (int i = 0; i < 3 && alive(p) != NULL; i++) {
        turn(true);
    }
    if (alive(p) != NULL) {
        conn_close(p->c, "fuzz"); /* it had no wish to read: a limit held it back */
        turn(true);
    }
}

/* ---------------------------------------------------------------- input */

struct input {
    const uint8_t *p, *end;
};

static size_t take_number(struct input *in, size_t bytes)
{
    size_t v = 0;

    for (; bytes > 0 && in->p < in->end; bytes--) {
        v = v << 8 | *in->p++;
    }
    return v;
}

static void send_bytes(struct peer *p, struct input *in, bool frame)
{
    size_t n = take_number(in, 2);

    n = n < (size_t)(in->end - in->p) ? n : (size_t)(in->end - in->p);
    if (frame) {
        buf_put_be32(&p->in, (uint32_t)n);
    }
    buf_put(&p->in, in->p, n);
    in->p += n;
    poll_socket(p);
}

static void act(struct input *in)
{
    uint8_t a = *in->p++;
    struct peer *p = &w.peers[a >> 7];
    bool flag = (a & 64) != 0;

    switch ((enum action)(a & 7)) {
    case A_FRAME:
    case A_BYTES:
        send_bytes(p, in, (a & 7) == A_FRAME);
        break;
    case A_CLOCK:
        pass((int64_t)take_number(in, 2) * (flag ? 64 : 1));
        break;
    case A_PIECE:
        p->piece = take_number(in, 1);
        break;
    case A_TURN:
        turn(!flag);
        break;
    case A_TAKE:
        p->take = take_number(in, 1) * 256;
        break;
    case A_CUT:
        cut(p, flag);
        connect_peer(p);
        break;
    case A_END:
        p->ended = true;
        break;
    }
}

/* ---------------------------------------------------------------- the whole */

static void start(void)
{
    struct werror e;

    w.mono_ns = INT64_C(5000000000);
    w.wall_ms = INT64_C(1700000000000);
    w.random = 7;
    config_defaults(&w.conf);
    w.conf.listen.n = 0;
    w.conf.dev = true;
    w.conf.memory = 64 << 20;
    w.conf.connection_memory = 256 << 20; /* else it looks how much the machine has */
    if (config_set(&w.conf, "log_level", "error", "fuzz", &e) != WERR_OK ||
        config_set(&w.conf, "http", "", "fuzz", &e) != WERR_OK ||
        server_open(&w.srv, &w.conf, &e) != WERR_OK) {
        abort();
    }
}

/* ---------------------------------------------------------------- rows for fuzz_core_rows */

static enum werr dump_row(void *arg, struct slice key, struct slice value)
{
    FILE *f = arg;

    if (key.n <= UINT8_MAX && value.n <= UINT16_MAX && !meta_tag_is_own(key.p[0])) {
        const uint8_t head[] = {0, (uint8_t)key.n, (uint8_t)(value.n >> 8), (uint8_t)value.n};

        fwrite(head, 1, sizeof head, f);
        fwrite(key.p, 1, key.n, f);
        fwrite(value.p, 1, value.n, f);
    }
    return WERR_OK;
}

static enum werr dump_delayed(void *arg, struct slice key, struct slice value)
{
    const uint8_t head[] = {1, (uint8_t)key.n, (uint8_t)(value.n >> 8), (uint8_t)value.n};

    fwrite(head, 1, sizeof head, arg);
    fwrite(key.p, 1, key.n, arg);
    fwrite(value.p, 1, value.n, arg);
    return WERR_OK;
}

/* With FUZZ_ROWS=DIR: what the core has on disk now, as a seed of fuzz_core_rows. */
static void dump_rows(size_t id)
{
    const char *dir = getenv("FUZZ_ROWS");
    const struct slice all = {0};
    char path[512];
    struct werror e;
    FILE *f;

    if (dir == NULL) {
        return;
    }
    snprintf(path, sizeof path, "%s/rows_%zu", dir, id);
    f = fopen(path, "wb");
    if (f == NULL || store_scan(w.srv.st, TABLE_META, all, all, dump_row, f, &e) != WERR_OK ||
        store_scan(w.srv.st, TABLE_DELAY, all, all, dump_delayed, f, &e) != WERR_OK) {
        abort();
    }
    fclose(f);
}

/* Both connections are gone, and time has passed: nothing of them may be left. */
static void nothing_left(void)
{
    struct core_stats s;

    for (int i = 0; i < PEERS; i++) {
        cut(&w.peers[i], (i & 1) != 0);
    }
    for (int i = 0; i < 4; i++) {
        pass(60 * 1000);
    }
    core_stats(w.srv.core, &s);
    if (w.srv.n_conns != 0 || w.srv.big_bytes != 0 || w.srv.n_again != 0 ||
        !TAILQ_EMPTY(&w.srv.conns) || !TAILQ_EMPTY(&w.srv.dirty) || !TAILQ_EMPTY(&w.srv.dead) ||
        !TAILQ_EMPTY(&w.srv.starved) || !TAILQ_EMPTY(&w.srv.hungry) ||
        !TAILQ_EMPTY(&w.srv.ready_subs) || !TAILQ_EMPTY(&w.srv.seat_news)) {
        abort();
    }
    if (s.inflight_bytes != 0 || s.readers != 0 || s.waiting_fetches != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct input in = {data, data + n};

    if (n == 0) {
        return 0;
    }
    start();
    for (int i = 0; i < PEERS; i++) {
        connect_peer(&w.peers[i]);
        if ((data[0] & 1) != 0) {
            say_hello(&w.peers[i]);
        }
    }
    in.p++;
    for (int i = 0; i < MAX_ACTIONS && in.p < in.end; i++) {
        act(&in);
    }
    turn(true);
    dump_rows(n);
    nothing_left();
    server_close(&w.srv);
    for (int i = 0; i < PEERS; i++) {
        buf_fini(&w.peers[i].in);
        w.peers[i] = (struct peer){0};
    }
    return 0;
}
