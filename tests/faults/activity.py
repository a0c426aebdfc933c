"""What the clients of a run have done so far, read from their histories while they grow.

weir-check says `invalid` when too little happened. How much happens in a given time is up to the machine, so a
run goes on until it is enough (Rig.await_activity), and weir-check alone decides whether it was.
"""
import glob
import os

EVENT_BYTES = 64  # tests/faults/history/history.h; the first byte is the kind, the second the outcome
SENT, READ, HW, GAINED, COMMITTED, SETTLED = 11, 20, 23, 31, 36, 39
OK = 0
NEEDED_ACKS = {"quick": 10_000, "full": 100_000}
OF_ROLE = {"read": (READ,), "observe": (HW,), "member": (GAINED, COMMITTED), "worker": (SETTLED,)}


def count(histories):
    """(messages answered with ok, messages answered, the kinds that any client recorded)."""
    ok = answered = 0
    seen = set()
    for path in glob.glob(os.path.join(histories, "*.hist")):
        with open(path, "rb") as f:
            data = f.read()
        kinds, outcomes = data[0::EVENT_BYTES], data[1::EVENT_BYTES]
        seen |= set(kinds)
        if SENT in kinds:
            answered += kinds.count(SENT)
            ok += sum(1 for k, o in zip(kinds, outcomes) if k == SENT and o == OK)
    return ok, answered, seen


def missing(histories, roles, acks, min_ok_percent):
    """What a judge would find too little, in words; None when it is enough."""
    ok, answered, seen = count(histories)
    if ok < acks:
        return f"{ok} acknowledgements, not {acks}"
    if ok * 100 < answered * min_ok_percent:
        return f"{ok} of {answered} answers were ok, less than {min_ok_percent} %"
    idle = [r for r in roles if not set(OF_ROLE.get(r, ())) <= seen]
    return f"nothing from {idle[0]}" if idle else None
