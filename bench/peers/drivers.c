/* The drivers that were compiled in: those whose client library was there, see CMakeLists.txt. */
#include "bench/peers/peer.h"

extern const struct peer_driver peer_weir;
extern const struct peer_driver peer_raw;
#ifdef WITH_REDIS
extern const struct peer_driver peer_redis;
#endif

const struct peer_driver *const *peer_drivers(void)
{
    static const struct peer_driver *const all[] = {
        &peer_weir,
        &peer_raw,
#ifdef WITH_REDIS
        &peer_redis,
#endif
        0,
    };
    return all;
}
