#ifndef WEIR_PROTO_LIMITS_H
#define WEIR_PROTO_LIMITS_H
/* Every limit of the wire and of names, in one place. All are tested at n and n + 1. */

enum {
    LIMIT_FRAME = 16 << 20,         /* bytes after the length prefix, once HELLO is done */
    LIMIT_FRAME_PREAUTH = 4 << 10,  /* the same before HELLO */
    LIMIT_INPUT_PREAUTH = 16 << 10, /* bytes in total before HELLO */
    LIMIT_OUTPUT_PREAUTH = 4 << 10,
    LIMIT_HELLO_MS = 10 * 1000, /* time to say HELLO */
    LIMIT_BATCH = 15 << 20,     /* whole record batch, header included */
    LIMIT_BATCH_RECORDS = 65535,
    LIMIT_MESSAGE_DEFAULT = 1 << 20, /* key + value + headers of one record */
    LIMIT_MESSAGE_CAP = 8 << 20,
    LIMIT_UNZIPPED = 16 << 20, /* decompressed records of one batch */
    LIMIT_ZSTD_RATIO = 1024,
    LIMIT_ZSTD_WINDOW_LOG = 23,
    LIMIT_HEADERS = 64,
    LIMIT_HEADER_BYTES = 16 << 10,
    LIMIT_NAME = 100,
    LIMIT_TOPIC_NAME = 2 * LIMIT_NAME + 5, /* TOPIC~GROUP~dlq, made by the broker */
    LIMIT_META_PAIRS = 16,
    LIMIT_META_BYTES = 1 << 10,
    LIMIT_DETAIL_TEXT = 256,
    LIMIT_INFLIGHT_REQUESTS = 1024,  /* per connection */
    LIMIT_INFLIGHT_BYTES = 16 << 20, /* per connection */
    LIMIT_PRODUCER_WINDOW = 64,      /* batches per (producer, partition), in flight and deduped */
    LIMIT_SUBS = 64,                 /* subscriptions per connection */
    LIMIT_SUB_PARTITIONS = 4096,     /* partitions per subscription */
    LIMIT_FETCH_PARTITIONS = 64,
    LIMIT_PARTITIONS = 1024,        /* per topic */
    LIMIT_SLOTS = 1024,             /* key slots per topic */
    LIMIT_MP_DEPTH = 4,             /* nesting of containers inside args or a result */
    LIMIT_OPTIONS = 16,             /* pairs of an option map */
    LIMIT_METADATA_TOPICS = 1000,   /* names asked for at once, and topics of one page */
    LIMIT_OFFSET_SPECS = 4096,      /* entries of one LIST_OFFSETS */
    LIMIT_PAGE = 1000,              /* entries of a page of groups, delayed batches, connections */
    LIMIT_JOIN_TOPICS = 1000,       /* topics of one GROUP_JOIN */
    LIMIT_GROUP_PARTITIONS = 65536, /* partitions of one heartbeat, COMMITTED, GROUP_RESET */
    LIMIT_DLQ_SPANS = 10000,        /* ranges of one DLQ_REDRIVE, DLQ_PURGE; of a DLQ_LIST page */
};

/* u53: the largest integer that every language's number can hold. */
#define LIMIT_UINT ((UINT64_C(1) << 53) - 1)

#endif
