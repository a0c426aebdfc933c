// The library from C++: RAII around the two handles, exceptions from weir_error.
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

#include <weir/weir.h>

namespace
{
struct Close {
    void operator()(weir *w) const
    {
        weir_close(w, 5000);
    }
};
struct Unsubscribe {
    void operator()(weir_sub *s) const
    {
        weir_unsubscribe(s);
    }
};
using Client = std::unique_ptr<weir, Close>;
using Subscription = std::unique_ptr<weir_sub, Unsubscribe>;

weir_bytes bytes(const std::string &s)
{
    return weir_bytes_of(s.data(), s.size());
}

void check(const weir_error &e)
{
    if (e.outcome != WEIR_DONE) {
        throw std::runtime_error(std::string(weir_outcome_name(e.outcome)) + ": " + e.text);
    }
}
} // namespace

int main(int argc, char **argv)
{
    try {
        Client client(weir_open(argc > 1 ? argv[1] : nullptr, "compression=zstd"));
        check(weir_send(client.get(), "orders", bytes("42"), bytes("from C++"), 5000));

        Subscription sub(weir_subscribe(client.get(), "orders", nullptr, "stop_at_end=1"));
        int n = 0;
        while (const weir_message *m = weir_next(sub.get(), -1)) {
            std::string value(static_cast<const char *>(m->value.data), m->value.size);
            std::printf("%s\n", value.c_str());
            weir_done(m, WEIR_ACK);
            n++;
        }
        check(weir_sub_error(sub.get()));
        return n > 0 ? 0 : 1;
    } catch (const std::exception &e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
}
