/* Commands, and the answers to them. chaosproxy.c lists the words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/faults/inject/chaos.h"

struct word {
    const char *name;
    int value;
};
static const struct word ops[] = {
    {"HELLO", 1},       {"PING", 3},          {"INIT_PRODUCER", 4}, {"METADATA", 5},
    {"PRODUCE", 10},    {"FETCH", 11},        {"SUBSCRIBE", 12},    {"CREDIT", 13},
    {"SUB_UPDATE", 14}, {"LIST_OFFSETS", 15}, {"JOIN", 20},         {"HEARTBEAT", 21},
    {"LEAVE", 22},      {"COMMIT", 23},       {"COMMITTED", 24},    {"ACQUIRE", 30},
    {"SETTLE", 31},     {"DELIVER", 100},     {"CHANGED", 102},     {"any", CHAOS_ANY},
    {NULL, 0},
};
static const struct word dirs[] = {
    {"up", CHAOS_UP}, {"down", CHAOS_DOWN}, {"both", CHAOS_ANY}, {NULL, 0}};
static const struct word ends[] = {
    {"fin", CHAOS_FIN}, {"rst", CHAOS_RST}, {"any", CHAOS_ANY}, {NULL, 0}};
static const struct word places[] = {
    {"random", CHAOS_AT_RANDOM}, {"sweep", CHAOS_AT_SWEEP}, {"end", CHAOS_AT_END}, {NULL, 0}};

static bool number(const char *text, long *v)
{
    char *end = NULL;

    *v = strtol(text, &end, 10);
    return end != text && *end == '\0' && *v >= 0;
}

static bool find(const struct word *w, const char *text, int *v)
{
    for (; w->name; w++) {
        if (strcmp(w->name, text) == 0) {
            *v = w->value;
            return true;
        }
    }
    return false;
}

static bool find_or_number(const struct word *w, const char *text, long *v)
{
    int named = 0;

    if (find(w, text, &named)) {
        *v = named;
        return true;
    }
    return number(text, v);
}

/* One key=value of a rule. */
static bool rule_word(struct chaos_rule *r, const char *key, const char *v)
{
    long n = 0;
    bool ok = false;
    char *end = NULL;

    if (strcmp(key, "op") == 0) {
        ok = find_or_number(ops, v, &n) && n < CHAOS_OPS;
        r->op = (int)n;
    } else if (strcmp(key, "dir") == 0) {
        ok = find(dirs, v, &r->dir);
    } else if (strcmp(key, "how") == 0) {
        ok = find(ends, v, &r->how);
    } else if (strcmp(key, "at") == 0) {
        ok = find_or_number(places, v, &r->at);
    } else if (strcmp(key, "p") == 0) {
        r->chance = strtod(v, &end);
        ok = end != v && *end == '\0';
    } else if (strcmp(key, "after") == 0) {
        ok = number(v, &r->after);
    } else if (strcmp(key, "times") == 0) {
        ok = number(v, &r->times);
    } else if (strcmp(key, "for") == 0) {
        ok = number(v, &r->for_ms);
    }
    return ok;
}

static bool rule_words(struct chaos_rule *r, char **save)
{
    char *word;

    while ((word = strtok_r(NULL, " \t", save)) != NULL) {
        char *eq = strchr(word, '=');

        if (!eq) {
            return false;
        }
        *eq = '\0';
        if (!rule_word(r, word, eq + 1)) {
            return false;
        }
    }
    return true;
}

/* The fault of that name; rules can have it when it is no setting. */
static bool fault_named(const char *name, enum chaos_fault *f)
{
    for (int i = CHAOS_CUT; name && i <= CHAOS_HOLD; i++) {
        if (strcmp(chaos_fault_name((enum chaos_fault)i), name) == 0) {
            *f = (enum chaos_fault)i;
            return true;
        }
    }
    return false;
}

static struct chaos_rule new_rule(void)
{
    return (struct chaos_rule){.op = CHAOS_ANY,
                               .dir = CHAOS_ANY,
                               .chance = 1,
                               .times = -1,
                               .at = CHAOS_AT_RANDOM,
                               .how = CHAOS_ANY,
                               .for_ms = 1000};
}

static bool add_rule(struct chaos *c, char **save)
{
    struct chaos_rule r = new_rule();

    if (c->n_rules == CHAOS_RULES || !fault_named(strtok_r(NULL, " \t", save), &r.fault) ||
        !rule_words(&r, save)) {
        return false;
    }
    c->rules[c->n_rules++] = r;
    return true;
}

static bool setting(struct chaos_settings *s, const char *key, const char *value)
{
    long v = 0;
    const bool ok = number(value, &v);

    if (strcmp(key, "delay") == 0) {
        s->delay_ms = v;
    } else if (strcmp(key, "jitter") == 0) {
        s->jitter_ms = v;
    } else if (strcmp(key, "rate") == 0) {
        s->rate = v;
    } else if (strcmp(key, "segment") == 0) {
        s->segment = v;
    } else {
        return false;
    }
    return ok;
}

static bool set(struct chaos *c, char **save)
{
    const char *which = strtok_r(NULL, " \t", save);
    char *word;
    int dir = 0;

    if (!which || !find(dirs, which, &dir)) {
        return false;
    }
    while ((word = strtok_r(NULL, " \t", save)) != NULL) {
        char *eq = strchr(word, '=');

        if (!eq) {
            return false;
        }
        *eq = '\0';
        for (int d = 0; d < 2; d++) {
            if ((dir == CHAOS_ANY || dir == d) && !setting(&c->set[d], word, eq + 1)) {
                return false;
            }
        }
    }
    return true;
}

static bool hit(struct chaos_conn *k, const struct chaos_rule *r)
{
    const int64_t now_ns = chaos_now_ns();

    if (k->dead || k->half_open || k->cut != CHAOS_ANY) {
        return false;
    }
    switch (r->fault) {
    case CHAOS_CUT:
        chaos_end(k, r->how == CHAOS_ANY ? (int)chaos_random(k->c, 2) : r->how);
        return true;
    case CHAOS_STALL:
        k->stalled_until_ns = now_ns + r->for_ms * 1000000;
        return true;
    case CHAOS_HALF_OPEN:
        k->half_open = true;
        return true;
    default:
        return false;
    }
}

/* Breaks connections that exist: all of them, or each with chance p. */
static bool at_once(struct chaos *c, char **save, long *n)
{
    struct chaos_rule r = new_rule();

    *n = 0;
    if (!fault_named(strtok_r(NULL, " \t", save), &r.fault) || !rule_words(&r, save)) {
        return false;
    }
    for (struct chaos_conn *k = c->all; k && (r.times < 0 || *n < r.times); k = k->next) {
        if ((r.chance >= 1 || (double)chaos_random(c, 1000000) < r.chance * 1e6) && hit(k, &r)) {
            c->counts[r.fault]++;
            ++*n;
        }
    }
    return true;
}

static void heal(struct chaos *c)
{
    c->n_rules = 0;
    memset(c->set, 0, sizeof c->set);
    c->frozen = c->refuse = false;
    for (struct chaos_conn *k = c->all; k; k = k->next) {
        k->hold_op = 0;
        k->stalled_until_ns = 0;
        if (k->half_open) {
            chaos_end(k, CHAOS_RST);
        }
    }
}

static void say_counts(const struct chaos *c, char *out, size_t n)
{
    size_t at = 0;

    for (int i = CHAOS_CUT; i < CHAOS_FAULTS; i++) {
        at += (size_t)snprintf(out + at, n - at, "%s\"%s\": %llu", at ? ", " : "{",
                               chaos_fault_name((enum chaos_fault)i),
                               (unsigned long long)c->counts[i]);
    }
    snprintf(out + at, n - at,
             ", \"same_offset\": %llu, \"other_offset\": %llu, \"frames\": %llu, \"connections\": "
             "%llu, \"bytes_up\": %llu, \"bytes_down\": %llu}\n",
             (unsigned long long)c->same, (unsigned long long)c->other,
             (unsigned long long)c->frames, (unsigned long long)c->connections,
             (unsigned long long)c->bytes[CHAOS_UP], (unsigned long long)c->bytes[CHAOS_DOWN]);
}

static void say_sweeps(const struct chaos *c, char *out, size_t n)
{
    size_t at = (size_t)snprintf(out, n, "{");

    for (int d = 0; d < 2; d++) {
        for (int op = 0; op < CHAOS_OPS; op++) {
            const struct chaos_sweep *s = &c->sweep[d][op];

            if (s->longest > 0 && at < n) {
                at += (size_t)snprintf(out + at, n - at, "%s\"%s.%d\": [%u, %u, %u]",
                                       at > 1 ? ", " : "", d == CHAOS_UP ? "up" : "down", op,
                                       s->next, s->shortest, s->longest);
            }
        }
    }
    if (at < n) {
        snprintf(out + at, n - at, "}\n");
    }
}

bool chaos_obey(struct chaos *c, char *line, char *out, size_t n_out)
{
    char *save = NULL;
    const char *word = strtok_r(line, " \t\r", &save);
    bool ok = true;
    long n = 0;

    snprintf(out, n_out, "ok\n");
    if (!word) {
        return true;
    }
    if (strcmp(word, "rule") == 0) {
        ok = add_rule(c, &save);
    } else if (strcmp(word, "clear") == 0) {
        c->n_rules = 0;
    } else if (strcmp(word, "set") == 0) {
        ok = set(c, &save);
    } else if (strcmp(word, "now") == 0) {
        ok = at_once(c, &save, &n);
        snprintf(out, n_out, "ok %ld\n", n);
    } else if (strcmp(word, "freeze") == 0 || strcmp(word, "thaw") == 0) {
        c->frozen = *word == 'f';
    } else if (strcmp(word, "refuse") == 0 || strcmp(word, "accept") == 0) {
        c->refuse = *word == 'r';
    } else if (strcmp(word, "heal") == 0) {
        heal(c);
    } else if (strcmp(word, "counts") == 0) {
        say_counts(c, out, n_out);
    } else if (strcmp(word, "sweeps") == 0) {
        say_sweeps(c, out, n_out);
    } else {
        ok = strcmp(word, "quit") == 0;
        if (ok) {
            return false;
        }
    }
    if (!ok) {
        snprintf(out, n_out, "error: not understood\n");
    }
    return true;
}
