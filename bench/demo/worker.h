#ifndef WEIR_BENCH_DEMO_WORKER_H
#define WEIR_BENCH_DEMO_WORKER_H
/* The processes around the broker. Each opens its own client, writes its own history, and reports
 * to the board. They know nothing of the kill: the library sees them through it. */
#include <stdint.h>

struct board;
struct weir;

/** Exit codes of a worker. */
enum { WORKER_OK = 0, WORKER_FAILED = 3 };

/** Sends its share of the records in bursts at full speed. number counts from 1.
 * @return exit code; what went wrong is on stderr. */
int producer_run(struct board *b, const char *work_dir, uint32_t number);
/** Reads its share of the partitions at the common pace, to the end. number counts from 0. */
int consumer_run(struct board *b, const char *work_dir, uint32_t number);

/** Waits until the client has something to do, or for max_ns, then lets it do it. */
void worker_io(struct weir *w, uint64_t max_ns);

#endif
