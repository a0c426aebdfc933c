"""The servers that are compared: where to find them, how they are started, what their acknowledgement means.

Every server runs on loopback, on a fresh directory, in a session of its own, with the settings given here and its
defaults otherwise. The command line and the configuration are recorded with the results.
"""
import os
import shutil
import signal
import socket
import subprocess
import time

import procs

FSYNC, CACHE, NONE = "after fsync", "page cache", "not stored"
START_S = 120
STOP_S = 60


class Unavailable(Exception):
    """The peer is not installed, or not compiled into bench-load."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, process, limit_s=START_S):
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.005)
    raise RuntimeError("the server did not listen in time")


class Server:
    """A running server. `ready_s` is how long it took from exec until it listened."""

    def __init__(self, peer, command, folder, env=None, port=None, stdout=None):
        self.peer, self.command, self.folder = peer, command, folder
        self.log = open(os.path.join(folder, "server.log"), "ab")
        self.started_ns = time.monotonic_ns()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout or self.log, stderr=self.log,
                                        env={**os.environ, **(env or {})}, cwd=folder, start_new_session=True)
        self.session = self.process.pid
        self.address = f"127.0.0.1:{port}" if port else None

    def usage(self):
        return procs.usage(self.session)

    def stop(self, how=signal.SIGTERM):
        """Ends it and all of its session. @return (seconds, totals of the whole life as the kernel counted them)"""
        start = time.monotonic()
        rusage = None
        if self.process.returncode is None:
            self._signal(how)
            until = start + STOP_S
            while rusage is None:
                pid, status, seen = os.wait4(self.process.pid, os.WNOHANG)
                if pid:
                    self.process.returncode = os.waitstatus_to_exitcode(status)
                    rusage = seen
                elif time.monotonic() > until:
                    self._signal(signal.SIGKILL)
                    until += STOP_S
                else:
                    time.sleep(0.002)
        took = time.monotonic() - start
        for pid in procs.session_pids(self.session):  # what it started and left behind
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.log.close()
        if self.process.stdout:
            self.process.stdout.close()
        totals = None
        if rusage:
            totals = {"cpu_s": rusage.ru_utime + rusage.ru_stime, "written": rusage.ru_oublock * 512}
        return took, totals

    def _signal(self, how):
        if how == signal.SIGKILL:
            for pid in procs.session_pids(self.session):
                try:
                    os.kill(pid, how)
                except OSError:
                    pass
        else:
            os.kill(self.process.pid, how)


class Peer:
    """One way to run one server. Subclasses say how."""
    driver = ""          # of bench-load
    more = ""            # options for that driver
    partitions = 1       # of a topic, unless the workload says
    backlog_gb = 10      # what the backlog workload stores; less where everything is kept in memory

    def __init__(self, name, durability, env, **settings):
        self.name, self.durability, self.env, self.settings = name, durability, env, settings
        self.more = settings.pop("more", self.more)

    def check(self):
        """Raises Unavailable."""

    def version(self):
        return ""

    def start(self, folder, wide=False):
        """@param wide many connections are coming"""
        raise NotImplementedError

    def find(self, program, *places):
        for place in (*places, "/usr/sbin", "/usr/lib/rabbitmq/bin"):
            path = os.path.join(place, program)
            if os.access(path, os.X_OK):
                return path
        path = shutil.which(program)
        if not path:
            raise Unavailable(f"{program} not found; bench/peers/install gets it")
        return path

    def output(self, *command):
        r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        return r.stdout.decode(errors="replace").strip()


class Weir(Peer):
    driver, partitions = "weir", 8

    def version(self):
        return self.output(os.path.join(self.env.bin, "weir-server"), "--version").splitlines()[0]

    def start(self, folder, wide=False):
        command = [os.path.join(self.env.bin, "weir-server"), "--data", os.path.join(folder, "data"), "--listen",
                   "127.0.0.1:0", "--http", "", "--ready-fd", "1"]
        if wide:
            command += ["--max-connections", "20000"]
        for key, value in self.settings.items():
            command += ["--" + key.replace("_", "-"), str(value)]
        s = Server(self, command, folder, stdout=subprocess.PIPE)
        line = s.process.stdout.readline().split()
        if len(line) < 2 or line[0] != b"READY":
            s.stop()
            raise RuntimeError("weir-server did not start")
        s.address = line[1].decode()
        return s


class Raw(Peer):
    """bench-raw-server: TCP receive, and in `log` append + fdatasync with group commit."""
    driver = "raw"

    def version(self):
        return "this repository"

    def start(self, folder, wide=False):
        command = [os.path.join(self.env.bin, "bench-raw-server"), self.settings["mode"]]
        if self.settings["mode"] != "sink":
            command.append(os.path.join(folder, "log"))
        s = Server(self, command, folder, stdout=subprocess.PIPE)
        line = s.process.stdout.readline().split()
        s.address = f"127.0.0.1:{line[1].decode()}"
        return s


class Redis(Peer):
    driver, backlog_gb = "redis", 1

    def check(self):
        self.find("redis-server")

    def version(self):
        return self.output(self.find("redis-server"), "--version")

    def start(self, folder, wide=False):
        port = free_port()
        command = [self.find("redis-server"), "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", "",
                   "--appendonly", "yes", "--appendfsync", self.settings["appendfsync"]]
        if wide:
            command += ["--maxclients", "15000"]
        s = Server(self, command, folder, port=port)
        wait_port(port, s.process)
        return s


def all_peers(env):
    """In the order of the tables. @param env: .bin and .peers, folders with our programs and with installed peers"""
    return [
        Weir("weir", FSYNC, env),
        Weir("weir-os", CACHE, env, more="durability=os"),
        Raw("raw-log", FSYNC, env, mode="log"),
        Raw("raw-log-os", CACHE, env, mode="log-os"),
        Raw("raw-sink", NONE, env, mode="sink"),
        Redis("redis-always", FSYNC, env, appendfsync="always"),
        Redis("redis-everysec", CACHE, env, appendfsync="everysec"),
    ]
