"""F14: a storm of signals, and peers that go away with unread data. Nobody dies of SIGPIPE, no interrupted
call is taken for an error, no client notices. The same for programs that use the client library.
"""
import contextlib
import json
import os
import signal
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from rig import Cell  # noqa: E402
from asker import GONE, Asker  # noqa: E402
import wire as w  # noqa: E402

SIGNALS = (signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGWINCH, signal.SIGURG, signal.SIGXFSZ, signal.SIGCONT)
RATE = 1000  # a second


class Signals(Cell):
    name, fault, guards = "signals", "F14", "G1-G5 G13"
    quick, full, per_run = 4, 100, 20
    needs_faults = ("storm",)
    load = {"producers": 3, "rate": 1500}

    def run(self, rig, cycles):
        asker = Asker(rig)
        main = asker.wire.call(w.METADATA, [["t"]])[2][0][1]
        sent = 0
        for _ in range(cycles):
            over = threading.Event()
            leaver = threading.Thread(target=self.leave, args=(rig, main, over))
            leaver.start()
            sent += self.storm(rig, asker, rig.rnd.uniform(1, 2))
            over.set()
            leaver.join()
            rig.fault("storm")
            rig.expect(rig.running(), f"the server ended with {rig.server.poll()}: {rig.log_tail()}")
            if rig.violations:
                break
        print(f"  signals: {sent} sent", flush=True)

    @staticmethod
    def storm(rig, asker, seconds):
        """To the process, so any of its threads may be interrupted. Meanwhile each answer is as usual."""
        sent, began = 0, time.monotonic()
        while rig.running() and time.monotonic() - began < seconds and not rig.violations:
            while sent < (time.monotonic() - began) * RATE:
                os.kill(rig.server.pid, rig.rnd.choice(SIGNALS))
                sent += 1
            answer = asker.produce(500)
            rig.expect(answer != GONE and answer >= 0, f"producing was answered {answer} in a storm of signals")
        return sent

    @staticmethod
    def leave(rig, main, over):
        """Peers that ask for much and reset the connection before or while it comes."""
        while not over.is_set():
            with contextlib.suppress(OSError, w.Closed, w.Refused):
                c = w.Wire(f"weir://127.0.0.1:{rig.port}", timeout=5)
                for p in range(4):
                    c.send(w.FETCH, [0, 1, 1 << 20, [[main, p, 0, 1 << 20]]])
                c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                c.close()
            over.wait(0.01)


class ClientSignals(Cell):
    """The programs have a handler of their own (SIGUSR1, without SA_RESTART): whatever call the library is in
    returns early, all the time. No connection is given up for it; the server is killed between the storms, so
    that connecting and joining are interrupted as well."""
    name, fault, guards = "client_signals", "F14", "A1-A10"
    quick, full, per_run = 3, 100, 10
    needs_faults = ("storm",)
    load = {"producers": 3, "rate": 1500}

    SIGNALS = (signal.SIGUSR1, signal.SIGCHLD, signal.SIGWINCH)

    def run(self, rig, cycles):
        sent = 0
        for i in range(cycles):
            rig.pause(0.5, 1)
            before = self.accepted(rig)
            sent += self.storm(rig, rig.rnd.uniform(1, 2))
            after = self.accepted(rig)
            # each question of ours is a connection, too
            rig.expect(after - before == 1, f"{after - before - 1} clients connected again in a storm of signals")
            rig.fault("storm")
            if i % 3 == 2:
                rig.slay()
                sent += self.storm(rig, 0.2)
                rig.restart()
                sent += self.storm(rig, 1)
        print(f"  client_signals: {sent} sent", flush=True)

    def storm(self, rig, seconds):
        """RATE signals a second to each client."""
        sent, began = 0, time.monotonic()
        clients = [c for c in rig.clients if c.alive()]
        while (passed := time.monotonic() - began) < seconds:
            while sent < passed * RATE * len(clients):
                clients[sent % len(clients)].signal(rig.rnd.choice(self.SIGNALS))
                sent += 1
            rig.sleep(0.001)
        return sent

    @staticmethod
    def accepted(rig):
        counters = json.loads(rig.weir("server", "info", "-o", "json").stdout)["metrics"]
        return next(c["value"] for c in counters if c["name"] == "weir_connections_accepted_total")


CELLS = [Signals, ClientSignals]
