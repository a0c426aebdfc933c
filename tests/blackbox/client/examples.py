#!/usr/bin/env python3
"""Runs the example programs against a server and counts the code lines of the two short ones.
examples.py SERVER BIN_DIR SOURCE_DIR (the server may be the fake one)"""
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile

server, bindir, source = sys.argv[1:4]
fake = os.path.basename(server) == "fake_server"
failures = 0


def check(what, good, detail=""):
    global failures
    print(f"{'ok  ' if good else 'FAIL'} {what} {'' if good else detail}")
    failures += not good


def code_lines(name):
    with open(os.path.join(source, "client/examples", name), encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    return sum(1 for line in text.splitlines() if line.strip())


def run(name, *args):
    return subprocess.run([os.path.join(bindir, name), *args], text=True, capture_output=True,
                          check=False, timeout=60)


def read_lines(name, args, n):
    """Runs a program that never ends until it has printed n lines; gives them."""
    primary, secondary = pty.openpty()  # a terminal: lines come at once
    got = b""
    with subprocess.Popen([os.path.join(bindir, name), *args], stdout=secondary, stderr=subprocess.STDOUT) as p:
        os.close(secondary)
        while got.count(b"\n") < n and select.select([primary], [], [], 20)[0]:
            try:
                got += os.read(primary, 65536)
            except OSError:  # it ended
                break
        if p.poll() is None:
            p.kill()
    os.close(primary)
    return got.decode().replace("\r\n", "\n")


for name, limit in (("producer.c", 12), ("consumer.c", 18), ("worker.c", 18)):
    check(f"{name} has at most {limit} code lines", code_lines(name) <= limit, code_lines(name))
for name in ("producer.c", "consumer.c", "worker.c"):
    if shutil.which("clang-format"):
        path = os.path.join(source, "client/examples", name)
        r = subprocess.run(["clang-format", "--dry-run", "-Werror", path], capture_output=True, check=False)
        check(f"{name} is formatted", r.returncode == 0)

with tempfile.TemporaryDirectory() as tmp:
    ready_r, ready_w = os.pipe()
    args = [server, "--ready-fd", str(ready_w)]
    args += ["--topic", "orders:4"] if fake else ["--listen", "127.0.0.1:0", "--data", tmp + "/data", "--dev"]
    with subprocess.Popen(args, pass_fds=[ready_w], stderr=subprocess.DEVNULL) as proc:
        os.close(ready_w)
        line = os.read(ready_r, 200).decode()
        url = "weir://" + ":".join(line.replace(":", " ").split()[1:3])
        try:
            r = run("example_producer", url)
            check("producer exits 0", r.returncode == 0, r.stderr)
            out = read_lines("example_consumer", [url], 1)
            check("consumer prints the message", out == "hello\n", out)
            out = read_lines("example_worker", [url], 1)
            check("worker gets the message", out == "hello\n", out)
            if os.path.exists(os.path.join(bindir, "example_cpp")):
                r = run("example_cpp", url)
                check("cpp", r.returncode == 0 and "from C++" in r.stdout, r.stdout + r.stderr)
            if os.path.exists(os.path.join(bindir, "example_async_libev")):
                before = 2 if os.path.exists(os.path.join(bindir, "example_cpp")) else 1
                r = run("example_async_libev", url, "orders", "20000")
                check("async_libev", r.stdout == f"stored 20000, failed 0, received {20000 + before}\n",
                      r.stdout + r.stderr)
            r = run("example_consumer", url, "start=yesterday")
            check("consumer tells a bad option", r.returncode == 1 and "start=yesterday" in r.stderr, r.stderr)
        finally:
            proc.kill()
    r = run("example_producer", url)
    check("producer without a server: RETRY, exit 2", r.returncode == 2 and "refused" in r.stderr, r.stderr)
sys.exit(1 if failures else 0)
