#include "client/cli/message_json.h"

#include "client/cli/timeparse.h"

/* A header's name as NUL-terminated text is not given, so both parts go out as bytes. */
static void headers_json(struct json *j, const weir_message *m)
{
    size_t pos = 0;
    weir_bytes name, value;
    json_open(j, "headers", '[');
    while (weir_message_next_header(m, &pos, &name, &value)) {
        json_open(j, NULL, '{');
        json_bytes(j, "name", name.data ? name.data : "", name.size);
        json_bytes(j, "value", value.data ? value.data : "", value.size);
        json_close(j, '}');
    }
    json_close(j, ']');
}

void message_json(struct json *j, const weir_message *m)
{
    char time[TIME_TEXT_MAX];
    json_open(j, NULL, '{');
    json_text(j, "topic", m->topic);
    json_int(j, "partition", m->partition);
    json_int(j, "offset", m->offset);
    json_text(j, "time", time_text(time, m->timestamp_ms));
    json_int(j, "time_ms", m->timestamp_ms);
    json_int(j, "append_ms", m->append_ms);
    json_uint(j, "deliveries", m->deliveries);
    if (m->reason) {
        json_text(j, "reason", m->reason);
    }
    json_bytes(j, "key", m->key.data, m->key.size);
    headers_json(j, m);
    json_bytes(j, "value", m->value.data, m->value.size);
    json_close(j, '}');
}
