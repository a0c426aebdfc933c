/* Lines of /proc/self/mountinfo (proc(5)):
 * 36 35 98:0 /root /mount/point rw,noatime - ext4 /dev/sda1 rw,errors=continue */
#include <stdio.h>
#include <string.h>

#include "client/cli/doctor.h"

/* \040 and the like become the bytes they stand for. */
static void unescape(char *s)
{
    char *to = s;
    for (; *s; s++) {
        unsigned v;
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
            s[3] >= '0' && s[3] <= '7') {
            v = (unsigned)(s[1] - '0') * 64 + (unsigned)(s[2] - '0') * 8 + (unsigned)(s[3] - '0');
            *to++ = (char)v;
            s += 3;
        } else {
            *to++ = *s;
        }
    }
    *to = 0;
}

bool mount_parse(const char *line, struct mount_info *m)
{
    char mount_options[256];
    char super_options[256];
    const char *rest = strstr(line, " - ");
    if (!rest || sscanf(line, "%*s %*s %*s %*s %255s %255s", m->point, mount_options) != 2 ||
        sscanf(rest + 3, "%31s %*s %255s", m->type, super_options) != 2) {
        return false;
    }
    unescape(m->point);
    snprintf(m->options, sizeof m->options, "%s,%s", mount_options, super_options);
    return true;
}

bool mount_holds(const struct mount_info *m, const char *path)
{
    size_t n = strlen(m->point);
    if (strcmp(m->point, "/") == 0) {
        return path[0] == '/';
    }
    return strncmp(path, m->point, n) == 0 && (path[n] == 0 || path[n] == '/');
}

bool mount_has(const struct mount_info *m, const char *option)
{
    size_t n = strlen(option);
    for (const char *s = m->options; *s;) {
        size_t len = strcspn(s, ",");
        if (len == n && strncmp(s, option, n) == 0) {
            return true;
        }
        s += len + (s[len] == ',');
    }
    return false;
}
