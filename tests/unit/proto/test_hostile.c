/* Replays tests/data/hostile: inputs that attack a server or a consumer, with the right answers. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/proto/args.h"
#include "tests/unit/proto/walk.h"

#define DATA WEIR_SOURCE_DIR "/tests/data/hostile/"
enum { LINE = 512, INPUTS = 101 };

static void hex(struct buf *b, const char *s)
{
    for (; s[0] != '\0' && s[0] != '-'; s += 2) {
        const char pair[] = {s[0], s[1], '\0'};

        buf_put_u8(b, (uint8_t)strtoul(pair, NULL, 16));
    }
}

/* Fields of a line that are separated by tabs; the line is cut into them. */
static size_t split(char *line, char **field, size_t max)
{
    size_t n = 0;

    line[strcspn(line, "\n")] = '\0';
    while (line != NULL && n < max) {
        field[n++] = line;
        line = strchr(line, '\t');
        if (line != NULL) {
            *line++ = '\0';
        }
    }
    return n;
}

static bool load_big(const char *name, struct buf *b)
{
    FILE *f = fopen(DATA "big.tsv", "r");
    char line[LINE], *field[5];
    bool found = false;

    assert_non_null(f);
    while (!found && fgets(line, sizeof line, f) != NULL) {
        if (line[0] != '#' && split(line, field, 5) == 5 && strcmp(field[0], name) == 0) {
            struct buf unit = {0};

            hex(&unit, field[2]);
            hex(b, field[1]);
            for (unsigned long i = strtoul(field[3], NULL, 10); i > 0; i--) {
                buf_put(b, unit.p, unit.len);
            }
            hex(b, field[4]);
            buf_fini(&unit);
            found = true;
        }
    }
    fclose(f);
    return found;
}

/* The input of that name in a block of exactly its size. */
static uint8_t *load(const char *name, size_t *n)
{
    struct buf b = {0};
    char path[LINE];
    uint8_t *exact;

    if (!load_big(name, &b)) {
        FILE *f;
        int c;

        snprintf(path, sizeof path, DATA "corpus/%s.bin", name);
        f = fopen(path, "rb");
        assert_non_null(f);
        while ((c = getc(f)) != EOF) {
            buf_put_u8(&b, (uint8_t)c);
        }
        fclose(f);
    }
    exact = malloc(b.len);
    assert_non_null(exact);
    memcpy(exact, b.p, b.len);
    *n = b.len;
    buf_fini(&b);
    return exact;
}

/* What a server answers to the body of one frame. */
static enum werr answer(const uint8_t *p, size_t n, bool full)
{
    struct frame f;
    struct werror e;
    struct msg_produce m;
    enum werr rc = frame_parse(slice_of(p, n), &f, &e);

    if (rc != WERR_OK) {
        return rc;
    }
    if (f.kind == FRAME_REQUEST && f.op == OP_PRODUCE) {
        rc = msg_get_produce(&f.args, &m, &e);
        return rc == WERR_OK ? walk_produced(m.batch, full, &e) : rc;
    }
    return walk_request(&f, &e);
}

static enum werr answer_stream(const uint8_t *p, size_t n)
{
    while (n > 0) {
        size_t total = 0;
        enum werr rc = frame_length(p, n, LIMIT_FRAME, &total, NULL);

        if (rc != WERR_OK) {
            return rc;
        }
        if (total > n) {
            return WERR_AGAIN;
        }
        rc = answer(p + FRAME_HEAD, total - FRAME_HEAD, false);
        if (rc != WERR_OK) {
            return rc;
        }
        p += total;
        n -= total;
    }
    return WERR_OK;
}

static void expect(const char *name, enum werr got, const char *want)
{
    const char *text = got == WERR_OK ? "OK" : werr_name(got);

    if (strcmp(text, want) != 0) {
        print_error("%s: %s, want %s\n", name, text, want);
    }
    assert_string_equal(text, want);
}

static void test_every_input_gets_its_answer(void **state)
{
    FILE *f = fopen(DATA "verdicts.tsv", "r");
    char line[LINE], *field[3];
    unsigned inputs = 0;

    (void)state;
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        uint8_t *p;
        size_t n;

        if (line[0] == '#') {
            continue;
        }
        assert_int_equal(split(line, field, 3), 3);
        p = load(field[0], &n);
        if (strncmp(field[0], "f_", 2) == 0) {
            expect(field[0], answer_stream(p, n), field[1]);
        } else {
            expect(field[0], answer(p, n, false), field[1]);
            expect(field[0], answer(p, n, true), field[2]);
        }
        free(p);
        inputs++;
    }
    fclose(f);
    assert_int_equal(inputs, INPUTS);
}

/* The same bytes where a client expects an answer: any result, but no crash and no big work. */
static void test_clients_survive_them_too(void **state)
{
    FILE *f = fopen(DATA "verdicts.tsv", "r");
    char line[LINE], *field[3];

    (void)state;
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        uint8_t *p;
        size_t n;

        if (line[0] == '#') {
            continue;
        }
        assert_int_equal(split(line, field, 3), 3);
        p = load(field[0], &n);
        for (uint32_t op = 0; op < 64; op++) {
            struct frame r = {.kind = FRAME_RESPONSE};
            struct werror e;

            mpread_init(&r.args, p, n);
            (void)walk_response(op, &r, &e);
            (void)walk_batches(slice_of(p, n), &e);
        }
        free(p);
    }
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_input_gets_its_answer),
        cmocka_unit_test(test_clients_survive_them_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
