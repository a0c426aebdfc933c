"""Members that are killed, stopped and slow, as processes of their own.

usage: test_members.py BIN_DIR
"""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "server"))
from harness import Server, ServerCase, main  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
DEADLINE_S = 90
GRACE_S = 10


class Process:
    def __init__(self, url, mode, topic, group):
        self.p = subprocess.Popen([sys.executable, os.path.join(HERE, "worker.py"), url, mode, topic, group],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.line() == ["ready"]

    def tell(self, word):
        self.p.stdin.write(word + "\n")
        self.p.stdin.flush()

    def line(self):
        return self.p.stdout.readline().split()

    def ask(self, word):
        self.tell(word)
        return self.line()

    def end(self):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGCONT)
            self.p.kill()
        self.p.wait(DEADLINE_S)
        self.p.stdin.close()
        self.p.stdout.close()


class Members(ServerCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    def start(self, mode, topic, group):
        p = Process(self.server.url, mode, topic, group)
        self.addCleanup(p.end)
        return p

    def fill(self, n):
        w = self.wire()
        name = self.name()
        tid = w.create(name, partitions=1)
        from wire import record
        for i in range(n):
            w.produce(tid, 0, [record(None, b"%d" % i)])
        return name

    def test_worker_killed(self):
        """What it held comes to another worker after the grace time, counted as a delivery."""
        topic = self.fill(2)
        victim, heir = self.start("queue", topic, "q"), self.start("queue", topic, "q")
        self.assertEqual(victim.ask("go"), ["got", "0", "1"])
        self.assertEqual(heir.ask("go"), ["got", "1", "1"])
        self.assertEqual(heir.ask("ack"), ["done", "1"])
        killed = time.monotonic()
        victim.p.kill()
        self.assertEqual(heir.ask("go"), ["got", "0", "2"])
        took = time.monotonic() - killed
        self.assertGreater(took, GRACE_S - 1)
        self.assertLess(took, GRACE_S + 10)
        self.assertEqual(heir.ask("ack"), ["done", "0"])
        print(f"redelivered {took:.2f} s after kill -9 of the worker (grace {GRACE_S} s)")

    def test_worker_stopped_longer_than_the_grace(self):
        """Its kernel answers for it: it keeps its message, and its ack counts."""
        topic = self.fill(1)
        stopped, other = self.start("queue", topic, "q"), self.start("queue", topic, "q")
        self.assertEqual(stopped.ask("go"), ["got", "0", "1"])
        stopped.p.send_signal(signal.SIGSTOP)
        other.tell("go")  # waits up to a minute for a message that must not come
        self.wait_for_seconds_of_the_server(GRACE_S + 5)
        stopped.p.send_signal(signal.SIGCONT)
        self.assertEqual(stopped.ask("ack"), ["done", "0"])
        self.assertIsNone(other.p.poll())

    def test_log_member_stopped_longer_than_the_grace(self):
        topic = self.fill(3)
        member = self.start("log", topic, "l")
        self.assertEqual(member.ask("go"), ["got", "0", "1"])
        self.assertEqual([member.line(), member.line()], [["got", "1", "1"], ["got", "2", "1"]])
        member.p.send_signal(signal.SIGSTOP)
        self.wait_for_seconds_of_the_server(GRACE_S + 5)
        member.p.send_signal(signal.SIGCONT)
        self.assertEqual(member.ask("ack"), ["done", "3"], "it kept its partition")

    def test_log_member_killed(self):
        topic = self.fill(3)
        victim = self.start("log", topic, "l")
        self.assertEqual(victim.ask("go"), ["got", "0", "1"])
        self.assertEqual([victim.line(), victim.line()], [["got", "1", "1"], ["got", "2", "1"]])
        heir = self.start("log", topic, "l")
        victim.p.kill()
        until = time.monotonic() + DEADLINE_S
        while True:  # an empty poll prints nothing, so ask for the position instead
            heir.tell("go")
            heir.tell("ack")
            line = heir.line()
            if line[0] == "got":
                break
            self.assertEqual(line, ["done", "0"])
            self.assertLess(time.monotonic(), until)
        self.assertEqual(line, ["got", "0", "1"], "nothing was committed: from the start")

    def wait_for_seconds_of_the_server(self, seconds):
        """A delayed message is the clock: it arrives when the server says so."""
        w = self.wire()
        name = f"{self.name()}-clock"
        tid = w.create(name, partitions=1)
        from wire import batch, record
        due = int(time.time() * 1000) + seconds * 1000
        w.call(10, [tid, 0, batch([record(None, b"tick")]), {"deliver_at": due}])
        while not w.fetch(tid, 0, 0, wait=5000):
            pass


if __name__ == "__main__":
    main()
