#ifndef WEIR_STORAGE_FILE_IO_H
#define WEIR_STORAGE_FILE_IO_H
/*
 * Reading and writing small files to the end: an interrupted call is made again, a short one is
 * continued. Any thread. On failure errno says why.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* n bytes from where the descriptor stands; fewer only at the end of the file. -1: failed. */
ssize_t file_read(int fd, void *p, size_t n);
/* The same from byte `at` on; the descriptor stays where it stands. */
ssize_t file_read_at(int fd, void *p, size_t n, uint64_t at);
/* All n bytes, from where the descriptor stands, or from byte `at` on. */
bool file_write(int fd, const void *p, size_t n);
bool file_write_at(int fd, const void *p, size_t n, uint64_t at);

#endif
