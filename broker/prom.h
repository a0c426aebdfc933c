#ifndef WEIR_BROKER_PROM_H
#define WEIR_BROKER_PROM_H
/*
 * Figures as text for Prometheus (exposition format 0.0.4): families together, base units (a name
 * that ends in nanoseconds or milliseconds is told in seconds), HELP and TYPE once.
 */
#include "broker/metrics.h"
#include "proto/buf.h"

enum { PROM_MAX_SERIES = 5000 }; /* of one answer; what is left out is counted in it */

/* Everything, with the first topics and groups in name order. */
void prom_all(struct buf *out, struct server *srv);
/* One topic, every partition, and every group that reads it. @return false: no such topic. */
bool prom_topic(struct buf *out, struct server *srv, struct slice name);

#endif
