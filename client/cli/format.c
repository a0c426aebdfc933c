#include "client/cli/format.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The byte that an escape stands for; *s is on the backslash and moves past it. -1: unknown. */
static int escape(const char **s)
{
    static const char letters[] = "ntr0\\";
    static const char bytes[] = "\n\t\r\0\\";
    char c = (*s)[1];
    const char *at = c ? strchr(letters, c) : NULL;
    if (at) {
        *s += 2;
        return (unsigned char)bytes[at - letters];
    }
    if (c == 'x' && hex_digit((*s)[2]) >= 0 && hex_digit((*s)[3]) >= 0) {
        int v = hex_digit((*s)[2]) * 16 + hex_digit((*s)[3]);
        *s += 4;
        return v;
    }
    return -1;
}

static void add_literal(struct format *f, size_t *n_literals, char byte)
{
    struct format_piece *last = f->n_pieces ? &f->pieces[f->n_pieces - 1] : NULL;
    if (!last || last->letter) {
        f->pieces[f->n_pieces++] = (struct format_piece){.from = *n_literals};
        last = &f->pieces[f->n_pieces - 1];
    }
    f->literals[(*n_literals)++] = byte;
    last->n++;
}

bool format_init(struct format *f, const char *text, char *error, size_t error_size)
{
    size_t n_literals = 0;
    *f = (struct format){.pieces = calloc(strlen(text) + 1, sizeof *f->pieces),
                         .literals = malloc(strlen(text) + 1)};
    if (!f->pieces || !f->literals) {
        snprintf(error, error_size, "out of memory");
        return false;
    }
    for (const char *s = text; *s;) {
        if (*s == '\\') {
            int byte = escape(&s);
            if (byte < 0) {
                snprintf(error, error_size, "unknown escape '\\%.1s' in the format", s + 1);
                return false;
            }
            add_literal(f, &n_literals, (char)byte);
        } else if (s[0] == '%' && s[1] == '%') {
            add_literal(f, &n_literals, '%');
            s += 2;
        } else if (*s == '%') {
            if (!s[1] || !strchr("kvsKStpoTahdr", s[1])) {
                snprintf(error, error_size, "unknown '%%%.1s' in the format", s + 1);
                return false;
            }
            f->pieces[f->n_pieces++] = (struct format_piece){.letter = s[1]};
            s += 2;
        } else {
            add_literal(f, &n_literals, *s++);
        }
    }
    return true;
}

static void headers_write(FILE *out, const weir_message *m)
{
    size_t pos = 0;
    weir_bytes name, value;
    for (bool first = true; weir_message_next_header(m, &pos, &name, &value); first = false) {
        if (!first) {
            fputc(',', out);
        }
        fwrite(name.data, 1, name.size, out);
        fputc('=', out);
        if (value.size) {
            fwrite(value.data, 1, value.size, out);
        }
    }
}

static void bytes_write(FILE *out, weir_bytes b)
{
    if (b.size) {
        fwrite(b.data, 1, b.size, out);
    }
}

static void size_write(FILE *out, weir_bytes b)
{
    if (b.data) {
        fprintf(out, "%zu", b.size);
    } else {
        fputs("-1", out);
    }
}

static void letter_write(char letter, FILE *out, const weir_message *m)
{
    switch (letter) {
    case 'k':
        bytes_write(out, m->key);
        break;
    case 'v':
    case 's':
        bytes_write(out, m->value);
        break;
    case 'K':
        size_write(out, m->key);
        break;
    case 'S':
        size_write(out, m->value);
        break;
    case 't':
        fputs(m->topic, out);
        break;
    case 'p':
        fprintf(out, "%" PRId32, m->partition);
        break;
    case 'o':
        fprintf(out, "%" PRId64, m->offset);
        break;
    case 'T':
        fprintf(out, "%" PRId64, m->timestamp_ms);
        break;
    case 'a':
        fprintf(out, "%" PRId64, m->append_ms);
        break;
    case 'd':
        fprintf(out, "%" PRIu32, m->deliveries);
        break;
    case 'r':
        fputs(m->reason ? m->reason : "", out);
        break;
    default: /* 'h'; format_init lets no other through */
        headers_write(out, m);
        break;
    }
}

void format_write(const struct format *f, FILE *out, const weir_message *m)
{
    for (size_t i = 0; i < f->n_pieces; i++) {
        const struct format_piece *p = &f->pieces[i];
        if (p->letter) {
            letter_write(p->letter, out, m);
        } else {
            fwrite(f->literals + p->from, 1, p->n, out);
        }
    }
}

void format_fini(struct format *f)
{
    free(f->pieces);
    free(f->literals);
    *f = (struct format){0};
}
