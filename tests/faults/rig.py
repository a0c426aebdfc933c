"""One broker, its clients and their histories, under one seed.

A cell (cells/*.py) describes one kind of fault; it is given a Rig, breaks things, and returns. What
was broken is recorded in the director's history, what clients saw in theirs; weir-check judges. The
decisions follow from the seed; the moments at which they meet the broker are those of a real machine.
"""
import contextlib
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

import activity

# tests/faults/history/history.h
BEGIN, END, FAULT, START, HEAL, UNSEEN, CUT = 1, 2, 50, 51, 52, 54, 55
DIRECTOR = 7
SANITIZER = re.compile(rb"ERROR: \w+Sanitizer|runtime error:|WARNING: ThreadSanitizer")
READY_S, STOP_S, DRAIN_S, ACTIVITY_S = 60, 90, 60, 60


class Cell:
    """One kind of fault. A plan wants `quick` or `full` cycles of it in all, `per_run` in one run."""
    name = fault = guards = ""
    quick, full, per_run = 3, 100, 20
    needs_faults = ()    # names that must have fired three times in each run
    counts = None        # the fault that makes a cycle one; None: each cycle has one by itself
    needs_build = None   # "killpoints": a build with that option
    power = False        # the server runs under the power-loss injector
    may_exit = ()        # exit codes with which the fault may end the server
    acks = None          # fewer acknowledgements than the plan wants per run; say why beside it
    min_ok_percent = 50
    load = {}            # arguments of Rig.usual_load; None = the cell starts its own clients
    config = {}          # settings of the topic
    trims = False        # messages are deleted; elsewhere every log begins at 0 to the end

    def run(self, rig, cycles):
        raise NotImplementedError


class Broken(Exception):
    """The rig cannot go on: the run is invalid, unless a violation was seen before."""


class Unfit(Broken):
    """This machine does not allow the fault (no root, no loop devices, ...). The quick plan names such
    cells and goes on; in the full plan they are invalid."""


def name_hash(name):
    h = 14695981039346656037
    for b in name.encode():
        h = (h ^ b) * 1099511628211 & 0xffffffffffffffff
    return h


class History:
    """The director's own history."""
    EVENT = struct.Struct("<BBBBiqqIIQQQI")

    def __init__(self, path, run):
        self.file = open(path, "wb", buffering=0)
        self.n = 0
        self.lock = threading.Lock()
        self.add(BEGIN, extra=DIRECTOR, op=run)

    def add(self, kind, *, outcome=0, topic=0, partition=-1, offset=-1, group=0, counter=0, extra=0, op=0):
        body = self.EVENT.pack(kind, outcome, 0, topic, partition, time.monotonic_ns(), offset, 0, group,
                               counter, 0, op, extra)
        h = 2166136261
        for b in body:
            h = (h ^ b) * 16777619 & 0xffffffff
        with self.lock:
            self.file.write(body + struct.pack("<I", h))
            self.n += 1

    def close(self):
        self.add(END, counter=self.n)
        self.file.close()


class Client:
    """A weir-load process."""

    def __init__(self, rig, role, number, argv, log):
        self.role, self.number, self.log = role, number, log
        self.killed = False
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        preexec_fn=rig.before_exec)

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def signal(self, sig):
        if self.alive():
            self.process.send_signal(sig)

    def kill(self):
        self.killed = self.killed or self.alive()  # one that has crashed before is still a finding
        self.signal(signal.SIGKILL)
        self.process.wait()

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def stop(self):
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)

    def wait(self, timeout=STOP_S):
        """Its exit code; a client that does not end is killed and counts as hung."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "hung"


class Rig:
    def __init__(self, cell, seed, bin_dir, data_root=None, plan="quick", server_dir=None):
        self.cell, self.seed, self.bin_dir, self.plan = cell, seed, bin_dir, plan
        self.server_dir = server_dir or bin_dir  # where weir-server is: a special build, or the usual one
        self.rnd = random.Random(f"{cell.name}:{seed}")
        self.run_id = random.Random(f"run:{cell.name}:{seed}").getrandbits(63) | 1
        self.top = tempfile.mkdtemp(prefix=f"weir-faults-{cell.name}-", dir=data_root)
        self.dir = os.path.join(self.top, "data")
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.hist_dir = tempfile.mkdtemp(prefix="weir-hist-", dir=shm)
        if os.stat(self.hist_dir).st_dev == os.stat(self.top).st_dev:
            self.discard()
            raise Unfit(f"histories in {self.hist_dir} would lie on the broker's file system")
        self.history = History(os.path.join(self.hist_dir, "director.hist"), self.run_id)
        self.log_path = os.path.join(self.top, "server.log")
        self.log = open(self.log_path, "ab", buffering=0)
        self.port = free_port()
        self.url = f"weir://127.0.0.1:{self.port}"  # where clients connect
        self.server = None
        self.down_on_purpose = True
        self.clients, self.topics, self.groups = [], [], {}
        self.violations, self.faults = [], {}
        self.starts = 0
        self.state = None  # of the power-loss injector
        self.numbers = 0
        self.start_options = {}

    # -------------------------------------------------------------- the broker

    def bin(self, name):
        return os.path.join(self.bin_dir, name)

    @staticmethod
    def before_exec():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def start(self, env=None, preload=(), args=(), prefix=(), bin_dir=None, expect=True):
        """Starts the server on the run's port and data. Returns seconds until it served, or None when
        it ended before (a violation unless expect is False). The options hold for later starts by
        restart()."""
        self.look_at_end()
        self.start_options = {"env": env, "preload": preload, "args": args, "prefix": prefix,
                              "bin_dir": bin_dir}
        e = {k: v for k, v in os.environ.items() if k != "WEIR_URL"}
        libraries = [self.bin(f"libweir-{p}.so") for p in preload]
        if self.cell.power:
            self.state = os.path.join(self.top, f"state-{self.starts}")
            os.mkdir(self.state)
            os.makedirs(self.dir, exist_ok=True)
            libraries.append(self.bin("libweir-powerloss.so"))
            e |= {"WEIR_POWERLOSS_DIR": self.dir, "WEIR_POWERLOSS_STATE": self.state}
        if libraries:
            e["LD_PRELOAD"] = ":".join(libraries)
        e |= env or {}
        ready, tell = os.pipe()
        began = time.monotonic()
        server = os.path.join(bin_dir or self.server_dir, "weir-server")
        self.server = subprocess.Popen(
            [*prefix, server, "--data", self.dir, "--listen", f"127.0.0.1:{self.port}", "--http=", "--ready-fd",
             str(tell), *args], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, pass_fds=[tell], env=e,
            preexec_fn=self.before_exec)
        os.close(tell)
        self.starts += 1
        self.down_on_purpose = False
        took = self._await_ready(ready, began)
        if took is None and expect:
            self.violate(f"the server did not start (exit {self.server.poll()}): {self.log_tail()}")
            raise Broken("no server")
        if took is None:
            self.down_on_purpose = True  # whoever expects it judges it
        if took is not None:
            self.history.add(START, extra=int(took * 1000))
        return took

    def _await_ready(self, fd, began):
        ready = select.poll()  # select() ends at descriptor 1,024, and a herd has more of them
        ready.register(fd, select.POLLIN)
        try:
            while time.monotonic() - began < READY_S:
                if ready.poll(500):
                    return time.monotonic() - began if os.read(fd, 200) else None
            self.server.kill()
            return None
        finally:
            os.close(fd)

    def restart(self, **more):
        return self.start(**{**self.start_options, **more})

    def look_at_end(self):
        """A server that nobody ended and that has ended is a finding, whatever the next start shows."""
        if self.server and self.server.poll() is not None and not self.down_on_purpose:
            self.judge_end(self.server.returncode)
        if not self.running():
            self.down_on_purpose = True

    def judge_end(self, code):
        self.expect(code == -signal.SIGKILL or code in self.cell.may_exit,
                    f"the server ended by itself: exit {code}: {self.log_tail()}")

    def slay(self):
        """kill -9. False when there was nothing to kill."""
        self.look_at_end()
        if not self.running():
            return False
        self.down_on_purpose = True
        self.server.kill()
        self.judge_end(self.server.wait())
        return self.server.returncode == -signal.SIGKILL

    def kill(self, name="kill"):
        """kill -9."""
        if self.slay():
            self.fault(name)

    def power_cut(self, data=None, names=None):
        """kill -9, then takes away what was not synced."""
        data = data or self.rnd.choice(["truncate", "prefix", "garble", "zero"])
        names = names or self.rnd.choice(["keep", "undo", "strict", "random"])
        self.slay()
        subprocess.run([self.bin("powerloss-apply"), "--dir", self.dir, "--state", self.state, "--data", data,
                        "--names", names, "--seed", str(self.rnd.getrandbits(31))], check=True,
                       stdout=self.log, stderr=self.log)
        shutil.rmtree(self.state)
        self.history.add(CUT)
        self.fault("power")

    def term(self, timeout=30):
        """SIGTERM. Returns (exit code, or None when it had to be killed; seconds)."""
        self.look_at_end()
        self.down_on_purpose = True
        began = time.monotonic()
        self.server.send_signal(signal.SIGTERM)
        try:
            code = self.server.wait(timeout)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()
            code = None
        return code, time.monotonic() - began

    def stop_for(self, seconds):
        """SIGSTOP, and SIGCONT later."""
        self.server.send_signal(signal.SIGSTOP)
        self.sleep(seconds)
        self.server.send_signal(signal.SIGCONT)

    def running(self):
        return self.server is not None and self.server.poll() is None

    def log_tail(self, n=600):
        with open(self.log_path, "rb") as f:
            return f.read()[-n:].decode(errors="replace")

    # -------------------------------------------------------------- clients

    def topic(self, name="t", partitions=4, **config):
        """Creates a topic; clients started later use all topics."""
        self.weir("topic", "create", name, "--partitions", str(partitions),
                  *[a for k, v in config.items() for a in ("--config", f"{k.replace('__', '.')}={v}")])
        self.topics.append((name, len(self.topics) + 1, partitions))
        return name

    def weir(self, *args, check=True, timeout=60):
        r = subprocess.run([self.bin("weir"), *args], capture_output=True, timeout=timeout, check=False,
                           env={**os.environ, "WEIR_URL": f"weir://127.0.0.1:{self.port}"})
        if check and r.returncode:
            raise Broken(f"weir {' '.join(args)}: {r.stderr.decode(errors='replace')}")
        return r

    def via(self, url):
        """Clients started from now on connect there."""
        self.url = url

    def client(self, role, *, group=None, topics=None, url=None, bin_dir=None, prefix=(), env=None, **options):
        """Starts weir-load. Options are its long options: rate=1000, nack=2, ..."""
        self.numbers += 1
        n = self.numbers
        argv = [*prefix, os.path.join(bin_dir or self.bin_dir, "weir-load"), "--role", role, "--url", url or self.url,
                "--history", os.path.join(self.hist_dir, f"{n:03}-{role}.hist"), "--number", str(n),
                "--run", str(self.run_id), "--seed", str(self.rnd.getrandbits(32))]
        for t in topics or self.topics:
            argv += ["--topic", "%s:%d:%d" % t]
        if group:
            argv += ["--group", group, "--group-number", str(self.groups.setdefault(group, len(self.groups) + 1))]
        for k, v in options.items():
            argv += [f"--{k.replace('_', '-')}", str(v)]
        log = open(os.path.join(self.top, f"client-{n:03}.log"), "wb")
        if env:
            prefix_env = ["env", *[f"{k}={v}" for k, v in env.items()]]
            argv = prefix_env + argv
        c = Client(self, role, n, argv, log)
        self.clients.append(c)
        return c

    def usual_load(self, producers=4, rate=4000, members=2, workers=2, readers=1, level="durable", **options):
        """Producers at a steady rate, a log group, a queue group, a reader and an observer. Every other
        producer is impatient: it gives up on answers soon, so that there are unknown outcomes."""
        for i in range(producers):
            self.client("produce", rate=rate, level=level, **({"handle": "send_timeout_ms=150"} if i % 2 else {}),
                        **options)
        for _ in range(members):
            self.client("member", group="log")
        for _ in range(workers):
            self.client("worker", group="queue", nack=1)
        for _ in range(readers):
            self.client("read")
        self.client("observe", **({"group": "log"} if members else {}))

    def of(self, role):
        return [c for c in self.clients if c.role == role and c.alive()]

    # -------------------------------------------------------------- time and truth

    @staticmethod
    def sleep(seconds):
        threading.Event().wait(seconds)

    def pause(self, least, most):
        """Lets things run for a time that the seed chooses."""
        self.sleep(self.rnd.uniform(least, most))

    def fault(self, name, times=1):
        """Records that a fault has been injected."""
        self.faults[name] = self.faults.get(name, 0) + times
        for _ in range(times):
            self.history.add(FAULT, counter=name_hash(name))

    def expect(self, condition, text):
        if not condition:
            self.violate(text)

    def violate(self, text):
        """Something that weir-check cannot see."""
        self.violations.append(text)

    def heal(self):
        self.history.add(HEAL)

    # -------------------------------------------------------------- the end

    def lag(self, group):
        r = self.weir("group", "describe", group, "-o", "json", check=False)
        if r.returncode:
            return None
        return json.loads(r.stdout)["lag_messages"]

    def drain(self):
        """Waits until the groups have seen everything, as long as they get nearer; records what they have not."""
        for group, number in self.groups.items():
            left, least, until = None, None, time.monotonic() + DRAIN_S
            while left != 0 and time.monotonic() < until:
                left = self.lag(group)
                if left is not None and (least is None or left < least):
                    least, until = left, time.monotonic() + DRAIN_S
                if left != 0:
                    self.sleep(0.1)
            self.history.add(UNSEEN, group=number, counter=(1 << 32) if left is None else left)

    def await_activity(self):
        """Lets the load go on until there is enough to judge: a slow machine does less in the time of the faults."""
        acks = activity.NEEDED_ACKS[self.plan] if self.cell.acks is None else self.cell.acks
        until = time.monotonic() + ACTIVITY_S
        while self.of("produce") and time.monotonic() < until:
            if not activity.missing(self.hist_dir, {c.role for c in self.clients}, acks, self.cell.min_ok_percent):
                return
            self.sleep(0.2)

    def end_clients(self, roles):
        mine = [c for c in self.clients if c.role in roles]
        for c in mine:
            c.stop()
        for c in mine:
            code = c.wait()
            if not c.killed:
                self.expect(code == 0, f"client {c.number} ({c.role}) ended with {code}: {self.client_log(c)}")

    def client_log(self, c):
        with open(c.log.name, "rb") as f:
            return f.read()[-500:].decode(errors="replace")

    def finish(self):
        """Heals, probes, drains, stops the clients, reads everything twice."""
        self.heal()
        self.look_at_end()
        if not self.running():
            self.restart()
        self.via(f"weir://127.0.0.1:{self.port}")
        probe = self.client("probe")
        self.expect(probe.wait() == 0, "the probe failed")
        self.await_activity()
        self.end_clients(["produce"])
        self.drain()
        self.end_clients(["member", "worker", "read", "observe"])
        self.forget()
        final = self.client("final")
        self.expect(final.wait(600) == 0, f"the final read failed: {self.client_log(final)}")
        if self.server.poll() is not None:
            self.violate(f"the server ended by itself: exit {self.server.returncode}: {self.log_tail()}")
        else:
            code, _ = self.term()
            self.expect(code == 0, f"SIGTERM: exit {code}: {self.log_tail()}")
            self.fsck()
        with open(self.log_path, "rb") as f:
            found = SANITIZER.search(f.read())
        self.expect(not found, "a sanitizer spoke, see server.log")

    def forget(self):
        """A new process: the final read shows what the disk has, not what the broker remembers."""
        if self.rnd.random() < .5:
            self.kill("kill_last")
        else:
            code, _ = self.term()
            self.expect(code == 0, f"SIGTERM: exit {code}: {self.log_tail()}")
        self.restart()

    def fsck(self):
        """The store keeps the rules of its own format."""
        r = subprocess.run([self.bin("weir-dump"), self.dir, "--fsck"], capture_output=True, check=False)
        self.expect(r.returncode == 0, f"weir-dump --fsck: exit {r.returncode}: "
                    f"{(r.stdout + r.stderr).decode(errors='replace')[:1000]}")

    def close(self):
        for c in self.clients:
            with contextlib.suppress(ProcessLookupError):
                c.signal(signal.SIGCONT)
                c.process.kill()
                c.process.wait()
            c.log.close()
        if self.running():
            self.server.kill()
            self.server.wait()
        self.log.close()
        if not self.history.file.closed:
            self.history.close()

    def check(self, plan, extra=()):
        """Runs weir-check. Returns (exit code, what it printed, its figures)."""
        report = os.path.join(self.top, "report.json")
        argv = [self.bin("weir-check"), "--plan", plan, "--json", report,
                "--min-ok-percent", str(self.cell.min_ok_percent)]
        if self.cell.acks is not None:
            argv += ["--need-acks", str(self.cell.acks)]
        if not self.cell.trims:
            argv += ["--keeps-all"]
        for name in self.cell.needs_faults:
            argv += ["--need-fault", name]
        r = subprocess.run([*argv, *extra, self.hist_dir], capture_output=True, check=False)
        figures = {}
        with contextlib.suppress(OSError, ValueError):
            with open(report, encoding="utf-8") as f:
                report = json.load(f)
                figures = report | report["counts"]
        return r.returncode, (r.stdout + r.stderr).decode(errors="replace"), figures

    def keep(self, where):
        """Moves everything needed to study the run; returns the directory."""
        os.makedirs(where, exist_ok=True)
        to = os.path.join(where, f"{self.cell.name}-{self.seed}")
        shutil.rmtree(to, ignore_errors=True)
        shutil.move(self.top, to)
        shutil.move(self.hist_dir, os.path.join(to, "hist"))
        return to

    def discard(self):
        shutil.rmtree(self.top, ignore_errors=True)
        shutil.rmtree(self.hist_dir, ignore_errors=True)


def free_port():
    """A port below the range of outgoing connections, so that none of them takes it meanwhile."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as s:
            with contextlib.suppress(OSError):
                s.bind(("127.0.0.1", port))
                return port
