#!/usr/bin/env python3
"""Runs weir and its peers side by side and writes what they did as JSON and as a Markdown table.

  run.py                        every workload on every peer that is installed: about 11 hours on two CPUs
  run.py --set short            every row of the bars with the peers that matter for it: about 25 minutes
  run.py --set raw              weir, the raw log, the TCP sink: about 8 minutes
  run.py --only produce_100 --peers weir,redis-always --reps 5 --scale 0.1
  run.py --list                 workloads, peers, what is missing

Peers take turns: repetition 1 of every peer, then repetition 2 starting with the next peer, and so on, so that a slow
minute of the machine hits all of them. Each run has a server of its own on an empty directory; nothing else of ours
runs beside it. Figures are medians with the range over the repetitions, and the ratio to weir of the same repetition.
"""
import argparse
import contextlib
import datetime
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import procs
import report
import servers
import workloads

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LOAD_LIMIT_S = 1200
DEFAULTS = "redis-everysec nats rabbitmq-stream kafka rocketmq"  # peers as they come, or as they are mostly run
SYNCING = "redis-always nats-sync rabbitmq-quorum"               # the faster ones of those that sync
ONCE = {"connections": 2, "backlog": 1, "peak": 1}               # long, and the same every time
# name: rows of (workload, repetitions, scale, peers or "" for all)
SETS = {
    "full": [(name, ONCE.get(name, 5), 1, "") for name in workloads.ALL],
    "short": [
        ("produce_100", 5, 0.4, "weir raw-log redis-always rabbitmq-quorum " + DEFAULTS),
        ("produce_1k", 5, 0.5, "weir raw-log"),
        ("unbatched", 5, 0.4, "weir raw-log " + SYNCING),
        ("latency_10k", 5, 0.4, "weir redis-always rabbitmq-quorum"),  # nats-sync cannot do 10,000 a second
        ("consume", 5, 1, "weir"),
        ("cold", 3, 0.4, "weir"),
        ("queue", 5, 0.4, "weir redis-always redis-everysec nats"),
        ("connections", 1, 1, "weir"),
        ("backlog", 1, 1, "weir"),
        ("peak", 1, 0.07, "weir"),
    ],
    "raw": [(name, 5, 0.4, "weir weir-os raw-log raw-log-os raw-sink")
            for name in ("produce_100", "produce_1k", "unbatched")],
    "smoke": [(name, 1, 0.001, "weir raw-log") for name in ("produce_100", "consume", "queue", "latency_10k")],
}
DISK_BEFORE = {"produce_1k", "unbatched", "latency_10k"}  # measured before each repetition of these


class Bench:
    """What a workload sees of one run: its peer, its sizes, its servers."""

    def __init__(self, env, peer, modes, scale):
        self.env, self.peer, self.modes, self.scale = env, peer, modes, scale
        self.commands = []

    def scaled(self, n, least=1000):
        return max(int(n * self.scale), min(n, least))

    def seconds(self, n):
        """A time shrinks with the scale, but not below a second, nor grows."""
        return max(1, round(n * min(1, self.scale)))

    def records(self, name):
        return os.path.join(ROOT, "tests", "data", name + ".jsonl.zst")

    @contextlib.contextmanager
    def server(self, again=None, wide=False):
        folder = again or tempfile.mkdtemp(prefix=self.peer.name + ".", dir=self.env.dir)
        server = self.peer.start(folder, wide)
        self.commands.append(" ".join(server.command))
        try:
            yield server
        finally:
            if server.process.returncode is None:
                server.stop()
            if not again and not self.env.keep:
                shutil.rmtree(folder, ignore_errors=True)

    def _command(self, server, command, args):
        out = [os.path.join(self.env.bin, "bench-load"), command, "--peer", self.peer.driver, "--address",
               server.address]
        if "--partitions" not in args:
            out += ["--partitions", str(self.peer.partitions)]
        if self.peer.window:
            out += ["--window", str(self.peer.window)]
        if self.peer.more:
            out += ["--more", self.peer.more]
        return out + [str(a) for a in args]

    def load(self, server, command, *args):
        line = self._command(server, command, args)
        self.commands.append(" ".join(line))
        r = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LOAD_LIMIT_S, check=False)
        if r.returncode != 0:
            raise RuntimeError(f"{' '.join(line)}: {r.stderr.decode(errors='replace').strip()}")
        return json.loads(r.stdout) if r.stdout.strip() else {}

    def setup(self, server, topic, partitions=None):
        if self.peer.warm_s and not server.warm:
            server.warm = True
            self.setup(server, "warm-up")
            self.load(server, "produce", "--topic", "warm-up", "--clients", 2, "--seconds",
                      self.seconds(self.peer.warm_s))
        self.load(server, "setup", "--topic", topic, "--partitions", partitions or self.peer.partitions)

    @contextlib.contextmanager
    def _background(self, server, command, *args):
        line = self._command(server, command, args)
        self.commands.append(" ".join(line) + " &")
        with open(os.devnull, "wb") as null:
            process = subprocess.Popen(line, stdout=null, stderr=null)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()

    def background_produce(self, server, topic):
        return self._background(server, "produce", "--topic", topic, "--size", 1000, "--seconds", 120)

    def background_consume(self, server, topic, mode, rate):
        return self._background(server, "consume", "--topic", topic, "--mode", mode, "--take-rate", rate,
                                "--group", "g1", "--seconds", 4000)

    @contextlib.contextmanager
    def idle_connections(self, server, n):
        """Opens n connections from several processes and holds them."""
        each = 2000  # descriptors of a process are limited, and some clients need several per connection
        holders = []
        try:
            for first in range(0, n, each):
                line = self._command(server, "hold", ("--clients", min(each, n - first)))
                self.commands.append(" ".join(line) + " &")
                p = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                holders.append((p, min(each, n - first)))
                said = p.stdout.readline().split()
                if said != [b"READY", str(holders[-1][1]).encode()]:
                    raise RuntimeError(f"{n} connections were not to be had: {said}")
            yield
        finally:
            for p, _ in holders:
                p.stdin.close()
                p.stdout.close()
                p.wait()


def machine():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        model = next((l.split(":")[1].strip() for l in f if l.startswith("model name")), platform.machine())
    with open("/proc/meminfo", encoding="ascii") as f:
        memory = int(f.readline().split()[1]) // 1024
    return {"cpus": os.cpu_count(), "cpu": model, "memory_mb": memory, "kernel": platform.release(),
            "load_before": os.getloadavg()[0]}


def file_system(path):
    r = subprocess.run(["df", "--output=source,fstype,avail", "-h", path], stdout=subprocess.PIPE, check=False)
    return " ".join(r.stdout.decode().splitlines()[-1].split())


def commit():
    r = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL, check=False)
    return r.stdout.decode().strip() or "unknown"


def driver_modes(env):
    """Drivers that bench-load has, and how each can read."""
    r = subprocess.run([os.path.join(env.bin, "bench-load"), "list"], stdout=subprocess.PIPE, check=True)
    names = {"r": "read", "l": "log", "q": "queue"}
    out = {}
    for line in r.stdout.decode().splitlines():
        driver, modes, _ = line.split("\t")
        out[driver] = {names[m] for m in modes if m != "-"}
    return out


def choose_peers(env, wanted, modes):
    chosen, missing = [], {}
    for peer in servers.all_peers(env):
        if wanted and peer.name not in wanted:
            continue
        try:
            if peer.driver not in modes:
                raise servers.Unavailable(f"bench-load was built without the driver {peer.driver}")
            peer.check()
            chosen.append(peer)
        except servers.Unavailable as e:
            missing[peer.name] = str(e)
    return chosen, missing


def one_run(env, name, peer, modes, rep, scale, results):
    """All variants of one workload on one peer, once. A failure is a row, too."""
    bench = Bench(env, peer, modes[peer.driver], scale)
    start = time.monotonic()
    base = {"workload": name, "peer": peer.name, "rep": rep, "scale": scale}
    try:
        for variant, row in workloads.ALL[name](bench):
            results["runs"].append({**row, **base, "variant": variant})
            print(f"  {peer.name:16} {variant:16} {report.one_line(row)}", flush=True)
    except (RuntimeError, OSError, subprocess.SubprocessError, ValueError, KeyError) as e:
        results["runs"].append({**base, "variant": "", "failed": str(e)})
        print(f"  {peer.name:16} FAILED {e}", flush=True)
    results["commands"].setdefault(f"{name} {peer.name}", bench.commands)
    return time.monotonic() - start


def disk(env):
    line = [os.path.join(env.bin, "bench-load"), "disk", "--dir", env.dir, "--seconds", "1"]
    return json.loads(subprocess.run(line, stdout=subprocess.PIPE, check=True).stdout)


def save(env, results):
    path = os.path.join(env.out, "results.json")
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(results, f, indent=1)
    os.replace(path + ".new", path)


def run_all(env, peers, modes, results):
    for name, reps, scale, wanted in env.plan:
        mine = [p for p in peers if not wanted or p.name in wanted.split()]
        for rep in range(reps):
            print(f"{name} {rep + 1}/{reps}, scale {scale:g}", flush=True)
            if name in DISK_BEFORE and env.set != "smoke":
                results["disk"].append(disk(env))
            for i in range(len(mine)):
                peer = mine[(i + rep) % len(mine)]
                took = one_run(env, name, peer, modes, rep, scale, results)
                results["seconds"].setdefault(f"{name} {peer.name}", []).append(round(took, 1))
                save(env, results)


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bin", default=os.path.join(ROOT, "build", "release", "bin"), help="folder of the built programs")
    p.add_argument("--peers-dir", default=os.path.join(ROOT, "build", "peers"), help="where bench/peers/install put them")
    p.add_argument("--set", choices=SETS, default="full", help="what to run (default full); the options below change it")
    p.add_argument("--only", help="workloads, separated by commas")
    p.add_argument("--peers", help="peers, separated by commas; weir first makes the ratios")
    p.add_argument("--reps", type=int, help="repetitions")
    p.add_argument("--scale", type=float, help="1 = sizes as in the tables; 0.01 proves that it works and nothing else")
    p.add_argument("--dir", default=os.environ.get("WEIR_BENCH_DIR", "/var/tmp"), help="data goes below; never a tmpfs")
    p.add_argument("--out", help="folder for results.json, results.md and plots (default: build/bench-peers)")
    p.add_argument("--list", action="store_true", help="say what there is and what is missing")
    p.add_argument("--keep", action="store_true", help="leave the data directories")
    p.add_argument("--strict", action="store_true", help="exit 1 when a run failed")
    env = p.parse_args()
    rows = SETS[env.set]
    if env.only:
        by_name = {row[0]: row for row in rows}
        rows = [by_name.get(n, (n, 5, 1, "")) for n in env.only.split(",")]
    wanted = " ".join(env.peers.split(",")) if env.peers else None
    env.plan = [(n, env.reps or reps, env.scale or scale, some if wanted is None else wanted)
                for n, reps, scale, some in rows]
    env.wanted = set(" ".join(row[3] for row in env.plan).split()) if all(row[3] for row in env.plan) else None
    env.bin, env.peers, env.dir = (os.path.abspath(x) for x in (env.bin, env.peers_dir, env.dir))
    env.out = os.path.abspath(env.out or os.path.join(ROOT, "build", "bench-peers"))
    unknown = [row[0] for row in env.plan if row[0] not in workloads.ALL]
    known = {q.name for q in servers.all_peers(env)}
    unknown += [n for n in env.wanted or [] if n not in known]
    if unknown:
        p.error(f"unknown: {', '.join(unknown)}; --list tells what there is")
    return env


def main():
    env = parse()
    modes = driver_modes(env)
    peers, missing = choose_peers(env, env.wanted, modes)
    if env.list:
        print("workloads: " + ", ".join(workloads.ALL))
        print("sets:      " + ", ".join(SETS))
        for row in env.plan:
            print(f"plan       {row[0]:16} {row[1]} x, scale {row[2]:g}, {row[3] or 'all peers'}")
        for peer in peers:
            print(f"peer       {peer.name:16} acknowledges {peer.durability:12} {peer.version()}")
    for name, why in missing.items():
        print(f"not here   {name:16} {why}")
    if env.list:
        return 0
    os.makedirs(env.out, exist_ok=True)
    env.dir = tempfile.mkdtemp(prefix="weir-bench-peers.", dir=env.dir)
    results = {
        "when": datetime.datetime.now().astimezone().isoformat(timespec="seconds"), "set": env.set, "plan": env.plan,
        "weir": commit(), "machine": machine(), "disk_is": file_system(env.dir),
        "peers": {q.name: {"durability": q.durability, "version": q.version(), "partitions": q.partitions,
                           "driver": q.driver, "options": q.more, "settings": q.settings,
                           "window": q.window or "65536"} for q in peers},
        "missing": missing, "commands": {}, "seconds": {}, "disk": [], "runs": []}
    start = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped and files removed
    try:
        run_all(env, peers, modes, results)
    finally:
        for server in list(servers.Server.live):
            server.stop(signal.SIGKILL)
        results["took_s"] = round(time.monotonic() - start)
        results["machine"]["load_after"] = os.getloadavg()[0]
        save(env, results)
        if not env.keep:
            shutil.rmtree(env.dir, ignore_errors=True)
    report.write(results, env.out)
    failed = [r for r in results["runs"] if "failed" in r]
    print(f"{len(results['runs'])} rows, {len(failed)} failures, {results['took_s']} s; {env.out}/results.md")
    return 1 if failed and env.strict else 0


if __name__ == "__main__":
    sys.exit(main())
