#!/usr/bin/env python3
"""record.py BIN_DIR OUT: seeds from real sessions. Starts weir-server from BIN_DIR for each scenario, runs the
command-line program against it through a relay, and writes what passed as inputs of fuzz targets:
OUT/conn_state (a session each), OUT/frame and OUT/message (what clients sent and servers answered),
OUT/client_response (answers). Minimise afterwards (libFuzzer's -merge=1), and commit what is left."""
import glob
import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading

BIN, OUT = sys.argv[1], sys.argv[2]
SCENARIOS = {
    "log": """topic create t --partitions 2
produce t < k1:v1 k2:v2 k3:v3
consume t --from earliest --exit-at-end
consume t --group g --exit-at-end
group lag g
group seek g --to earliest
consume t --group g --exit-at-end
group describe g
offsets t
peek t
topic describe t""",
    "queue": """topic create t --partitions 1
produce t < k1:v1 k2:v2 k3:v3
consume t -g w -m queue -n 1 --verdict nack --reason no
group alter w -c backoff_ms=100
consume t -g w -m queue -n 1
consume t -g w -m queue -n 1 --verdict dead --reason bad
dlq list t --group w
dlq redrive t --group w
consume t -g w -m queue -n 1
group describe w
group pause w
group resume w""",
    "delay": """topic create t --partitions 1
produce t --delay 10m < k1:v1 k2:v2
schedule list t
produce t --delay 1s < k3:v3
consume t -n 1
schedule list t""",
    "admin": """topic create t --partitions 3 -c retention.ms=1h
topic list
topic alter t -c partitions=4
topic describe t
server info
group list
topic delete t --yes""",
    "dead": """topic create t --partitions 1
produce t < k1:v1 k2:v2
consume t -g w -m queue -n 2 --verdict dead
dlq list t --group w
dlq purge t --group w --yes
group delete w --yes""",
    "order": """topic create t --partitions 1
produce t < k1:v1 k1:v2 k2:v3
consume t -g w -m queue -n 1 --verdict nack
consume t -g w -m queue -n 2
produce t --key-sep : < k1:v9""",
}


def save(target, data):
    folder = os.path.join(OUT, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, hashlib.sha1(data).hexdigest()[:16]), "wb") as f:
        f.write(data)


def uint(body, at):
    """A msgpack uint -> (value, next)."""
    b = body[at]
    if b < 0x80:
        return b, at + 1
    n = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}[b]
    return int.from_bytes(body[at + 1 : at + 1 + n], "big"), at + 1 + n


class Session:
    """All connections of one scenario, as actions of conn_state."""

    def __init__(self):
        self.lock, self.script, self.conns = threading.Lock(), bytearray(b"\0"), 0

    def begin(self):
        with self.lock:
            n = self.conns
            self.conns += 1
            if n >= 2:
                self.script += bytes([(n & 1) << 7 | 6])
            return (n & 1) << 7

    def frame(self, peer, body):
        with self.lock:
            if len(body) <= 2000:
                self.script += bytes([peer]) + struct.pack(">H", len(body)) + body + bytes([4, 4])


def frames(data):
    while len(data) >= 4:
        n = struct.unpack(">I", data[:4])[0]
        if len(data) < 4 + n:
            return
        yield bytes(data[4 : 4 + n])
        del data[: 4 + n]


def relay(session, client, port):
    server = socket.create_connection(("127.0.0.1", port))
    peer, ops = session.begin(), {}

    def sent(body):
        kind, at = uint(body, 1)
        if kind == 0:
            corr, at = uint(body, at)
            ops[corr] = uint(body, at)[0]
        save("frame", body)
        save("message", b"\0" + body)
        session.frame(peer, body)

    def answered(body):
        kind, at = uint(body, 1)
        op = ops.get(uint(body, at)[0], 0) if kind == 1 else 0
        save("client_response", bytes([op]) + body)
        save("message", bytes([op]) + body)

    def pump(a, b, seen):
        data = bytearray()
        try:
            while got := a.recv(65536):
                b.sendall(got)
                data += got
                for body in frames(data):
                    seen(body)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    threading.Thread(target=pump, args=(client, server, sent), daemon=True).start()
    threading.Thread(target=pump, args=(server, client, answered), daemon=True).start()


def run(name, lines):
    data = tempfile.mkdtemp()
    server = subprocess.Popen(
        [f"{BIN}/weir-server", "--data", f"{data}/d", "--listen", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    port = 0
    for line in server.stderr:
        if m := re.search(r"listening.*address=127\.0\.0\.1:(\d+)", line):
            port = int(m.group(1))
        if port and "ready" in line:
            break
    threading.Thread(target=server.stderr.read, daemon=True).start()
    session, listener = Session(), socket.create_server(("127.0.0.1", 0))
    threading.Thread(
        target=lambda: [relay(session, listener.accept()[0], port) for _ in range(1000)], daemon=True
    ).start()
    url = f"weir://127.0.0.1:{listener.getsockname()[1]}"
    for line in lines.splitlines():
        words, _, text = line.partition(" < ")
        done = subprocess.run(
            [f"{BIN}/weir", *words.split(), "-s", url, "-t", "20s"],
            input="".join(w + "\n" for w in text.split()),
            text=True,
            capture_output=True,
            timeout=120,
        )
        if done.returncode != 0:
            print(f"{name}: weir {words}: {done.returncode} {done.stderr.strip()}", file=sys.stderr)
        session.script += bytes([0x02]) + struct.pack(">H", 1500)
    save("conn_state", bytes(session.script))
    server.terminate()
    server.wait()
    for floor in glob.glob(f"{data}/d/floor.*"):
        with open(floor, "rb") as f:
            save("store_bytes", b"\x85" + f.read())
    shutil.rmtree(data)


# A commit record with one operation of each kind (storage/rep.h).
save("store_bytes", b"\x06" + bytes(8) + struct.pack("<I", 3) + b"\5\0\1k\1v\4\1\1k\x0f\2\1a\1b")
for scenario in SCENARIOS.items():
    run(*scenario)
