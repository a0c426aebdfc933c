"""A chaosproxy process and its control channel."""
import contextlib
import json
import subprocess


class Proxy:
    """chaosproxy in front of HOST:PORT. Commands are those of tests/faults/inject/chaosproxy.c."""

    def __init__(self, program, to, seed=1, listen="127.0.0.1:0", prefix=(), commands=()):
        self.process = subprocess.Popen(
            [*prefix, program, "--to", to, "--listen", listen, "--seed", str(seed), *commands],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        ready = self.process.stdout.readline().split()
        if len(ready) != 3 or ready[0] != "READY":
            raise OSError(f"chaosproxy did not start: {ready}")
        self.host, self.port = ready[1], int(ready[2])
        self.url = f"weir://{self.host}:{self.port}"
        self.before = {}

    def say(self, command):
        """One command; returns its answer."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer.startswith(("ok", "{")):
            raise OSError(f"chaosproxy: {command}: {answer!r}")
        return answer

    def now(self, command):
        """Breaks connections that exist; returns how many."""
        return int(self.say("now " + command).split()[1])

    def counts(self):
        return json.loads(self.say("counts"))

    def sweeps(self):
        return json.loads(self.say("sweeps"))

    def fired(self):
        """What happened since the last call: {name: times}."""
        now = self.counts()
        new = {k: v - self.before.get(k, 0) for k, v in now.items()}
        self.before = now
        return new

    def close(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
