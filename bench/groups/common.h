#ifndef WEIR_BENCH_GROUPS_COMMON_H
#define WEIR_BENCH_GROUPS_COMMON_H
/* What the programs of this folder share: clocks, numbers, and ending with a message. */
#include <stddef.h>
#include <stdint.h>

#include <weir/weir.h>

int64_t now_mono_ns(void);
int64_t now_wall_ms(void);
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Ends the program unless e is DONE. */
void must(weir_error e, const char *what);
uint64_t number(const char *text, uint64_t low, uint64_t high);
/* p in 0..100 of n sorted values; 0 when there are none. */
int64_t percentile(const int64_t *sorted, size_t n, double p);
void sort_values(int64_t *values, size_t n);
/* A topic, made unless it exists. */
void make_topic(weir *w, const char *name, const char *config);

#endif
