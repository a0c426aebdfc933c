#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "broker/peer.h"
#include "tests/lib/test.h"

static struct sockaddr_storage v4(const char *text)
{
    struct sockaddr_storage s = {0};
    struct sockaddr_in *a = (struct sockaddr_in *)(void *)&s;

    a->sin_family = AF_INET;
    assert_int_equal(inet_pton(AF_INET, text, &a->sin_addr), 1);
    return s;
}

static struct sockaddr_storage v6(const char *text)
{
    struct sockaddr_storage s = {0};
    struct sockaddr_in6 *a = (struct sockaddr_in6 *)(void *)&s;

    a->sin6_family = AF_INET6;
    assert_int_equal(inet_pton(AF_INET6, text, &a->sin6_addr), 1);
    return s;
}

static void only_addresses_from_afar_are_counted(void **state)
{
    static const char *const near4[] = {"127.0.0.1", "127.255.0.9"};
    static const char *const far4[] = {"10.0.0.1", "128.0.0.1", "126.1.1.1", "192.168.1.1"};
    struct sockaddr_storage s = {.ss_family = AF_UNIX};
    uint8_t a[16], b[16];

    (void)state;
    assert_false(peer_address(&s, a));
    for (size_t i = 0; i < 2; i++) {
        s = v4(near4[i]);
        assert_false(peer_address(&s, a));
    }
    for (size_t i = 0; i < 4; i++) {
        s = v4(far4[i]);
        assert_true(peer_address(&s, a));
    }
    s = v6("::1");
    assert_false(peer_address(&s, a));
    s = v6("2001:db8::1");
    assert_true(peer_address(&s, a));
    s = v6("2001:db8::2");
    assert_true(peer_address(&s, b));
    assert_memory_not_equal(a, b, 16);
}

/* A peer that does not read answers probes, perhaps a minute apart: it lives. */
static void slow_is_not_dead(void **state)
{
    static const struct {
        struct peer_info info;
        bool dead;
    } cases[] = {
        {{0, 0, 0, 0}, false},
        {{0, 0, 0, 1000000}, false}, /* idle; keepalive's business */
        {{10, 0, 0, 200}, false},    /* busy */
        {{10, 2, 0, 20000}, false},  /* two losses in a row */
        {{10, 3, 0, PEER_SILENCE_MS - 1}, false},
        {{10, 3, 0, PEER_SILENCE_MS}, true}, /* data unanswered */
        {{0, 0, 1, 60000}, false},           /* the window is closed, a probe is on its way */
        {{0, 0, 3, 60000}, true},            /* probes unanswered */
        {{0, 0, 3, 5000}, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(peer_is_dead(&cases[i].info), cases[i].dead);
    }
}

static void asking_works_on_tcp_only(void **state)
{
    struct peer_info info;
    int fds[2], fd;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_false(peer_ask(fds[0], &info));
    close(fds[0]);
    close(fds[1]);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    peer_socket_options(fd, AF_INET);
    assert_true(peer_ask(fd, &info));
    assert_false(peer_is_dead(&info));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_addresses_from_afar_are_counted),
        cmocka_unit_test(slow_is_not_dead),
        cmocka_unit_test(asking_works_on_tcp_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
