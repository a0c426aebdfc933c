"""Runs the real weir, and a real weir-server, for the tests of the command line.

The folder with the programs is the first argument of a test or WEIR_BIN. Nothing waits by sleeping:
the server tells that it is ready, and commands end by themselves or by a deadline.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

DEADLINE_S = 60
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|runtime error:|WARNING: ThreadSanitizer")


def bin_dir():
    path = os.environ.get("WEIR_BIN")
    if not path:
        sys.exit("usage: TEST BIN_DIR (or WEIR_BIN)")
    return path


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def text(self):
        return self.out.decode()

    def json(self):
        return json.loads(self.out)

    def jsonl(self):
        return [json.loads(line) for line in self.out.splitlines()]


def environment(url=None):
    env = {k: v for k, v in os.environ.items() if k != "WEIR_URL"}
    if url:
        env["WEIR_URL"] = url
    return env


def weir(*args, stdin=b"", url=None, timeout=DEADLINE_S):
    """Runs weir to its end. Fails on a sanitizer report or a deadly signal."""
    r = subprocess.run([os.path.join(bin_dir(), "weir"), *args], input=stdin, capture_output=True,
                       env=environment(url), timeout=timeout, check=False)
    err = r.stderr.decode(errors="replace")
    if SANITIZER.search(err) or r.returncode < 0:
        raise AssertionError(f"weir {' '.join(args)}: {r.returncode}\n{err}")
    return Result(r.returncode, r.stdout, err)


def weir_start(*args, url=None, **kw):
    """Starts weir and returns the Popen."""
    return subprocess.Popen([os.path.join(bin_dir(), "weir"), *args], env=environment(url), **kw)


class Server:
    """A weir-server on a data folder of its own and a port of its own."""

    def __init__(self, *options):
        self.dir = tempfile.mkdtemp(prefix="weir-cli-test-")
        self.options = options
        self.log = open(os.path.join(self.dir, "log"), "w+", encoding="utf-8")
        self.start()

    def start(self):
        ready, tell = os.pipe()
        self.process = subprocess.Popen(
            [os.path.join(bin_dir(), "weir-server"), "--data", os.path.join(self.dir, "data"),
             "--listen", "127.0.0.1:0", "--http=", "--ready-fd", str(tell),
             *self.options],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, pass_fds=[tell],
            env=environment())
        os.close(tell)
        with os.fdopen(ready) as f:
            line = f.readline()
        m = re.match(r"READY ([0-9.]+:\d+)", line)
        if not m:
            self.process.wait(DEADLINE_S)
            raise AssertionError(f"the server did not start: {line!r}\n{self.read_log()}")
        self.url = f"weir://{m.group(1)}"

    def read_log(self):
        self.log.flush()
        with open(self.log.name, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self):
        """SIGTERM, expects exit 0 and a log without sanitizer reports; removes everything."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = "timeout"
        log = self.read_log()
        self.log.close()
        shutil.rmtree(self.dir)
        if code != 0 or SANITIZER.search(log):
            raise AssertionError(f"the server ended with {code}\n{log[-8000:]}")

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE_S)


class Case(unittest.TestCase):
    """A test without a server."""
    maxDiff = 4000

    def one_line(self, r, code, *words):
        """The command failed with this code and one line on stderr that holds these words."""
        self.assertEqual(r.code, code, r.err)
        lines = r.err.splitlines()
        self.assertEqual(len(lines), 1, r.err)
        self.assertTrue(lines[0].startswith("weir: "), r.err)
        for w in words:
            self.assertIn(w, lines[0])


class ServerCase(Case):
    """Tests that share one server; each uses topics of its own."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def weir(self, *args, **kw):
        return weir(*args, url=self.server.url, **kw)

    def ok(self, *args, **kw):
        r = self.weir(*args, **kw)
        self.assertEqual(r.code, 0, r.err)
        return r

    def topic(self, partitions=1, *args):
        """Makes a topic named after the test."""
        name = self.id().rsplit(".", 1)[-1]
        self.ok("topic", "create", name, "--partitions", str(partitions), *args)
        return name


def main():
    if len(sys.argv) > 1 and os.path.isdir(sys.argv[1]):
        os.environ["WEIR_BIN"] = os.path.abspath(sys.argv.pop(1))
    unittest.main()
