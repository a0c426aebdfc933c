#ifndef WEIR_CLIENT_IO_H
#define WEIR_CLIENT_IO_H
/* The real transport: a socket under one epoll descriptor that stays the same over reconnects. */
#include <stdbool.h>

struct weir;

/* Gives w its sockets; false: no descriptors or no memory. Freed by transport->close. */
bool io_attach(struct weir *w);
#endif
