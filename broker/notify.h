#ifndef WEIR_BROKER_NOTIFY_H
#define WEIR_BROKER_NOTIFY_H
/* Telling whoever started us how we are: systemd's notify socket (sd_notify(3) protocol) and
 * --ready-fd. */
#include "broker/listener.h"

/* "READY=1", "STOPPING=1" to $NOTIFY_SOCKET; does nothing without one. */
void notify_systemd(const char *state);
/* A line `READY ADDRESS` per listener, then closes the descriptor. fd 0 = none. */
void notify_ready_fd(int fd, const struct listeners *ls);

#endif
