/*
 * make_fuzz_seeds DIR [DICTIONARY]: writes the seed corpus of every target below DIR
 * (tests/fuzz/corpus), from the sample messages, and a dictionary (tests/fuzz/weir.dict) from the
 * tables of operations, errors and settings. Run it when a message changes, and commit what it
 * wrote. Seeds from recorded sessions come from record.py.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "proto/compress.h"
#include "proto/msg_group.h"
#include "tests/unit/proto/samples.h"

enum { PATH_BYTES = 1024 };

static void save(const char *dir, const char *target, const char *name, const struct buf *b)
{
    char path[PATH_BYTES];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, target);
    (void)mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", dir, target, name);
    f = fopen(path, "wb");
    if (f == NULL || fwrite(b->p, 1, b->len, f) != b->len || fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

static void save_messages(const char *dir)
{
    size_t n;
    const struct sample *s = samples(&n);
    struct buf frame = {0}, b = {0}, stream = {0};

    buf_put_u8(&stream, 0);
    for (size_t i = 0; i < n; i++) {
        struct slice body;

        buf_clear(&frame);
        sample_put(&s[i], &frame);
        buf_put(&stream, frame.p, frame.len);
        body = slice_of(frame.p + FRAME_HEAD, frame.len - FRAME_HEAD);
        buf_clear(&b);
        buf_put(&b, body.p, body.n);
        save(dir, "mpread", s[i].name, &b);
        if (s[i].from == FROM_CLIENT) {
            save(dir, "frame", s[i].name, &b);
            continue;
        }
        buf_clear(&b);
        buf_put_u8(&b, (uint8_t)s[i].op);
        buf_put(&b, body.p, body.n);
        save(dir, "client_response", s[i].name, &b);
    }
    save(dir, "frame_header", "stream", &stream);
    buf_fini(&frame);
    buf_fini(&b);
    buf_fini(&stream);
}

static void save_batches(const char *dir)
{
    static const struct {
        const char *name;
        uint8_t mode;
        void (*put)(struct buf *);
    } rows[] = {
        {"produced", 0, sample_batch},      {"produced_no_crc", 3, sample_batch},
        {"zstd", 0, sample_zstd_batch},     {"zstd_full", 11, sample_zstd_batch},
        {"stored", 4, sample_stored_batch}, {"stored_zstd", 5, sample_zstd_batch},
    };
    struct buf b = {0};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_clear(&b);
        buf_put_u8(&b, rows[i].mode);
        rows[i].put(&b);
        save(dir, "batch", rows[i].name, &b);
    }
    buf_clear(&b);
    sample_zstd_batch(&b);
    buf_consume(&b, BATCH_HEAD);
    {
        struct buf z = {0};

        buf_put_be16(&z, 40);
        buf_put(&z, b.p, b.len);
        save(dir, "zstd_batch", "records", &z);
        buf_clear(&z);
        buf_put_be16(&z, 1);
        if (zstd_pack(NULL, slice_str("\x94 not a record"), &z) == WERR_OK) {
            save(dir, "zstd_batch", "no_record", &z);
        }
        buf_fini(&z);
    }
    buf_fini(&b);
}

static void save_settings(const char *dir)
{
    static const char *const texts[] = {"retention.ms=7d", "durability=os", "hold.bytes=10GiB",
                                        "partitions=1024"};
    struct topic_config c;
    struct buf b = {0};

    topic_config_defaults(&c);
    topic_config_put(&b, &c, true);
    save(dir, "topic_config", "all", &b);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char name[] = "text_0";

        name[5] = (char)('0' + i);
        buf_clear(&b);
        buf_put(&b, texts[i], strlen(texts[i]));
        save(dir, "topic_config", name, &b);
    }
    buf_fini(&b);
}

static void save_group_settings(const char *dir)
{
    static const char *const texts[] = {"max_rate=500/s", "paused_until=forever", "order=key",
                                        "max_processing_ms=15m"};
    struct group_config c;
    struct buf b = {0};

    group_config_defaults(&c, GROUP_MODE_QUEUE);
    group_config_put(&b, &c, true);
    save(dir, "group_config", "all", &b);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char name[] = "text_0";

        name[5] = (char)('0' + i);
        buf_clear(&b);
        buf_put(&b, texts[i], strlen(texts[i]));
        save(dir, "group_config", name, &b);
    }
    buf_fini(&b);
}

/* Text for the parsers that byte 0 chooses between. */
static void save_texts(const char *dir)
{
    static const struct {
        const char *target;
        uint8_t mode;
        const char *text;
    } rows[] = {
        {"client_text", 0, "weir://a:9347,[::1]:1,b?linger_ms=5&compression=zstd"},
        {"client_text", 0, "weir+unix:///run/weir.sock?producer=p"},
        {"client_text", 1, "linger_ms=5 batch_bytes=65536 client_id=x in_flight=3"},
        {"client_text", 5, "send_timeout_ms=100&buffer_bytes=1000000"},
        {"client_text", 2, "start=@1700000000000 partitions=0,3,5 stop_at_end=1"},
        {"client_text", 3, "mode=queue order=key prefetch=4 lease_ms=5000"},
        {"client_text", 3, "mode=log commit=manual member=000102030405060708090a0b0c0d0e0f"},
        {"cli_text", 0, "produce\nt\n--partition=3\n-v\n--delay\n10m\n--\n-x"},
        {"cli_text", 0, "group\nseek\ng\n--to\n-1h\n--dry-run\n-s\nweir://h"},
        {"cli_text", 1, "2026-01-31T12:00:00.123+02:00"},
        {"cli_text", 1, "@-1h30m"},
        {"cli_text", 1, "topic 3 1500"},
        {"cli_text", 2, "1h30m"},
        {"cli_text", 2, "3:10-20"},
        {"cli_text", 2, "header:name=value"},
        {"cli_text", 2, "500/s"},
        {"cli_text", 3, "%p %o %k %v %h %d %r\\n"},
        {"cli_text", 4, "{\"a\":[1,{}],\"id\":\"\\u00e9\\n\",\"z\":null}"},
        {"config", 0, "# comment\nlisten = \"127.0.0.1:0\"\nmemory = 1GiB\ndev = true\n"},
        {"config", 1, "drain"},
    };
    struct buf b = {0};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[] = "text_00";

        name[5] = (char)('0' + i / 10);
        name[6] = (char)('0' + i % 10);
        buf_clear(&b);
        buf_put_u8(&b, rows[i].mode);
        buf_put(&b, rows[i].text, strlen(rows[i].text));
        save(dir, rows[i].target, name, &b);
    }
    buf_fini(&b);
}

/* The beginnings of frames by operation, and words that decoders look for. */
static void write_dictionary(const char *path)
{
    static const struct {
        const char *name;
        unsigned op;
    } ops[] = {
#define X(name, number, state, since) {#name, number},
#include "proto/ops.def"
#undef X
    };
    static const char *const words[] = {"max_push",   "min_bytes", "max_wait_ms", "after",  "limit",
                                        "deliver_at", "dry_run",   "force",       "rate",   "log",
                                        "queue",      "key",       "none",        "tp",     "dl",
                                        "log_start",  "hw",        "earliest",    "latest", "zstd",
                                        "group",      "topic"};
    FILE *f = fopen(path, "w");

    if (f == NULL) {
        perror(path);
        exit(1);
    }
    fprintf(f, "# Written by make_fuzz_seeds from the tables of operations, errors, settings.\n");
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        fprintf(f, "\"\\x94\\x00\\x01\\x%02x\"\n", ops[i].op);
        fprintf(f, "\"\\x94\\x02\\x01\\x%02x\"\n", ops[i].op);
    }
    for (unsigned c = 1; c < WERR_IO; c++) {
        fprintf(f, "\"\\x94\\x%02x\\x00\\xa1e\\x80\"\n", c & 0x7f);
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        fprintf(f, "\"\\x%02x%s\"\n", (unsigned)(0xa0 + strlen(words[i])), words[i]);
    }
    for (const char *const *k = topic_config_keys(); *k != NULL; k++) {
        fprintf(f, "\"\\x%02x%s\"\n", (unsigned)(0xa0 + strlen(*k)), *k);
    }
    fclose(f);
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: make_fuzz_seeds DIR [DICTIONARY]\n");
        return 2;
    }
    if (argc == 3) {
        write_dictionary(argv[2]);
    }
    save_texts(argv[1]);
    (void)mkdir(argv[1], 0777);
    save_messages(argv[1]);
    save_batches(argv[1]);
    save_settings(argv[1]);
    save_group_settings(argv[1]);
    return 0;
}
