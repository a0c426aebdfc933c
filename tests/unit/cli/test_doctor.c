/* The pure parts of weir doctor: lines of mountinfo, bytes of a floor file. */
#include <string.h>

#include "client/cli/doctor.h"
#include "tests/lib/test.h"

static void mounts(void **state)
{
    struct mount_info m;

    (void)state;
    assert_true(mount_parse("36 35 98:0 /r /srv/a\\040b rw,noatime shared:1 - ext4 /dev/sda1 "
                            "rw,errors=continue,barrier=0\n",
                            &m));
    assert_string_equal(m.point, "/srv/a b");
    assert_string_equal(m.type, "ext4");
    assert_true(mount_has(&m, "barrier=0") && mount_has(&m, "noatime") && mount_has(&m, "rw"));
    assert_false(mount_has(&m, "ro") || mount_has(&m, "barrier") || mount_has(&m, "atime"));
    assert_true(mount_holds(&m, "/srv/a b") && mount_holds(&m, "/srv/a b/weir"));
    assert_false(mount_holds(&m, "/srv/a bc") || mount_holds(&m, "/srv"));
    assert_true(mount_parse("22 1 8:1 / / ro - xfs /dev/root ro\n", &m));
    assert_true(mount_holds(&m, "/anything") && mount_has(&m, "ro"));
    assert_false(mount_parse("", &m) || mount_parse("36 35 98:0 / / rw\n", &m));
    assert_false(mount_parse("36 35 - ext4\n", &m));
}

static void floors(void **state)
{
    uint8_t b[145] = "weirflor";
    uint64_t seq = 0;

    (void)state;
    b[11] = 1;   /* format */
    b[15] = 125; /* body */
    b[23] = 7;   /* seq */
    assert_int_equal(floor_judge(b, sizeof b, &seq), FLOOR_BROKEN);
    /* CRC32C of the 141 bytes before */
    memcpy(b + 141, "\x99\x7b\x36\x28", 4);
    assert_int_equal(floor_judge(b, sizeof b, &seq), FLOOR_VALID);
    assert_int_equal(seq, 7);
    for (size_t n = 0; n < sizeof b; n++) {
        assert_int_equal(floor_judge(b, n, &seq), FLOOR_BROKEN);
    }
    b[60] ^= 1;
    assert_int_equal(floor_judge(b, sizeof b, &seq), FLOOR_BROKEN);
    b[11] = 2;
    assert_int_equal(floor_judge(b, sizeof b, &seq), FLOOR_NEWER);
    b[11] = 1;
    b[12] = 0xff; /* a body of 4 GB */
    assert_int_equal(floor_judge(b, sizeof b, &seq), FLOOR_BROKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(mounts), cmocka_unit_test(floors)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
