"""A weir-server with nothing around it: started on a directory, on a port of its own, watched.

It either serves or has ended; both are answers here. Nothing waits by sleeping.
"""
import os
import re
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "..", "blackbox", "server"))
from wire import Wire  # noqa: E402

START_S = 60
STOP_S = 30


class Refusal(Exception):
    """The server did not start: its exit code and all that it said."""

    def __init__(self, code, log):
        super().__init__(f"exit {code}: {log.strip()[-600:]}")
        self.code, self.log = code, log

    def sentence(self):
        """The line with the reason: the last error, without time and level."""
        lines = [x for x in self.log.splitlines() if x.strip()]
        said = [x for x in lines if " error " in x] or lines
        return said[-1].split(" error ", 1)[-1].strip() if said else ""


class Bare:
    """One server process. Raises Refusal when it ends before it is ready."""

    def __init__(self, bin_dir, data, *options, env=None, log=None, prefix=(), port=0):
        self.data = data
        self.log_path = log or data.rstrip("/") + ".log"
        self.out = open(self.log_path, "w+", encoding="utf-8", errors="replace")
        ready, tell = os.pipe()
        self.process = subprocess.Popen(
            [*prefix, os.path.join(bin_dir, "weir-server"), "--data", data,
             "--listen", f"127.0.0.1:{port}", "--http=", "--ready-fd", str(tell), *options],
            stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out, pass_fds=[tell],
            env={**os.environ, **(env or {})})
        os.close(tell)
        line = self._ready(ready)
        m = re.match(r"READY ([0-9.]+:\d+)", line)
        if not m:
            code = self._ended()
            raise Refusal(code, self.close())
        self.url = f"weir://{m.group(1)}"

    @staticmethod
    def _ready(fd):
        """The line that says where it listens; empty when the process ended or hangs."""
        until = time.monotonic() + START_S
        data = b""
        with os.fdopen(fd, "rb", buffering=0) as f:
            while b"\n" not in data:
                ready = select.poll()  # select() ends at descriptor 1,024
                ready.register(f, select.POLLIN)
                if not ready.poll(max(0, until - time.monotonic()) * 1000):
                    break
                piece = f.read(256)
                if not piece:
                    break
                data += piece
        return data.decode()

    def _ended(self):
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "hangs"

    def wire(self, **kw):
        return Wire(self.url, **kw)

    def log(self):
        self.out.flush()
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def close(self):
        text = self.log()
        self.out.close()
        return text

    def kill(self):
        """kill -9; returns the log."""
        self.process.kill()
        self.process.wait()
        return self.close()

    def term(self):
        """SIGTERM, unless it has ended by itself; returns (exit code, log)."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        code = self._ended()
        return code, self.close()

    def alive(self):
        return self.process.poll() is None
