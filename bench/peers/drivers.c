/* The drivers that were compiled in: those whose client library was there, see CMakeLists.txt. */
#include "bench/peers/peer.h"

extern const struct peer_driver peer_weir;
extern const struct peer_driver peer_raw;
extern const struct peer_driver peer_beanstalkd;
extern const struct peer_driver peer_rmqstream;
extern const struct peer_driver peer_rocketmq;
#ifdef WITH_AMQP
extern const struct peer_driver peer_amqp;
#endif
#ifdef WITH_KAFKA
extern const struct peer_driver peer_kafka;
#endif
#ifdef WITH_NATS
extern const struct peer_driver peer_nats;
#endif
#ifdef WITH_REDIS
extern const struct peer_driver peer_redis;
#endif

const struct peer_driver *const *peer_drivers(void)
{
    static const struct peer_driver *const all[] = {
        &peer_weir,  &peer_raw, &peer_beanstalkd, &peer_rmqstream, &peer_rocketmq,
#ifdef WITH_AMQP
        &peer_amqp,
#endif
#ifdef WITH_KAFKA
        &peer_kafka,
#endif
#ifdef WITH_NATS
        &peer_nats,
#endif
#ifdef WITH_REDIS
        &peer_redis,
#endif
        0,
    };
    return all;
}
