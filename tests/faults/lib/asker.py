"""A client of a cell's own: it asks by hand and sees each answer. Its topic is in no history."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "blackbox", "server"))
import wire as w  # noqa: E402

GONE = "gone"  # the connection ended, or the answer did not come in time


class Asker:
    def __init__(self, rig, topic="asker", timeout=8):
        self.rig, self.topic, self.timeout = rig, topic, timeout
        self.wire = None
        rig.weir("topic", "create", topic, "--partitions", "1")
        self.connect()

    def connect(self):
        """Connects (again). False when nobody answers."""
        self.close()
        try:
            self.wire = w.Wire(f"weir://127.0.0.1:{self.rig.port}", timeout=self.timeout)
            self.tid = self.wire.call(w.METADATA, [[self.topic]])[2][0][1]
        except (w.Closed, OSError):
            self.close()
        return self.wire is not None

    def close(self):
        if self.wire is not None:
            self.wire.close()
        self.wire = None

    def produce(self, size=100):
        """The offset; minus the code of a refusal; or GONE."""
        if self.wire is None and not self.connect():
            return GONE
        try:
            return self.wire.produce(self.tid, 0, [w.record(None, bytes(size))])[0]
        except w.Refused as e:
            return -e.code
        except (w.Closed, OSError):
            self.close()
            return GONE

    def until_produced(self, seconds):
        """Produces until it is acknowledged or the server has ended. Returns seconds, or None when neither
        came in time; the server has ended when rig.running() says so."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            answer = self.produce()
            if answer != GONE and answer >= 0:
                return time.monotonic() - began
            if not self.rig.running():
                return time.monotonic() - began
            self.rig.sleep(0.02)
        return None
