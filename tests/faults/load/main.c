/* weir-load: options, signals, and what all roles share. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/faults/history/value.h"
#include "tests/faults/load/load.h"

static volatile sig_atomic_t stopped;

static void on_interrupt(int sig)
{
    (void)sig;
}

static void on_signal(int sig)
{
    (void)sig;
    stopped = 1;
}

bool load_stopped(void)
{
    return stopped != 0;
}

uint64_t load_random(struct load *l, uint64_t n)
{
    l->rng ^= l->rng << 13; /* xorshift64 (Marsaglia 2003) */
    l->rng ^= l->rng >> 7;
    l->rng ^= l->rng << 17;
    return (l->rng >> 11) % n;
}

enum hist_outcome load_outcome(const weir_error *e)
{
    switch (e->outcome) {
    case WEIR_DONE:
        return HIST_OK;
    case WEIR_NOT_DONE:
    case WEIR_RETRY:
        return HIST_FAIL;
    case WEIR_UNKNOWN:
    default:
        return HIST_UNKNOWN;
    }
}

uint8_t load_topic_number(const struct load *l, const char *name)
{
    for (int i = 0; i < l->o->n_topics; i++) {
        if (strcmp(l->o->topics[i].name, name) == 0) {
            return l->o->topics[i].number;
        }
    }
    return 0;
}

void load_add_message(struct load *l, struct hist_event e, const weir_message *m,
                      uint8_t topic_number)
{
    struct value_name v;
    if (!value_read(m->value.data, m->value.size, &v) || v.run != l->o->run ||
        v.topic != topic_number) {
        e.flags |= HIST_BAD_VALUE;
    }
    e.topic = topic_number;
    e.partition = m->partition;
    e.offset = m->offset;
    e.producer = v.producer;
    e.counter = v.counter;
    hist_add(&l->hist, &e);
}

/* NAME:NUMBER:PARTITIONS */
static int add_topic(struct load_options *o, const char *text)
{
    unsigned number = 0;
    int partitions = 0;
    struct load_topic *t = &o->topics[o->n_topics];
    if (o->n_topics == LOAD_MAX_TOPICS ||
        sscanf(text, "%255[^:]:%u:%d", t->name, &number, &partitions) != 3 || number < 1 ||
        number > 255 || partitions < 1 || partitions > LOAD_MAX_PARTITIONS) {
        return -1;
    }
    t->number = (uint8_t)number;
    t->partitions = partitions;
    o->n_topics++;
    return 0;
}

enum option_key {
    OPT_ROLE = 256,
    OPT_URL,
    OPT_HISTORY,
    OPT_TOPIC,
    OPT_GROUP,
    OPT_GROUP_NUMBER,
    OPT_NUMBER,
    OPT_RUN,
    OPT_SEED,
    OPT_RATE,
    OPT_INFLIGHT,
    OPT_SIZE,
    OPT_COUNT,
    OPT_EVERY,
    OPT_NACK,
    OPT_WORK,
    OPT_DELAY,
    OPT_LEVEL,
    OPT_EXTRA,
    OPT_HANDLE
};

static const struct option table[] = {{"role", 1, NULL, OPT_ROLE},
                                      {"url", 1, NULL, OPT_URL},
                                      {"history", 1, NULL, OPT_HISTORY},
                                      {"topic", 1, NULL, OPT_TOPIC},
                                      {"group", 1, NULL, OPT_GROUP},
                                      {"group-number", 1, NULL, OPT_GROUP_NUMBER},
                                      {"number", 1, NULL, OPT_NUMBER},
                                      {"run", 1, NULL, OPT_RUN},
                                      {"seed", 1, NULL, OPT_SEED},
                                      {"rate", 1, NULL, OPT_RATE},
                                      {"inflight", 1, NULL, OPT_INFLIGHT},
                                      {"size", 1, NULL, OPT_SIZE},
                                      {"count", 1, NULL, OPT_COUNT},
                                      {"every", 1, NULL, OPT_EVERY},
                                      {"nack", 1, NULL, OPT_NACK},
                                      {"work-us", 1, NULL, OPT_WORK},
                                      {"delay-ms", 1, NULL, OPT_DELAY},
                                      {"level", 1, NULL, OPT_LEVEL},
                                      {"extra", 1, NULL, OPT_EXTRA},
                                      {"handle", 1, NULL, OPT_HANDLE},
                                      {NULL, 0, NULL, 0}};

static uint64_t number_of(const char *text)
{
    return strtoull(text, NULL, 0);
}

static int take(struct load_options *o, int key, const char *v)
{
    switch (key) {
    case OPT_ROLE:
        o->role = v;
        return 0;
    case OPT_URL:
        o->url = v;
        return 0;
    case OPT_HISTORY:
        o->history = v;
        return 0;
    case OPT_TOPIC:
        return add_topic(o, v);
    case OPT_GROUP:
        o->group = v;
        return 0;
    case OPT_GROUP_NUMBER:
        o->group_number = (uint32_t)number_of(v);
        return 0;
    case OPT_NUMBER:
        o->number = (uint32_t)number_of(v);
        return 0;
    case OPT_RUN:
        o->run = number_of(v);
        return 0;
    case OPT_SEED:
        o->seed = number_of(v);
        return 0;
    case OPT_RATE:
        o->rate = (uint32_t)number_of(v);
        return 0;
    case OPT_INFLIGHT:
        o->inflight = (uint32_t)number_of(v);
        return 0;
    case OPT_SIZE:
        return sscanf(v, "%u-%u", &o->size_min, &o->size_max) == 2 && o->size_min >= VALUE_HEAD &&
                       o->size_max >= o->size_min && o->size_max <= VALUE_MAX
                   ? 0
                   : -1;
    case OPT_COUNT:
        o->count = number_of(v);
        return 0;
    case OPT_EVERY:
        o->every = (uint32_t)number_of(v);
        return 0;
    case OPT_NACK:
        o->nack_percent = (uint32_t)number_of(v);
        return 0;
    case OPT_WORK:
        o->work_us = (uint32_t)number_of(v);
        return 0;
    case OPT_DELAY:
        o->delay_ms = (uint32_t)number_of(v);
        return 0;
    case OPT_LEVEL:
        o->level = strcmp(v, "written") == 0 ? HIST_WRITTEN : HIST_DURABLE;
        return 0;
    case OPT_EXTRA:
        o->extra = v;
        return 0;
    case OPT_HANDLE:
        o->handle = v;
        return 0;
    default:
        return -1;
    }
}

struct role {
    const char *name;
    enum hist_role role;
    int (*run)(struct load *l);
};
static const struct role roles[] = {
    {"produce", HIST_PRODUCER, load_produce}, {"read", HIST_READER, load_read},
    {"final", HIST_LAST_READER, load_final},  {"member", HIST_MEMBER, load_member},
    {"worker", HIST_WORKER, load_work},       {"observe", HIST_OBSERVER, load_observe},
    {"probe", HIST_PRODUCER, load_probe},
};

static const struct role *find_role(const char *name)
{
    for (size_t i = 0; name && i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (strcmp(roles[i].name, name) == 0) {
            return &roles[i];
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct load_options o = {.url = "weir://127.0.0.1:9347",
                                    .extra = "",
                                    .handle = "",
                                    .inflight = 256,
                                    .size_min = 64,
                                    .size_max = 256,
                                    .every = 64,
                                    .number = 1,
                                    .run = 1,
                                    .seed = 1};
    int key;
    while ((key = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (key == '?' || take(&o, key, optarg)) {
            fprintf(stderr, "weir-load: bad option %s\n", argv[optind - 1]);
            return 2;
        }
    }
    const struct role *r = find_role(o.role);
    if (!r || !o.history || o.n_topics == 0 || optind != argc) {
        fprintf(stderr,
                "usage: weir-load --role ROLE --history FILE --topic NAME:NUMBER:PARTITIONS "
                "[--url URL] ...\n");
        return 2;
    }
    struct sigaction sa;
    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = on_signal;
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    sa.sa_handler = on_interrupt; /* without SA_RESTART: what waits in the library is interrupted */
    sigaction(SIGUSR1, &sa, NULL);

    static struct load l;
    l.o = &o;
    l.rng = (o.seed ^ ((uint64_t)o.number << 32)) | 1;
    for (int i = 0; i < 8; i++) {
        load_random(&l, 2);
    }
    if (hist_create(&l.hist, o.history, r->role, o.number, o.run)) {
        perror(o.history);
        return 2;
    }
    int rc = r->run(&l);
    if (hist_finish(&l.hist)) {
        perror(o.history);
        rc = 2;
    }
    return rc;
}
