/* Names and numbers that need no handle. */
#include <weir/weir.h>

#include "proto/error.h"

#define TEXT(x) #x
#define VERSION_TEXT(a, b, c) TEXT(a) "." TEXT(b) "." TEXT(c)

unsigned weir_version_number(void)
{
    return WEIR_VERSION_NUMBER;
}

const char *weir_version(void)
{
    return VERSION_TEXT(WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR, WEIR_VERSION_PATCH);
}

const char *weir_code_name(weir_code code)
{
    return code == WEIR_OK ? "OK" : werr_name((enum werr)code);
}

const char *weir_outcome_name(weir_outcome o)
{
    switch (o) {
    case WEIR_DONE:
        return "done";
    case WEIR_NOT_DONE:
        return "not done";
    case WEIR_RETRY:
        return "retry";
    case WEIR_UNKNOWN:
        return "unknown";
    }
    return "?";
}
