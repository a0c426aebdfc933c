/* The part of the contract about rows that are read in ranges. */
#include "tests/lib/store_contract_impl.h"

#include <stdio.h>

#include "tests/lib/test.h"

struct rows_wait {
    struct store_rows r;
    bool done;
};

static void on_rows(struct store_rows *r)
{
    struct rows_wait *w = r->arg;
    assert_false(w->done);
    w->done = true;
}

/* Reads rows [lo, hi) of DELAY and waits. The caller frees w->r.data. */
static void read_rows(struct fixture *f, struct rows_wait *w, const char *lo, const char *hi,
                      uint32_t max_rows, uint32_t max_bytes)
{
    *w = (struct rows_wait){.r = {.table = TABLE_DELAY,
                                  .lo = slice_str(lo),
                                  .hi = slice_str(hi),
                                  .max_rows = max_rows,
                                  .max_bytes = max_bytes,
                                  .fn = on_rows,
                                  .arg = w}};
    store_rows(f->w.st, &w->r);
    assert_false(w->done); /* never inside the call */
    world_wait(&f->w, &w->done);
    if (w->r.rc != WERR_OK)
        fail_msg("%s", w->r.err.text);
}

/* Row number n of the tests below: key "rNNNN", value of n bytes. */
static void put_numbered(struct store_txn *t, unsigned n, const uint8_t *fill)
{
    char key[8];
    snprintf(key, sizeof(key), "r%04u", n);
    txn_put(t, TABLE_DELAY, slice_str(key), slice_of(fill, n));
}

static void expect_numbered(const struct store_rows *r, unsigned first, unsigned n)
{
    struct slice key, value;
    size_t at = 0;
    char want[8];
    assert_int_equal(r->n, n);
    for (unsigned i = 0; i < n; i++) {
        assert_true(store_rows_next(r, &at, &key, &value));
        snprintf(want, sizeof(want), "r%04u", first + i);
        assert_true(slice_eq(key, slice_str(want)));
        assert_int_equal(value.n, first + i);
        for (size_t b = 0; b < value.n; b++)
            assert_int_equal(value.p[b], 0x5a);
    }
    assert_false(store_rows_next(r, &at, &key, &value));
}

void contract_rows_limits(void **state)
{
    struct fixture *f = *state;
    struct rows_wait w;
    uint8_t fill[500];
    memset(fill, 0x5a, sizeof(fill));
    read_rows(f, &w, "", "", 10, 1000); /* an empty table */
    assert_null(w.r.data);
    expect_numbered(&w.r, 0, 0);
    assert_false(w.r.more);
    struct store_txn *t = store_txn_new(f->w.st);
    for (unsigned i = 300; i > 0; i--)
        put_numbered(t, i - 1, fill); /* order comes from the keys */
    assert_int_equal(contract_commit(f, t), WERR_OK);
    for (int i = 0; i < 2; i++) {
        read_rows(f, &w, "r0010", "r0020", 0, 0);
        expect_numbered(&w.r, 10, 10); /* hi is not in it */
        assert_false(w.r.more);
        blob_unref(w.r.data);
        read_rows(f, &w, "r0010", "r0020", 10, 0); /* exactly all: no more */
        expect_numbered(&w.r, 10, 10);
        assert_false(w.r.more);
        blob_unref(w.r.data);
        read_rows(f, &w, "r0010", "r0020", 9, 0);
        expect_numbered(&w.r, 10, 9);
        assert_true(w.r.more);
        blob_unref(w.r.data);
        /* rows of 8 + 5 + n bytes: two of them are 227, three are 342 */
        read_rows(f, &w, "r0100", "", 0, 341);
        expect_numbered(&w.r, 100, 2);
        assert_true(w.r.more);
        blob_unref(w.r.data);
        read_rows(f, &w, "r0100", "", 0, 342);
        expect_numbered(&w.r, 100, 3);
        blob_unref(w.r.data);
        read_rows(f, &w, "r0299", "", 0, 1); /* the first comes even if it is larger */
        expect_numbered(&w.r, 299, 1);
        assert_false(w.r.more);
        blob_unref(w.r.data);
        read_rows(f, &w, "", "", 0, 0);
        expect_numbered(&w.r, 0, 300);
        blob_unref(w.r.data);
        read_rows(f, &w, "r0300", "", 0, 0);
        assert_null(w.r.data);
        contract_reopen(f);
    }
}

void contract_rows_deleted(void **state)
{
    struct fixture *f = *state;
    struct rows_wait w;
    uint8_t fill[200];
    memset(fill, 0x5a, sizeof(fill));
    struct store_txn *t = store_txn_new(f->w.st);
    for (unsigned i = 0; i < 100; i++)
        put_numbered(t, i, fill);
    assert_int_equal(contract_commit(f, t), WERR_OK);
    world_roll(&f->w); /* written out, so that deletions meet rows in files */
    world_settle(&f->w);
    t = store_txn_new(f->w.st);
    txn_delete(t, TABLE_DELAY, slice_str("r0000"));
    txn_delete_range(t, TABLE_DELAY, slice_str("r0001"), slice_str("r0050"));
    txn_delete(t, TABLE_DELAY, slice_str("r0099"));
    assert_int_equal(contract_commit(f, t), WERR_OK);
    for (int i = 0; i < 3; i++) {
        read_rows(f, &w, "", "", 0, 0);
        expect_numbered(&w.r, 50, 49);
        assert_false(w.r.more);
        blob_unref(w.r.data);
        read_rows(f, &w, "", "r0050", 5, 0);
        assert_null(w.r.data);
        assert_false(w.r.more);
        if (i == 0)
            contract_reopen(f);
        else if (f->c->kill != NULL) {
            f->c->kill(f->w.st);
            world_open(&f->w);
        }
    }
    t = store_txn_new(f->w.st);
    put_numbered(t, 49, fill); /* below what was deleted: seen at once after its completion */
    assert_int_equal(contract_commit(f, t), WERR_OK);
    read_rows(f, &w, "", "", 1, 0);
    expect_numbered(&w.r, 49, 1);
    assert_true(w.r.more);
    blob_unref(w.r.data);
}

/* Reading in pages while rows come and go: every row that was there all the time is seen once. */
void contract_rows_pages(void **state)
{
    struct fixture *f = *state;
    struct rows_wait w;
    uint8_t fill[1000];
    char from[8] = "";
    unsigned seen = 0;
    memset(fill, 0x5a, sizeof(fill));
    struct store_txn *t = store_txn_new(f->w.st);
    for (unsigned i = 0; i < 900; i += 2)
        put_numbered(t, i, fill);
    assert_int_equal(contract_commit(f, t), WERR_OK);
    for (bool more = true; more;) {
        read_rows(f, &w, from, "", 37, 0);
        more = w.r.more;
        struct slice key, value;
        size_t at = 0;
        while (store_rows_next(&w.r, &at, &key, &value)) {
            seen += value.n % 2 == 0;
            memcpy(from, key.p, key.n);
            from[key.n] = '\0';
        }
        blob_unref(w.r.data);
        strcat(from, "!"); /* behind the last one */
        t = store_txn_new(f->w.st);
        for (unsigned i = seen % 7; i < 900; i += 90)
            if (i % 2 == 1)
                put_numbered(t, i, fill);
        txn_delete(t, TABLE_DELAY, slice_str("r0001"));
        assert_int_equal(contract_commit(f, t), WERR_OK);
    }
    assert_int_equal(seen, 450);
}

static unsigned n_closed_rows;

static void on_closed_rows(struct store_rows *r)
{
    assert_true(r->rc == WERR_OK || (r->rc == WERR_CLOSED && r->data == NULL));
    blob_unref(r->data);
    r->data = NULL;
    n_closed_rows++;
}

void contract_rows_while_closing(void **state)
{
    struct fixture *f = *state;
    enum { N = 60 };
    static struct store_rows reads[N];
    static uint8_t fill[1000];
    for (int kill = 0; kill < 2; kill++) {
        struct store_txn *t = store_txn_new(f->w.st);
        for (unsigned i = 0; i < 200; i++)
            put_numbered(t, i, fill);
        assert_int_equal(contract_commit(f, t), WERR_OK);
        n_closed_rows = 0;
        for (unsigned i = 0; i < N; i++) {
            reads[i] = (struct store_rows){.table = TABLE_DELAY, .fn = on_closed_rows};
            store_rows(f->w.st, &reads[i]);
        }
        if (kill == 0) {
            world_close(&f->w);
            assert_int_equal(n_closed_rows, N);
        } else if (f->c->kill != NULL) {
            f->c->kill(f->w.st); /* nobody is told, nothing leaks */
            for (unsigned i = 0; i < N; i++)
                assert_null(reads[i].data);
        } else {
            world_close(&f->w);
        }
        world_open(&f->w);
    }
}
