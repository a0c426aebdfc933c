"""A member as a process of its own, to be killed and stopped: worker.py URL MODE TOPIC GROUP.

Prints one line per event: "ready", "got OFFSET DELIVERIES", "done OFFSET", "error TEXT". Waits for a
line on its input before each fetch ("go") and before it gives back what it has ("ack").
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "second_client"))
import weir_client as wc  # noqa: E402
import weir_groups as wg  # noqa: E402


def say(*words):
    print(*words, flush=True)


def main():
    url, mode, topic, group = sys.argv[1:5]
    host, port = url.removeprefix("weir://").rsplit(":", 1)
    client = wc.Client(host, int(port))
    client.metadata(topic)
    member = (wg.Member if mode == "log" else wg.Worker)(client, group, [topic])
    say("ready")
    held = []
    for line in sys.stdin:
        try:
            if line.strip() == "go":
                if mode == "log":
                    got = [(None, 1, record) for _, _, record in member.poll(5000)]
                else:
                    got = [g[:3] for g in member.acquire(1, 60000)]
                held += got
                for _, deliveries, record in got:
                    say("got", record[0], deliveries)
            elif mode == "log":
                member.commit()
                say("done", sum(member.positions.values()))
            else:
                for err in member.ack([g[0] for g in held]):
                    wc.check(err)
                for _, _, record in held:
                    say("done", record[0])
                held = []
        except (wc.WeirError, wc.Disconnected) as e:
            say("error", e)


main()
