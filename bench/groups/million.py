"""A million messages in flight, every second one acked, and a kill -9: memory and what is left.

usage: /usr/bin/python3 bench/groups/million.py BIN_DIR [MESSAGES]

One worker leases everything (max_concurrency and member_max raised), acks every second message, the
broker is killed and started again, the worker joins again and acks the rest. Exit 1 when anything is
lost, comes twice, or is not held any more. Prints the broker's resident memory at each step.
"""
import os
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "second_client"))
import weir_client as wc  # noqa: E402
import weir_groups as wg  # noqa: E402

GROUP_ALTER = 54
BIN = sys.argv[1]
N = int(sys.argv[2]) if len(sys.argv) > 2 else 1000000


class Server:
    def __init__(self, data):
        self.data = data
        self.start()

    def start(self):
        began = time.monotonic()
        ready, tell = os.pipe()
        self.process = subprocess.Popen(
            [os.path.join(BIN, "weir-server"), "--data", self.data, "--listen", "127.0.0.1:0",
             "--ready-fd", str(tell)], pass_fds=[tell], stderr=subprocess.DEVNULL)
        os.close(tell)
        with os.fdopen(ready) as lines:
            host, port = lines.readline().split()[1].rsplit(":", 1)
        self.address = (host, int(port))
        return time.monotonic() - began

    def memory(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            text = f.read()
        return int(re.search(r"RssAnon:\s+(\d+) kB", text).group(1)) / 1024

    def kill(self):
        self.process.kill()
        self.process.wait()


def say(what, server, began):
    print(f"{what:44} {time.monotonic() - began:7.2f} s   broker {server.memory():7.1f} MB resident, not files")


def ranges(client, worker, n):
    """Leases as ranges only: the records are not looked at."""
    worker.attempt += 1
    answer = client.request(wg.ACQUIRE, [*worker.who(), n, 8 << 20, 1000, 0, worker.attempt])
    return [(tid, p, first, last, lease) for tid, p, got, _, *_ in answer
            for first, last, _, lease, *_ in got]


def settle(client, worker, items):
    for i in range(0, len(items), 10000):
        for err in client.request(wg.SETTLE, [*worker.who(), items[i:i + 10000]]):
            wc.check(err)


def main():
    data = tempfile.mkdtemp(prefix="weir-million-", dir=os.environ.get("WEIR_BENCH_DIR", "/var/tmp"))
    server = Server(data)
    client = wc.Client(*server.address, timeout_s=120)
    client.request(wc.TOPIC_CREATE, ["million", {"partitions": 4}])
    topic = client.metadata("million")
    began = time.monotonic()
    subprocess.run([os.path.join(BIN, "weir"), "bench", "produce", "-s", "weir://%s:%d" % server.address,
                    "--topic", "million", "--size", "100", "--count", str(N)],
                   stdout=subprocess.DEVNULL, check=True)
    say(f"{N} messages stored", server, began)
    worker = wg.Worker(client, "million", ["million"])
    client.request(GROUP_ALTER, ["million", {"max_concurrency": 1000000, "member_max": 1000000,
                                             "max_processing_ms": 3600000}])
    began, held = time.monotonic(), []
    while sum(last - first + 1 for _, _, first, last, _ in held) < N:
        held += ranges(client, worker, 10000)
    say(f"all leased, {len(held)} leases", server, began)
    began = time.monotonic()
    settle(client, worker, [[tid, p, lease, o, o, wg.ACK, None, None] for tid, p, first, last, lease in held
                            for o in range(first, last + 1) if o % 2])
    say("every second one acked", server, began)
    server.kill()
    took = server.start()
    print(f"{'killed, started again, ready after':44} {took:7.2f} s")
    client.address = server.address
    client.reconnect()
    worker.join()
    assert worker.resumed, "the leases wait for their worker"
    say("joined again", server, time.monotonic())
    began = time.monotonic()
    assert not ranges(client, worker, 1000), "everything else is still held"
    settle(client, worker, [[tid, p, lease, o, o, wg.ACK, None, None] for tid, p, first, last, lease in held
                            for o in range(first, last + 1) if not o % 2])
    say("the rest acked", server, began)
    ends = client.list_offsets(topic.tid, topic.partitions, -2)
    at = {p: offset for _, p, offset, *_ in client.request(wg.COMMITTED, ["million", None])}
    assert at == ends, (at, ends)
    say("everything settled, floor at the end", server, time.monotonic())
    server.process.terminate()
    server.process.wait()
    subprocess.run(["rm", "-rf", data], check=True)


if __name__ == "__main__":
    main()
