#include "client/cli/dlq_name.h"

#include <stdio.h>
#include <string.h>

bool dlq_name_is(const char *name)
{
    size_t topic = strcspn(name, "~");
    if (topic == 0 || !name[topic]) {
        return false;
    }
    const char *group = name + topic + 1;
    size_t n = strcspn(group, "~");
    return n > 0 && strcmp(group + n, "~dlq") == 0;
}

bool dlq_name_of(const char *name, const char *topic)
{
    size_t n = strlen(topic);
    return dlq_name_is(name) && strcspn(name, "~") == n && memcmp(name, topic, n) == 0;
}

bool dlq_name_join(const char *topic, const char *group, char *out, size_t size)
{
    int n = snprintf(out, size, "%s~%s~dlq", topic, group);
    return n >= 0 && (size_t)n < size;
}
