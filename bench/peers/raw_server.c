/*
 * The raw baselines: how fast bytes can go over loopback TCP into a file, with nothing else done.
 *
 *   bench-raw-server sink            reads frames, answers each
 *   bench-raw-server log FILE        appends them to a file; answers after fdatasync (group commit)
 *   bench-raw-server log-os FILE     the same without fdatasync
 *
 * Prints "READY PORT" and serves until it gets SIGTERM. A frame is u32 bytes of the body, u32
 * messages, body; an answer is u64, the frames done on this connection so far. All little endian.
 *
 * One thread reads all sockets and gathers whole frames; another writes what has gathered while it
 * wrote before, syncs and answers. So what arrives during a sync shares the next one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FRAME_MAX = 16 << 20, READ_BYTES = 1 << 20, EVENTS = 256, HEAD_BYTES = 8 };

struct buffer {
    unsigned char *data;
    size_t size, cap;
};

struct conn {
    int fd;
    bool over;
    struct buffer in;
    uint64_t n_frames; /* gathered */
    uint64_t n_told;   /* the committer's */
    struct conn *next; /* in the list of all */
};

/* What waits for the next write. */
struct group {
    struct buffer bytes;
    struct answer {
        struct conn *conn;
        uint64_t n_frames;
    } * answers;
    size_t n_answers, cap_answers;
};

struct server {
    int epoll, listener, signals, file;
    bool sync, sink;
    struct conn *conns;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct group gathering; /* under lock */
    bool stop;              /* under lock */
};

static void die(const char *what)
{
    fprintf(stderr, "bench-raw-server: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void need(struct buffer *b, size_t more)
{
    size_t cap = b->cap > 0 ? b->cap : READ_BYTES;

    while (cap < b->size + more) {
        cap *= 2;
    }
    if (cap != b->cap) {
        b->data = realloc(b->data, cap);
        b->cap = cap;
        if (b->data == NULL) {
            die("memory");
        }
    }
}

static void add(struct buffer *b, const void *data, size_t n)
{
    need(b, n);
    memcpy(b->data + b->size, data, n);
    b->size += n;
}

static void answer(struct conn *c, uint64_t n_frames)
{
    /* Eight bytes: a client that does not even take these is gone. */
    (void)send(c->fd, &n_frames, sizeof n_frames, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void will_answer(struct group *g, struct conn *c)
{
    if (g->n_answers == g->cap_answers) {
        g->cap_answers = g->cap_answers > 0 ? g->cap_answers * 2 : EVENTS;
        g->answers = realloc(g->answers, g->cap_answers * sizeof *g->answers);
        if (g->answers == NULL) {
            die("memory");
        }
    }
    g->answers[g->n_answers++] = (struct answer){c, c->n_frames};
}

/* @return bytes of whole frames at the start of the input, and counts them */
static size_t whole_frames(struct conn *c)
{
    size_t at = 0;

    while (c->in.size - at >= HEAD_BYTES) {
        uint32_t body;
        memcpy(&body, c->in.data + at, sizeof body);
        if (body > FRAME_MAX) {
            c->over = true;
            break;
        }
        if (c->in.size - at < HEAD_BYTES + (size_t)body) {
            break;
        }
        at += HEAD_BYTES + (size_t)body;
        c->n_frames++;
    }
    return at;
}

static void gather(struct server *s, struct conn *c)
{
    const size_t n = whole_frames(c);

    if (n == 0) {
        return;
    }
    if (s->sink) {
        answer(c, c->n_frames);
    } else {
        (void)pthread_mutex_lock(&s->lock);
        add(&s->gathering.bytes, c->in.data, n);
        will_answer(&s->gathering, c);
        (void)pthread_cond_signal(&s->more);
        (void)pthread_mutex_unlock(&s->lock);
    }
    memmove(c->in.data, c->in.data + n, c->in.size - n);
    c->in.size -= n;
}

static void read_conn(struct server *s, struct conn *c)
{
    need(&c->in, READ_BYTES);
    const ssize_t n = recv(c->fd, c->in.data + c->in.size, READ_BYTES, MSG_DONTWAIT);
    if (n > 0) {
        c->in.size += (size_t)n;
        gather(s, c);
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || c->over) {
        /* The committer may still answer it, so the descriptor stays ours until the end. */
        (void)epoll_ctl(s->epoll, EPOLL_CTL_DEL, c->fd, NULL);
        (void)shutdown(c->fd, SHUT_RDWR);
        free(c->in.data);
        c->in = (struct buffer){0};
        c->over = true;
    }
}

static void accept_conn(struct server *s)
{
    const int on = 1;
    const int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
    struct conn *c = fd >= 0 ? calloc(1, sizeof *c) : NULL;

    if (c == NULL) {
        die("accept");
    }
    c->fd = fd;
    c->next = s->conns;
    s->conns = c;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event e = {.events = EPOLLIN, .data = {.ptr = c}};
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) != 0) {
        die("epoll_ctl");
    }
}

static void write_group(const struct server *s, const struct group *g)
{
    for (size_t at = 0; at < g->bytes.size;) {
        const ssize_t n = write(s->file, g->bytes.data + at, g->bytes.size - at);
        if (n < 0) {
            die("write");
        }
        at += (size_t)n;
    }
    if (s->sync && fdatasync(s->file) != 0) {
        die("fdatasync");
    }
    /* The last count of a connection says it for all before. */
    for (size_t i = g->n_answers; i-- > 0;) {
        struct conn *c = g->answers[i].conn;
        if (g->answers[i].n_frames > c->n_told) {
            c->n_told = g->answers[i].n_frames;
            answer(c, c->n_told);
        }
    }
}

static void *committer(void *arg)
{
    struct server *s = arg;
    struct group mine = {0};

    (void)pthread_mutex_lock(&s->lock);
    while (!s->stop || s->gathering.bytes.size > 0) {
        if (s->gathering.bytes.size == 0) {
            (void)pthread_cond_wait(&s->more, &s->lock);
            continue;
        }
        const struct group taken = s->gathering;
        s->gathering = mine;
        (void)pthread_mutex_unlock(&s->lock);
        write_group(s, &taken);
        mine = taken;
        mine.bytes.size = 0;
        mine.n_answers = 0;
        (void)pthread_mutex_lock(&s->lock);
    }
    (void)pthread_mutex_unlock(&s->lock);
    free(mine.bytes.data);
    free(mine.answers);
    return NULL;
}

static void watch(struct server *s, int fd, void *ptr)
{
    struct epoll_event e = {.events = EPOLLIN, .data = {.ptr = ptr}};

    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) != 0) {
        die("epoll_ctl");
    }
}

static void start(struct server *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof a;
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->signals < 0 || s->epoll < 0 || s->listener < 0 ||
        bind(s->listener, (struct sockaddr *)&a, sizeof a) != 0 ||
        listen(s->listener, SOMAXCONN) != 0 ||
        getsockname(s->listener, (struct sockaddr *)&a, &size) != 0) {
        die("listen");
    }
    watch(s, s->listener, &s->listener);
    watch(s, s->signals, &s->signals);
    printf("READY %u\n", ntohs(a.sin_port));
    (void)fflush(stdout);
}

static void serve(struct server *s)
{
    struct epoll_event events[EVENTS];

    for (bool stop = false; !stop;) {
        const int n = epoll_wait(s->epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            void *what = events[i].data.ptr;
            if (what == &s->listener) {
                accept_conn(s);
            } else if (what == &s->signals) {
                stop = true;
            } else {
                read_conn(s, what);
            }
        }
    }
    (void)pthread_mutex_lock(&s->lock);
    s->stop = true;
    (void)pthread_cond_signal(&s->more);
    (void)pthread_mutex_unlock(&s->lock);
}

int main(int argc, char **argv)
{
    struct server s = {
        .file = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
    const char *mode = argc > 1 ? argv[1] : "";
    pthread_t thread;

    s.sink = strcmp(mode, "sink") == 0;
    s.sync = strcmp(mode, "log") == 0;
    if (argc != (s.sink ? 2 : 3) || !(s.sink || s.sync || strcmp(mode, "log-os") == 0)) {
        fprintf(stderr, "usage: bench-raw-server sink | log FILE | log-os FILE\n");
        return 2;
    }
    if (!s.sink) {
        s.file = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (s.file < 0) {
            die(argv[2]);
        }
    }
    start(&s);
    if (pthread_create(&thread, NULL, committer, &s) != 0) {
        die("thread");
    }
    serve(&s);
    (void)pthread_join(thread, NULL);
    while (s.conns != NULL) {
        struct conn *c = s.conns;
        s.conns = c->next;
        (void)close(c->fd);
        free(c->in.data);
        free(c);
    }
    free(s.gathering.bytes.data);
    free(s.gathering.answers);
    if (s.file >= 0) {
        (void)close(s.file);
    }
    (void)close(s.listener);
    (void)close(s.signals);
    (void)close(s.epoll);
    return 0;
}
