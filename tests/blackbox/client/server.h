#ifndef WEIR_TESTS_BLACKBOX_CLIENT_SERVER_H
#define WEIR_TESTS_BLACKBOX_CLIENT_SERVER_H
/* The real weir-server as a child process: own data directory, killed and started again at will. */
#include <stdbool.h>
#include <sys/types.h>

struct server {
    pid_t pid;
    char dir[64];
    char listen[64]; /* host:port once it was started: a restart takes the same */
    char url[80];
};

/* Makes the data directory and starts; false (with a line on stderr) when it does not get ready
 * within 20 s. The program is $WEIR_SERVER. */
bool server_init(struct server *s);
bool server_start(struct server *s);
void server_kill(struct server *s); /* kill -9, reaped */
/* SIGTERM; returns its exit status, -1 when it did not exit within 15 s. */
int server_term(struct server *s);
void server_fini(struct server *s); /* kills when alive, removes the directory */

#endif
