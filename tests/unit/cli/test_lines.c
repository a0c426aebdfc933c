#include "tests/lib/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/lines.h"

enum { OUT_SIZE = 4096 };

struct feed {
    int fds[2];
    const char *input;
    size_t n, sent, piece;
};

/* Writes the next piece into the pipe; closes it after the last. */
static void feed_more(struct feed *f)
{
    size_t now = f->n - f->sent < f->piece ? f->n - f->sent : f->piece;
    if (f->fds[1] < 0) {
        return;
    }
    assert_int_equal(write(f->fds[1], f->input + f->sent, now), (ssize_t)now);
    f->sent += now;
    if (f->sent == f->n) {
        close(f->fds[1]);
        f->fds[1] = -1;
    }
}

/* All lines of an input that comes in pieces: '|' behind each, "<N>" for one that is too long. */
static const char *lines_of(const char *input, size_t n, size_t piece, size_t max)
{
    static char out[OUT_SIZE];
    struct feed f = {.input = input, .n = n, .piece = piece};
    struct lines l;
    size_t at = 0;
    const char *line;
    size_t len;
    assert_int_equal(pipe(f.fds), 0);
    assert_true(lines_init(&l, f.fds[0], max));
    for (enum line_result r = LINE_OK; r != LINE_END;) {
        r = lines_next(&l, &line, &len);
        if (r == LINE_OK) {
            at += (size_t)snprintf(out + at, OUT_SIZE - at, "%.*s|", (int)len, line);
        } else if (r == LINE_TOO_LONG) {
            at += (size_t)snprintf(out + at, OUT_SIZE - at, "<%zu>", len);
        } else if (r == LINE_MORE) {
            feed_more(&f);
            assert_int_equal(lines_fill(&l), 0);
        }
    }
    out[at] = 0;
    lines_fini(&l);
    lines_fini(&l);
    close(f.fds[0]);
    return out;
}

static void same_in_all_pieces(const char *input, size_t max, const char *expected)
{
    size_t n = strlen(input);
    for (size_t piece = 1; piece <= n + 1; piece++) {
        assert_string_equal(lines_of(input, n, piece, max), expected);
    }
}

static void lines_come_whole(void **state)
{
    (void)state;
    same_in_all_pieces("", 100, "");
    same_in_all_pieces("\n", 100, "|");
    same_in_all_pieces("a\nbc\n", 100, "a|bc|");
    same_in_all_pieces("a\n\nbc", 100, "a||bc|");
    same_in_all_pieces("a\r\n", 100, "a\r|");
}

static void long_lines_are_passed_over(void **state)
{
    (void)state;
    same_in_all_pieces("abc\nabcd\nx\n", 3, "abc|<4>x|");
    same_in_all_pieces("abcdefgh", 3, "<8>");
    same_in_all_pieces("abcdefgh\n", 3, "<8>");
    same_in_all_pieces("abcdefgh\nabcd\nab\n", 3, "<8><4>ab|");
}

/* Lines longer than the buffer at the start. */
static void the_buffer_grows(void **state)
{
    enum { N = 1 << 20 };
    char *input = malloc(N);
    struct lines l;
    int fds[2];
    const char *line = NULL;
    size_t len = 0;
    size_t sent = 0;
    (void)state;
    memset(input, 'x', N);
    input[N - 1] = '\n';
    assert_int_equal(pipe(fds), 0);
    assert_true(lines_init(&l, fds[0], N));
    while (lines_next(&l, &line, &len) == LINE_MORE) {
        if (sent < N) {
            assert_int_equal(write(fds[1], input + sent, 4096), 4096);
            sent += 4096;
        }
        assert_int_equal(lines_fill(&l), 0);
    }
    assert_int_equal(len, N - 1);
    assert_memory_equal(line, input, N - 1);
    lines_fini(&l);
    close(fds[0]);
    close(fds[1]);
    free(input);
}

static void a_bad_descriptor(void **state)
{
    struct lines l;
    (void)state;
    assert_true(lines_init(&l, -1, 10));
    assert_int_equal(lines_fill(&l), -1);
    lines_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_whole),
        cmocka_unit_test(long_lines_are_passed_over),
        cmocka_unit_test(the_buffer_grows),
        cmocka_unit_test(a_bad_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
