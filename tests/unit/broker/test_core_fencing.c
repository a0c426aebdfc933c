/* Who may act: members, epochs, leases. The refusals that other tests leave open. */
#include <stdlib.h>

#include "broker/core/group_impl.h"
#include "queue_world.h"
#include "tests/lib/test.h"

struct bench {
    struct world w;
    struct peer a, b;
    uint64_t tid, other;
    struct take t;
};

static void setup(struct bench *x)
{
    *x = (struct bench){.tid = 0};
    world_init(&x->w);
    world_open(&x->w);
    x->tid = world_topic(&x->w, "t", "partitions", "2", NULL);
    x->other = world_topic(&x->w, "u", "partitions", "1", NULL);
}

static void test_who_is_nobody(void **state)
{
    static const uint8_t id[MSG_MEMBER_BYTES + 1] = {'a'};
    struct bench x;
    struct werror e = {0};
    (void)state;

    setup(&x);
    peer_init(&x.a, &x.w, "g", 'a');
    peer_join(&x.a, "t", WERR_OK);
    struct msg_who who = peer_who(&x.a);
    who.group = slice_of(NULL, 0);
    assert_int_equal(core_group_may_read(x.w.co, &who, x.tid, 0, &e), WERR_UNKNOWN_GROUP);
    for (size_t n = 0; n <= sizeof id; n++) { /* of every length, and an id that nobody has */
        who = peer_who(&x.a);
        who.member = slice_of(id, n);
        assert_int_equal(core_group_may_read(x.w.co, &who, x.tid, 0, &e), WERR_UNKNOWN_MEMBER);
    }
    peer_fini(&x.a);
    world_fini(&x.w);
}

static void test_epochs(void **state)
{
    struct bench x;
    struct werror e = {0};
    (void)state;

    setup(&x);
    peer_init(&x.a, &x.w, "g", 'a');
    peer_join(&x.a, "t", WERR_OK);
    peers_settle(&x.a, 1);
    assert_int_equal(peer_may_read(&x.a, x.tid, 0), WERR_OK);
    struct msg_who who = peer_who(&x.a);
    who.epoch++; /* not given out yet */
    assert_int_equal(core_group_may_read(x.w.co, &who, x.tid, 0, &e), WERR_FENCED_MEMBER);
    who.epoch = 0; /* before it joined */
    assert_int_equal(core_group_may_read(x.w.co, &who, x.tid, 0, &e), WERR_FENCED_MEMBER);
    struct part *pt = topic_part(x.w.co, x.tid, 0, false, NULL);
    struct gpart *gp = gpart_find(group_find(x.w.co, slice_str("g")), pt->id);
    gp->granting = true; /* given to it, which is not durable yet */
    assert_int_equal(peer_may_read(&x.a, x.tid, 0), WERR_NOT_ASSIGNED);
    gp->granting = false;
    /* A topic that the group does not read, and one that is not there. */
    assert_int_equal(peer_may_read(&x.a, x.other, 0), WERR_NOT_ASSIGNED);
    assert_int_equal(peer_may_read(&x.a, x.other + 100, 0), WERR_UNKNOWN_TOPIC);
    peer_fini(&x.a);
    world_fini(&x.w);
}

/* Settling with a lease that is not for that: of another partition, of a topic that the group does
 * not read, of offsets on either side of it. */
static void test_leases(void **state)
{
    struct bench x;
    (void)state;

    setup(&x);
    worker_join(&x.a, &x.w, "g", 'a', "t");
    world_produce(&x.w, x.tid, 0, 0, 0, 8, WERR_OK);
    world_produce(&x.w, x.tid, 1, 0, 0, 8, WERR_OK);
    world_produce(&x.w, x.other, 0, 0, 0, 8, WERR_OK);
    assert_int_equal(take(&x.t, &x.a, 1, 4), 4);
    struct slip first = x.t.v[0];
    assert_int_equal(take(&x.t, &x.a, 2, 2), 2);
    struct slip second = x.t.v[0];
    assert_int_equal(take(&x.t, &x.a, 3, 2), 2);

    struct slip s = first;
    s.p = 1 - s.p;
    assert_int_equal(ack(&x.a, &s), WERR_LEASE_LOST);
    assert_int_equal(settle(&x.a, &s, s.first, s.last, VERB_NACK, -1), WERR_LEASE_LOST);
    s = first;
    s.tid = x.other;
    s.p = 0;
    assert_int_equal(ack(&x.a, &s), WERR_LEASE_LOST);
    s = second;
    assert_int_equal(settle(&x.a, &s, s.first, s.last + 1, VERB_ACK, -1), WERR_LEASE_LOST);
    /* Settled above the floor: an ack that comes again is right, and only an ack. */
    assert_int_equal(settle(&x.a, &first, first.last, first.last, VERB_ACK, -1), WERR_OK);
    assert_int_equal(settle(&x.a, &first, first.last, first.last, VERB_ACK, -1), WERR_OK);
    assert_int_equal(settle(&x.a, &first, first.last, first.last, VERB_NACK, -1), WERR_LEASE_LOST);
    /* Longer than any lease. */
    assert_int_equal(settle(&x.a, &first, 0, 1 << 20, VERB_NACK, -1), WERR_LEASE_LOST);
    /* 0 extends by the time that the lease was given for. */
    assert_int_equal(settle(&x.a, &second, second.first, second.last, VERB_EXTEND, 0), WERR_OK);
    assert_int_equal(ack(&x.a, &second), WERR_OK);
    peer_fini(&x.a);
    world_fini(&x.w);
}

static void test_acks_across_the_floor(void **state)
{
    struct bench x;
    (void)state;

    setup(&x);
    worker_join(&x.a, &x.w, "g", 'a', "t");
    world_produce(&x.w, x.tid, 0, 0, 0, 8, WERR_OK);
    assert_int_equal(take(&x.t, &x.a, 1, 4), 4);
    const struct slip low = x.t.v[0];
    assert_int_equal(take(&x.t, &x.a, 2, 2), 2);
    const struct slip high = x.t.v[0];
    assert_int_equal(low.first, 0);
    assert_int_equal(high.first, 4);
    /* 3 is leased, by another number. */
    assert_int_equal(settle(&x.a, &high, 3, 5, VERB_ACK, -1), WERR_LEASE_LOST);
    assert_int_equal(settle(&x.a, &low, 3, 4, VERB_ACK, -1), WERR_LEASE_LOST);
    assert_int_equal(ack(&x.a, &low), WERR_OK);
    assert_int_equal(settle(&x.a, &high, 3, 6, VERB_ACK, -1), WERR_LEASE_LOST);
    assert_int_equal(settle(&x.a, &high, 3, 5, VERB_NACK, -1), WERR_LEASE_LOST);
    assert_int_equal(settle(&x.a, &high, 3, 5, VERB_ACK, -1), WERR_OK); /* 3 was settled */
    assert_int_equal(queue_part_row(&x.w, "g", x.tid, 0).position, 6);
    peer_fini(&x.a);
    world_fini(&x.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_nobody),
        cmocka_unit_test(test_epochs),
        cmocka_unit_test(test_leases),
        cmocka_unit_test(test_acks_across_the_floor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
