/*
 * Creating, altering and deleting topics.
 *
 * Happy path: checks, then one txn with the topic's row (and the counters that it used up), then
 * the change shows and done() runs. What can fail: the checks, a full disk: the topic is as before.
 * Numbers that a failed creation took are not used again.
 *
 * Changes of one name run one after another: those that come while one is on its way to the disk
 * wait in core->changes. A topic that is being created or deleted is hidden: nobody finds it, but
 * its name is taken.
 */
#include <assert.h>

#include "broker/core/group_impl.h"
#include "broker/core/mem.h"
#include "broker/core/slots.h"
#include "proto/killpoint.h"

struct change {
    struct job job;
    struct change *next; /* in core->changes */
    struct core_topic_rq *rq;
    struct core_topic *topic;
    struct topic_config conf; /* as given, then as it will be */
    uint32_t *ids;            /* partition numbers after the change */
    uint16_t *slots;          /* table after the change, NULL = contiguous */
    enum core_topic_verb verb;
    bool dry_run;
    uint8_t name_n;
    char name[LIMIT_TOPIC_NAME];
};

static struct slice change_name(const struct change *ch)
{
    return slice_of(ch->name, ch->name_n);
}

static struct slice change_name_copy(const struct change *ch, uint8_t out[LIMIT_TOPIC_NAME])
{
    memcpy(out, ch->name, ch->name_n);
    return slice_of(out, ch->name_n);
}

static void change_answer(struct change *ch)
{
    struct core_topic_rq *rq = ch->rq;

    free(ch->ids);
    free(ch->slots);
    free(ch);
    rq->done(rq);
}

static void tell(struct core *co, uint64_t tid)
{
    co->version++;
    if (co->conf.changed != NULL) {
        co->conf.changed(co->conf.changed_arg, tid);
    }
}

static void change_next(struct core *co, struct slice name);

static void hide(struct core *co, struct core_topic *t, bool hidden)
{
    co->n_hidden += hidden;
    co->n_hidden -= t->hidden;
    t->hidden = hidden;
}

/* ---------------------------------------------------------------- it is durable, or failed */

static void altered(struct core_topic *t, struct change *ch, struct core *co)
{
    t->conf = ch->conf;
    topic_set_parts(co, t, ch->conf.partitions, ch->ids);
    free(t->slots);
    t->slots = ch->slots;
    ch->slots = NULL; /* the topic's now */
}

static void change_apply(struct core *co, struct change *ch, bool ok)
{
    struct core_topic *t = ch->topic;

    t->change = NULL;
    switch (ch->verb) {
    case CORE_TOPIC_CREATE:
        WEIR_KILLPOINT(topic_create_after);
        if (ok) {
            hide(co, t, false);
            groups_topic_changed(co, t);
        }
        break;
    case CORE_TOPIC_ALTER:
        if (ok) {
            altered(t, ch, co);
            groups_topic_changed(co, t);
        }
        return;
    case CORE_TOPIC_DELETE:
        WEIR_KILLPOINT(topic_delete_after);
        hide(co, t, ok);
        t->deleting = false;
        for (uint32_t p = 0; !ok && p < t->n_parts; p++) {
            part_wake_all(t->parts[p]);
        }
        ok = !ok; /* stays when it failed */
        break;
    }
    if (!ok) {
        topic_unlink(co, t);
        topic_free(co, t);
    }
}

static void change_run(struct job *j, enum store_stage stage, enum werr rc, const struct werror *e)
{
    struct change *ch = (struct change *)(void *)j;
    struct core *co = j->co;
    struct core_topic_rq *rq = ch->rq;
    uint8_t name[LIMIT_TOPIC_NAME];

    if (stage != STORE_DONE) {
        return;
    }
    rq->err = (struct werror){.code = WERR_OK};
    if (rc != WERR_OK) {
        werror_set(&rq->err, rc, "%s", e != NULL ? e->text : werr_text(rc));
    } else {
        rq->result = ch->conf;
    }
    const uint64_t tid = rq->tid;
    const struct slice key = change_name_copy(ch, name);
    change_apply(co, ch, rc == WERR_OK);
    change_answer(ch);
    if (rc == WERR_OK) {
        tell(co, tid);
        retention_changed(co);
    }
    if (!co->closing) {
        change_next(co, key);
    }
}

/* ---------------------------------------------------------------- checks */

static enum werr check_room(struct core *co, const struct change *ch, uint32_t more_parts,
                            struct werror *e)
{
    if (ch->verb == CORE_TOPIC_CREATE && co->n_names >= co->conf.max_topics) {
        return werror_set(e, WERR_OVERLOADED, "%u topics exist, no more are allowed",
                          co->conf.max_topics);
    }
    if (co->n_parts + more_parts > co->conf.max_partitions) {
        return werror_set(e, WERR_OVERLOADED, "%llu partitions exist, %u more pass the limit %u",
                          (unsigned long long)co->n_parts, more_parts, co->conf.max_partitions);
    }
    if (more_parts > PART_IDS - co->next_part) {
        return werror_set(e, WERR_OVERLOADED, "%u more partitions: their numbers are used up",
                          more_parts);
    }
    return WERR_OK;
}

static enum werr check_config(const struct topic_config *c, struct werror *e)
{
    if (c->partitions < 1 || c->partitions > LIMIT_PARTITIONS) {
        return werror_set(e, WERR_INVALID_CONFIG, "partitions = %u: want 1 to %d", c->partitions,
                          LIMIT_PARTITIONS);
    }
    if (c->message_max_bytes < 1 || c->message_max_bytes > LIMIT_MESSAGE_CAP) {
        return werror_set(e, WERR_INVALID_CONFIG, "message.max_bytes = %u: want 1 to %d",
                          c->message_max_bytes, LIMIT_MESSAGE_CAP);
    }
    if (c->batch_max_records > LIMIT_BATCH_RECORDS) {
        return werror_set(e, WERR_INVALID_CONFIG, "batch.max_records = %u: want 0 to %d",
                          c->batch_max_records, LIMIT_BATCH_RECORDS);
    }
    return WERR_OK;
}

/* Fills ch->ids and ch->slots for ch->conf.partitions; takes new numbers from the counter. */
static void plan_parts(struct core *co, struct change *ch, const struct core_topic *t)
{
    const uint32_t old = t != NULL ? t->n_parts : 0, n = ch->conf.partitions;

    ch->ids = core_calloc(n, sizeof *ch->ids);
    for (uint32_t p = 0; p < n; p++) {
        ch->ids[p] = p < old ? t->parts[p]->id : co->next_part++;
    }
    if (t == NULL || (t->slots == NULL && old == n)) {
        return;
    }
    ch->slots = core_calloc(LIMIT_SLOTS, sizeof *ch->slots);
    if (t->slots != NULL) {
        memcpy(ch->slots, t->slots, LIMIT_SLOTS * sizeof *ch->slots);
    } else {
        slots_contiguous(ch->slots, old);
    }
    slots_grow(ch->slots, old, n);
}

/* ---------------------------------------------------------------- the verbs */

static void change_submit(struct core *co, struct change *ch, struct store_txn *t)
{
    ch->topic->change = ch;
    ch->job.run = change_run;
    job_submit(co, &ch->job, t, STORE_SYNC, false);
}

static void put_row(struct change *ch, struct store_txn *t)
{
    const struct meta_key k = topic_key(ch->topic->tid);
    struct buf row;

    buf_init(&row, 0);
    topic_encode(ch->topic, &ch->conf, ch->ids, ch->slots, &row);
    if (row.failed) {
        abort();
    }
    txn_put(t, TABLE_META, key_slice(&k), buf_slice(&row));
    buf_fini(&row);
}

static enum werr start_create(struct core *co, struct change *ch)
{
    struct core_topic_rq *rq = ch->rq;
    struct topic_config conf = co->conf.topic_defaults;
    struct core_topic *t = core_topic_by_name(co, change_name(ch));

    if (t != NULL) {
        rq->tid = t->tid;
        rq->result = t->conf;
        return werror_set(&rq->err, WERR_EXISTS, "topic %.*s exists", (int)ch->name_n, ch->name);
    }
    topic_config_merge(&conf, &ch->conf);
    ch->conf = conf;
    if (check_config(&conf, &rq->err) != WERR_OK ||
        check_room(co, ch, conf.partitions, &rq->err) != WERR_OK) {
        return rq->err.code;
    }
    rq->result = conf;
    if (ch->dry_run) {
        return WERR_OK;
    }
    plan_parts(co, ch, NULL);
    ch->topic = topic_new(co, change_name(ch), co->next_tid++, &conf, core_wall_ms(co));
    ch->topic->hidden = true;
    rq->tid = ch->topic->tid;
    topic_set_parts(co, ch->topic, conf.partitions, ch->ids);
    topic_link(co, ch->topic);
    struct store_txn *txn = store_txn_new(co->st);
    put_row(ch, txn);
    counters_put(co, txn);
    WEIR_KILLPOINT(topic_create_before);
    change_submit(co, ch, txn);
    return WERR_AGAIN;
}

static enum werr start_alter(struct core *co, struct change *ch, struct core_topic *t)
{
    struct core_topic_rq *rq = ch->rq;
    struct topic_config conf = t->conf;

    topic_config_merge(&conf, &ch->conf);
    ch->conf = conf;
    if (check_config(&conf, &rq->err) != WERR_OK) {
        return rq->err.code;
    }
    if (conf.partitions < t->n_parts) {
        return werror_set(&rq->err, WERR_INVALID_CONFIG,
                          "topic %.*s has %u partitions; they can only grow, not to %u",
                          (int)ch->name_n, ch->name, t->n_parts, conf.partitions);
    }
    if (check_room(co, ch, conf.partitions - t->n_parts, &rq->err) != WERR_OK) {
        return rq->err.code;
    }
    rq->result = conf;
    if (ch->dry_run) {
        return WERR_OK;
    }
    plan_parts(co, ch, t);
    ch->topic = t;
    struct store_txn *txn = store_txn_new(co->st);
    put_row(ch, txn);
    if (conf.partitions > t->n_parts) {
        counters_put(co, txn);
    }
    change_submit(co, ch, txn);
    return WERR_AGAIN;
}

static enum werr start_delete(struct core *co, struct change *ch, struct core_topic *t)
{
    struct core_topic_rq *rq = ch->rq;
    const struct meta_key row = topic_key(t->tid);

    rq->bytes_freed = 0;
    for (uint32_t p = 0; p < t->n_parts; p++) {
        rq->bytes_freed += store_partition_bytes(co->st, t->parts[p]->id);
    }
    ch->conf = t->conf;
    rq->result = t->conf;
    if (ch->dry_run) {
        return WERR_OK;
    }
    flight_submit(co); /* before the partitions go */
    ch->topic = t;
    hide(co, t, true);
    t->deleting = true;
    struct store_txn *txn = store_txn_new(co->st);
    for (uint32_t p = 0; p < t->n_parts; p++) {
        txn_drop_partition(txn, t->parts[p]->id);
        dedupe_rows_delete(t->parts[p]->id, txn);
    }
    groups_topic_rows_delete(co, t, txn);
    txn_delete(txn, TABLE_META, key_slice(&row));
    WEIR_KILLPOINT(topic_delete_before);
    change_submit(co, ch, txn);
    return WERR_AGAIN;
}

static enum werr change_try(struct core *co, struct change *ch)
{
    struct core_topic_rq *rq = ch->rq;

    if (co->draining || co->failed || co->closing) {
        return werror_set(&rq->err, WERR_SHUTTING_DOWN, "%s", werr_text(WERR_SHUTTING_DOWN));
    }
    if (ch->verb == CORE_TOPIC_CREATE) {
        return start_create(co, ch);
    }
    struct core_topic *t = core_topic_by_name(co, change_name(ch));
    if (t == NULL) {
        return werror_set(&rq->err, WERR_UNKNOWN_TOPIC, "no topic is called %.*s", (int)ch->name_n,
                          ch->name);
    }
    rq->tid = t->tid;
    return ch->verb == CORE_TOPIC_ALTER ? start_alter(co, ch, t) : start_delete(co, ch, t);
}

/* Runs changes of that name until one is on its way to the disk, or none is left. */
static void change_next(struct core *co, struct slice name)
{
    struct change **at = &co->changes;

    while (*at != NULL) {
        struct change *ch = *at;
        if (!slice_eq(change_name(ch), name)) {
            at = &ch->next;
            continue;
        }
        *at = ch->next;
        if (change_try(co, ch) == WERR_AGAIN) {
            return;
        }
        change_answer(ch);
        at = &co->changes; /* done() may have changed the list */
    }
}

static void change_wait(struct core *co, struct change *ch)
{
    struct change **at = &co->changes;

    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = ch;
}

void core_topic_change(struct core *co, struct core_topic_rq *rq)
{
    struct change *ch;

    rq->err = (struct werror){.code = WERR_OK};
    rq->tid = rq->bytes_freed = 0;
    rq->result = (struct topic_config){0};
    const bool internal = rq->internal || rq->verb != CORE_TOPIC_CREATE;
    if (name_check(rq->name, internal, &rq->err) != WERR_OK) {
        rq->done(rq);
        return;
    }
    ch = core_calloc(1, sizeof *ch);
    ch->rq = rq;
    ch->verb = rq->verb;
    ch->dry_run = rq->dry_run;
    ch->conf = rq->conf;
    ch->name_n = (uint8_t)rq->name.n;
    memcpy(ch->name, rq->name.p, rq->name.n);
    const struct core_topic *t = topic_lookup(co, rq->name);
    if (t != NULL && t->change != NULL) {
        change_wait(co, ch);
    } else if (change_try(co, ch) != WERR_AGAIN) {
        change_answer(ch);
    }
    /* NOLINTNEXTLINE(clang-analyzer-*): core->changes or core->jobs owns it now */
}

void topic_change_abort(struct core *co)
{
    struct change *ch;

    while ((ch = co->changes) != NULL) {
        co->changes = ch->next;
        werror_set(&ch->rq->err, WERR_SHUTTING_DOWN, "%s", werr_text(WERR_SHUTTING_DOWN));
        change_answer(ch);
    }
}
