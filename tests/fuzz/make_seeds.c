/*
 * make_fuzz_seeds DIR: writes the seed corpus of every target below DIR (tests/fuzz/corpus), from
 * the sample messages. Run it when a message changes, and commit what it wrote.
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

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_fuzz_seeds DIR\n");
        return 2;
    }
    (void)mkdir(argv[1], 0777);
    save_messages(argv[1]);
    save_batches(argv[1]);
    save_settings(argv[1]);
    save_group_settings(argv[1]);
    return 0;
}
