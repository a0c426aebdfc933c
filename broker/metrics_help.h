#ifndef WEIR_BROKER_METRICS_HELP_H
#define WEIR_BROKER_METRICS_HELP_H
/* One sentence for every metric, as told to Prometheus. */

/** What a metric counts, by its name in base units; "" when it is not known. Any thread. */
const char *metrics_help(const char *name);

#endif
