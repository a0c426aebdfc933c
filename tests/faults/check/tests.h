#ifndef WEIR_TESTS_FAULTS_CHECK_TESTS_H
#define WEIR_TESTS_FAULTS_CHECK_TESTS_H
/* The hand-made histories, one function for each part of the table of anomalies. */

/** Each runs a group of tests. @return how many failed. */
int test_produce(void); /* A1 to A6 */
int test_acks(void);    /* A1 after power cuts, A6 */
int test_read(void);    /* A9 */
int test_log(void);     /* A7 to A9 of log groups */
int test_queue(void);   /* A7 of queue groups, A10 */
int test_valid(void);   /* invalid runs, loading, a million events */

#endif
