#ifndef WEIR_BROKER_RELOAD_H
#define WEIR_BROKER_RELOAD_H
/* SIGHUP: takes the settings that can change while running. */

struct server;

/*
 * Reads the settings again from where they came from. What is marked LIVE in config.def is in force
 * when this returns (min_free within a second); a log line for every difference, taken or not. When
 * the file is wrong nothing changes and the log says why.
 */
void reload_settings(struct server *srv);

#endif
