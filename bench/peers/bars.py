"""The bars: what weir has promised itself, held against results.json. Each row says what was asked, what was measured
(medians), and whether that is enough; a row whose runs are missing says so."""
import statistics

SYNCING = "after fsync"
BASELINES = ("raw-log", "raw-log-os", "raw-sink", "weir-os")
PERCENTILES = ("p50_us", "p99_us", "p999_us")


class Results:
    def __init__(self, results):
        self.results = results
        self.groups = {}
        for r in results["runs"]:
            if "failed" not in r:
                self.groups.setdefault((r["workload"], r["variant"], r["peer"]), []).append(r)

    def median(self, workload, variant, peer, key):
        values = []
        for r in self.groups.get((workload, variant, peer), []):
            for part in key.split("."):
                r = r.get(part) if isinstance(r, dict) else None
            if isinstance(r, (int, float)):
                values.append(r)
        return statistics.median(values) if values else None

    def peers(self, workload, variant, durability=None):
        return [p for (w, v, p) in self.groups if (w, v) == (workload, variant) and p != "weir" and p not in BASELINES
                and durability in (None, self.results["peers"][p]["durability"])]

    def best(self, workload, variant, key, durability=None, more=True):
        """(peer, value) of the best peer, or None."""
        found = [(p, self.median(workload, variant, p, key)) for p in self.peers(workload, variant, durability)]
        found = [(p, v) for p, v in found if v is not None]
        return (max if more else min)(found, key=lambda x: x[1]) if found else None

    def syncs_us(self):
        """One append of 4 KB + fdatasync in the same run."""
        values = [d["append_4096"]["p50_us"] for d in self.results["disk"]]
        return statistics.median(values) if values else None


def _m(x):
    return f"{x / 1e6:.2f} M/s" if x >= 1e6 else f"{x / 1e3:.0f} k/s"


def _produce(r):
    for n in ("1", "8"):
        ours, peer = r.median("produce_100", n, "weir", "rate"), r.best("produce_100", n, "rate")
        yield (f"durable produce, 100 B batched, {n} producers", "2 x the fastest peer, 2.0 M/s",
               ours and peer and f"{_m(ours)}; {peer[0]} {_m(peer[1])}: {ours / peer[1]:.2f} x",
               ours and peer and ours >= 2e6 and ours >= 2 * peer[1])


def _raw(r):
    for n in ("1", "8"):
        ours, raw = r.median("produce_1k", n, "weir", "rate"), r.median("produce_1k", n, "raw-log", "rate")
        yield (f"durable produce, 1 KB batched, {n} producers", "60 % of TCP receive + append + fdatasync",
               ours and raw and f"{_m(ours)} of {_m(raw)}: {100 * ours / raw:.0f} %", ours and raw and ours >= 0.6 * raw)


def _unbatched(r):
    ours, peer = r.median("unbatched", "256", "weir", "rate"), r.best("unbatched", "256", "rate", SYNCING)
    yield ("unbatched durable produce, 256 clients", "3 x the fastest peer that syncs",
           ours and peer and f"{_m(ours)}; {peer[0]} {_m(peer[1])}: {ours / peer[1]:.2f} x",
           ours and peer and ours >= 3 * peer[1])


def _latency(r):
    ours = [r.median("latency_10k", "10000/s", "weir", "delivery." + p) for p in PERCENTILES]
    sync = r.syncs_us()
    text = " / ".join(f"{x / 1e3:.2f}" for x in ours) + " ms" if all(ours) else None
    yield ("end-to-end latency at 10,000/s, durable: p50", "1.5 x one fdatasync + 150 us",
           text and sync and f"{text}; fdatasync {sync / 1e3:.2f} ms", text and sync and ours[0] <= 1.5 * sync + 150)
    yield ("... p99", "4 x p50", text and f"{ours[1] / ours[0]:.1f} x", text and ours[1] <= 4 * ours[0])
    best = [r.best("latency_10k", "10000/s", "delivery." + p, SYNCING, more=False) for p in PERCENTILES]
    known = text and all(best)
    yield ("... against peers that sync", "better at p50, p99 and p99.9",
           known and text + "; best " + " / ".join(f"{b[0]} {b[1] / 1e3:.2f}" for b in best),
           known and all(x < b[1] for x, b in zip(ours, best)))


def _consume(r):
    warm = r.median("consume", "warm/1", "weir", "rate")
    yield ("consume a backlog, 100 B, one member, warm", "5 M/s", warm and _m(warm), warm and warm >= 5e6)
    for n, least in (("16", 0.6), ("256", 0.45)):
        cold = r.median("cold", n, "weir", "of_disk_read")
        yield (f"... cold, {n} partitions", f"{100 * least:.0f} % of disk read speed", cold and f"{100 * cold:.0f} %",
               cold and cold >= least)


def _queue(r):
    for n in ("4", "16"):
        ours, peer = r.median("queue", n, "weir", "rate"), r.best("queue", n, "rate")
        yield (f"queue mode, own ack each, out of order, {n} members", "1.0 M/s, and ahead of every peer",
               ours and peer and f"{_m(ours)}; {peer[0]} {_m(peer[1])}", ours and peer and ours >= max(1e6, peer[1]))


def _cost(r):
    for n in ("1", "8"):
        cpu = r.median("produce_100", n, "weir", "cpu_s_per_million")
        yield (f"broker CPU per million durable messages, {n} producers", "0.5 s", cpu is not None and f"{cpu:.2f} s",
               cpu is not None and cpu <= 0.5)
    for workload in ("produce_100", "produce_1k"):
        written = r.median(workload, "8", "weir", "written_at_stop_per_byte")
        yield (f"write amplification, until stopped, {workload}", "2.1 (payload bytes; bench-storage-ingest is exact)",
               written and f"{written:.2f}", written and written <= 2.1)


def _memory(r):
    each, ratio = (r.median("connections", "10000", "weir", k) for k in ("bytes_per_connection", "p99_ratio"))
    yield ("idle connection, at 10,000", "4 KB; p99 of others unchanged",
           each and f"{each:.0f} B; p99 {ratio:.2f} x", each and each <= 4096 and ratio <= 1.2)
    idle, peak = (r.median("backlog", "fill", "weir", k) for k in ("idle_rss", "server_peak"))
    stored = r.median("backlog", "fill", "weir", "stored_bytes")
    yield ("memory, idle", "40 MB", idle and f"{idle / 1e6:.0f} MB", idle and idle < 40e6)
    yield ("memory, 10 GB backlog at full load", "400 MB", peak and f"{peak / 1e6:.0f} MB with {stored / 1e9:.1f} GB",
           peak and peak < 400e6 and stored > 9e9)
    for variant, least in (("after a clean stop", 0.2), ("after kill -9", 1.0)):
        ready = r.median("backlog", variant, "weir", "ready_s")
        yield (f"ready again with 10 GB, {variant}", f"{least} s", ready and f"{ready:.2f} s", ready and ready <= least)


def _peak(r):
    refused, ratio, top = (r.median("peak", "load", "weir", k) for k in ("refused", "p999_ratio", "server_peak"))
    seconds = r.median("peak", "load", "weir", "seconds")
    yield ("a peak of 3 x the drain rate (30 minutes in the full set)", "none refused; ack p99.9 within 5 x",
           ratio and f"{refused:.0f} refused, {ratio:.1f} x, {top / 1e6:.0f} MB, {seconds:.0f} s",
           ratio and refused == 0 and ratio <= 5)


def table(results):
    r = Results(results)
    lines = ["### The bars", "", "| work | bar | measured | met |", "|---|---|---|---|"]
    for part in (_produce, _raw, _unbatched, _latency, _consume, _queue, _cost, _memory, _peak):
        for work, bar, measured, met in part(r):
            lines.append(f"| {work} | {bar} | {measured or 'not run'} | "
                         + ("-" if not measured else "yes" if met else "**no**") + " |")
    return lines + [""]
