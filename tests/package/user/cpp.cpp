// The same from C++11.
#include <weir/adapters/poll.h>
#include <weir/weir.h>

int main()
{
    weir *w = weir_open("weir+unix:///nowhere", nullptr);
    weir_error e = weir_ping(w, nullptr, 10);
    weir_close(w, 0);
    return e.code == WEIR_E_UNREACHABLE && e.outcome == WEIR_RETRY ? 0 : 1;
}
