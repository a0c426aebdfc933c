"""What is measured. A workload gets a Bench (see run.py) and yields rows: (variant, dict of figures).

Sizes are those of --scale 1. `seconds` caps a step, so that slow peers do not hold up the others: their rate is then
that of what they managed.
"""
import os
import signal
import time

import procs

STEP_S = 10
FILL_S = 40


def _cost(row, before, after):
    """Server's cost of a step, per million messages where there are any."""
    n = row.get("messages", 0)
    row["server_cpu_s"] = after["cpu_s"] - before["cpu_s"]
    row["server_written"] = after["written"] - before["written"]
    row["server_rss"] = after["rss"]
    row["server_peak"] = after["peak"]
    if n:
        row["cpu_s_per_million"] = row["server_cpu_s"] / n * 1e6
        row["client_cpu_s_per_million"] = row.get("client_cpu_s", 0) / n * 1e6
    if row.get("bytes"):
        row["written_per_byte"] = row["server_written"] / row["bytes"]
    return row


def step(bench, server, command, *args):
    """One run of bench-load with the server's cost around it."""
    procs.reset_peak(server.session)
    before = server.usage()
    row = bench.load(server, command, *args)
    return _cost(row, before, server.usage())


def fill(bench, server, topic, count, size=100, partitions=None, clients=1):
    """A backlog. @return messages in it; fewer than asked for when the peer is slow"""
    bench.setup(server, topic, partitions)
    row = bench.load(server, "produce", "--topic", topic, "--size", size, "--count", count, "--clients", clients,
                     "--partitions", partitions or bench.peer.partitions, "--seconds", FILL_S)
    return row["messages"]


def _produce(bench, size, count, clients, extra=()):
    """A server each, unless its start takes long: then bytes written until it stopped are not told."""
    for group in [clients] if bench.peer.slow_start else [[n] for n in clients]:
        rows = []
        with bench.server() as server:
            idle = server.usage()
            for n in group:
                topic = f"produce-{n}"
                bench.setup(server, topic)
                row = step(bench, server, "produce", "--topic", topic, "--size", size, "--count", bench.scaled(count),
                           "--clients", n, "--seconds", bench.seconds(STEP_S), *extra)
                row["idle_rss"] = idle["rss"]
                rows.append((str(n), row))
            _, totals = server.stop()
            if totals and len(group) == 1 and row.get("bytes"):
                row["written_at_stop_per_byte"] = totals["written"] / row["bytes"]
                row["cpu_s_at_stop_per_million"] = totals["cpu_s"] / row["messages"] * 1e6
        yield from rows


def produce_100(bench):
    yield from _produce(bench, 100, 5_000_000, (1, 8))


def produce_1k(bench):
    yield from _produce(bench, 1024, 1_000_000, (1, 8))


def produce_real(bench):
    for name, count in (("flights-20k", 5_000_000), ("earthquakes", 1_000_000)):
        for n, row in _produce(bench, 100, count, (1, 8), ("--payload", bench.records(name))):
            yield f"{name.split('-')[0]}/{n}", row


def unbatched(bench):
    with bench.server() as server:
        for n in (1, 16, 256):
            topic = f"unbatched-{n}"
            bench.setup(server, topic)
            yield str(n), step(bench, server, "produce", "--topic", topic, "--unbatched", "--clients", n,
                               "--seconds", bench.seconds(5))


def _mode(bench, *wanted):
    return next((m for m in wanted if m in bench.modes), None)


def _consume(bench, server, topic, mode, members, count, *extra):
    return step(bench, server, "consume", "--topic", topic, "--mode", mode, "--clients", members, "--count", count,
                "--group", f"g{members}", "--seconds", 30, *extra)


def consume(bench):
    """A backlog read warm by one member without and by four in a group; then cold by one."""
    one, four = _mode(bench, "read", "queue"), _mode(bench, "log", "read", "queue")
    if not one:
        return
    # Four readers that share nothing need a partition each.
    parts = max(bench.peer.partitions, 4) if four == "read" else bench.peer.partitions
    more = ("--partitions", parts)
    with bench.server() as server:
        count = fill(bench, server, "backlog", bench.scaled(5_000_000), partitions=parts)
        yield "warm/1", _consume(bench, server, "backlog", one, 1, count, *more)
        if one == "queue":
            count = fill(bench, server, "backlog", bench.scaled(5_000_000))
        yield "warm/4", _consume(bench, server, "backlog", four, 4, count, *more)
        if one == "queue":
            count = fill(bench, server, "backlog", bench.scaled(5_000_000))
        server.stop()
        procs.evict(server.folder)
        with bench.server(again=server.folder) as cold:
            yield "cold/1", _consume(bench, cold, "backlog", one, 1, count, *more)


def cold(bench):
    """Cold reading over 16 and 256 partitions, beside the disk read in the same minute."""
    one = _mode(bench, "read")
    if not one or bench.peer.partitions == 1:
        return
    for partitions in (16, 256):
        with bench.server() as server:
            count = fill(bench, server, "cold", bench.scaled(20_000_000), 100, partitions, 4)
            server.stop()
            procs.evict(server.folder)
            disk = read_files(server.folder)
            procs.evict(server.folder)
            with bench.server(again=server.folder) as again:
                row = _consume(bench, again, "cold", one, 1, count, "--partitions", partitions)
            row["disk_read_bytes_per_s"] = disk
            row["of_disk_read"] = row["bytes_per_s"] / disk if disk else 0
            yield str(partitions), row


def read_files(folder):
    """Speed of reading all files below, one after the other, 1 MB at a time."""
    total, start = 0, time.monotonic()
    block = bytearray(1 << 20)
    for path, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(path, name), "rb", buffering=0) as f:
                while n := f.readinto(block):
                    total += n
    return total / max(time.monotonic() - start, 1e-9)


def fanout(bench):
    """Ten groups (or readers, where there are no groups) that each get everything."""
    mode = _mode(bench, "log", "read")
    if not mode:
        return
    with bench.server() as server:
        count = fill(bench, server, "fan", bench.scaled(1_000_000))
        yield "10", _consume(bench, server, "fan", mode, 10, count, "--fan-out")


def queue(bench):
    """Every message given back by its own call, out of order."""
    if "queue" not in bench.modes:
        return
    for members in (1, 4, 16):
        with bench.server() as server:
            count = fill(bench, server, "work", bench.scaled(2_000_000))
            yield str(members), _consume(bench, server, "work", "queue", members, count)


def _latency(bench, rate):
    mode = _mode(bench, "log", "read", "queue")
    if not mode:
        return
    with bench.server() as server:
        bench.setup(server, "latency")
        row = step(bench, server, "latency", "--topic", "latency", "--mode", mode, "--rate", rate, "--group", "lat",
                   "--seconds", bench.seconds(10) + 1, "--warm", 1, *bench.peer.latency)
        row["mode"] = mode
        yield f"{rate}/s", row


def latency_10k(bench):
    yield from _latency(bench, 10_000)


def latency_100k(bench):
    yield from _latency(bench, 100_000)


def latency_500k(bench):
    yield from _latency(bench, 500_000)


def partitions(bench):
    for n in (1, 64, 1000):
        with bench.server() as server:
            topic = f"parts-{n}"
            bench.setup(server, topic, n)
            row = step(bench, server, "produce", "--topic", topic, "--partitions", n, "--count",
                       bench.scaled(2_000_000), "--clients", 8, "--seconds", bench.seconds(STEP_S))
            yield f"produce/{n}", row
            mode = _mode(bench, "read")
            if mode:
                yield f"consume/{n}", _consume(bench, server, topic, mode, 1, row["messages"], "--partitions", n)


def connections(bench):
    """Idle connections: memory of each, and what 16 others at work notice of them."""
    work = ("produce", "--topic", "work", "--unbatched", "--clients", 16, "--seconds", bench.seconds(5))
    for n in (1000, 10_000):
        with bench.server(wide=True) as server:
            bench.setup(server, "work")
            step(bench, server, *work)  # buffers of the working ones are there before anything is compared
            alone = step(bench, server, *work)
            before = server.usage()
            count = bench.scaled(n, 10)
            with bench.idle_connections(server, count):
                after = server.usage()
                row = step(bench, server, *work)
            row["connections"] = count
            row["bytes_per_connection"] = (after["anon"] - before["anon"]) / count
            row["p99_alone_us"] = alone["ack"]["p99_us"]
            row["p99_ratio"] = row["ack"]["p99_us"] / alone["ack"]["p99_us"]
            yield str(n), row


def backlog(bench):
    """Memory with a large backlog at full load, then the time to be ready after a clean stop, and after a kill while
    it is written to."""
    mode = _mode(bench, "read", "queue")
    if not mode:
        return
    count = bench.scaled(bench.peer.backlog_gb * 1_000_000)
    with bench.server() as first:
        idle = first.usage()
        bench.setup(first, "big")
        row = step(bench, first, "produce", "--topic", "big", "--size", 1000, "--count", count, "--clients", 4,
                   "--seconds", 600)
        row["idle_rss"] = idle["rss"]
        row["stored_bytes"] = procs.tree_bytes(first.folder)
        yield "fill", row
        took, _ = first.stop()
        with bench.server(again=first.folder) as second:
            yield "after a clean stop", _ready(bench, second, mode, took)
            with bench.background_produce(second, "big"):
                time.sleep(2)
                took, _ = second.stop(signal.SIGKILL)
        with bench.server(again=first.folder) as third:
            yield "after kill -9", _ready(bench, third, mode, took)


def _ready(bench, server, mode, stop_s):
    """When a message was stored, and one read, counted from the moment the server was started."""
    seen = bench.load(server, "ready", "--topic", "big", "--mode", mode, "--group", f"ready{server.session}")
    usage = server.usage()
    return {"messages": 0, "client": seen["client"], "stop_s": stop_s, "server_rss": usage["rss"],
            "server_peak": usage["peak"], "acked_s": (seen["acked_ns"] - server.started_ns) / 1e9,
            "ready_s": (seen["read_ns"] - server.started_ns) / 1e9}


def peak(bench):
    """Three times what the consumer drains, for a while: refusals, latency of acknowledgements, memory, then draining."""
    mode = _mode(bench, "log")
    if not mode or bench.peer.driver != "weir":
        return
    drain, size, seconds = 20_000, 1024, bench.seconds(1800)
    with bench.server() as server:
        bench.setup(server, "peak")
        quiet = bench.load(server, "produce", "--topic", "peak", "--size", size, "--rate", drain, "--seconds",
                           bench.seconds(60))
        with bench.background_consume(server, "peak", mode, drain):
            row = step(bench, server, "produce", "--topic", "peak", "--size", size, "--rate", 3 * drain,
                       "--seconds", seconds)
        row["quiet_p999_us"] = quiet["ack"]["p999_us"]
        row["p999_ratio"] = row["ack"]["p999_us"] / quiet["ack"]["p999_us"]
        yield "load", row
        rest = row["messages"] - drain * seconds
        yield "drain", _consume(bench, server, "peak", mode, 1, max(rest, 1))


ALL = {f.__name__: f for f in (
    produce_100, produce_1k, produce_real, unbatched, consume, cold, fanout, queue, latency_10k, latency_100k,
    latency_500k, partitions, connections, backlog, peak)}
