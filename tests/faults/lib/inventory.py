"""Everything that a server shows of its store, as plain data that can be compared and printed.

Reads through the protocol only. A range that the server calls damaged is part of the answer.
"""
import os

from bare import Wire
import wire as w

FETCH_BYTES = 1 << 20


def batches(run):
    """[(base offset, count, bytes)] of batches back to back."""
    out = []
    at = 0
    while at < len(run):
        base = int.from_bytes(run[at:at + 8], "big")
        n = int.from_bytes(run[at + 20:at + 24], "big")
        count = int.from_bytes(run[at + 62:at + 64], "big")
        out.append((base, count, run[at:at + n]))
        at += n
    return out


def topics(conn):
    """[(name, tid, partitions, settings)] in order of names."""
    out, after = [], None
    while True:
        answer = conn.call(w.METADATA, [None, None, {"after": after}])
        out += [(t[0], t[1], len(t[3]), t[5]) for t in answer[2]]
        after = answer[3] if len(answer) > 3 else None
        if after is None:
            return out


def span(conn, tid, p):
    """(log start, high watermark)"""
    start, end = conn.call(w.LIST_OFFSETS, [[[tid, p, -1], [tid, p, -2]]])
    return start[3], end[3]


def partition(conn, tid, p, steps=()):
    """{start, hw, batches {base: (count, bytes)}, bad [(offset, error text)]}.

    steps: where batches are known to begin; that is where reading goes on behind a damaged range.
    """
    start, hw = span(conn, tid, p)
    got, bad = {}, []
    at = start
    steps = sorted(steps)
    while at < hw:
        answer = conn.call(w.FETCH, [5000, 1, FETCH_BYTES, [[tid, p, at, FETCH_BYTES]]])
        if not answer:
            bad.append((at, "SILENT: no answer for an offset below hw"))
            break
        _, _, err, _, _, run = answer[0]
        if err is not None:
            bad.append((at, f"{err[0]} {err[2]}"))
            at = next((s for s in steps if s > at), at + 1)
            continue
        for base, count, data in batches(run):
            got[base] = (count, data)
            at = base + count
    return {"start": start, "hw": hw, "batches": got, "bad": bad}


def pages(conn, op, args):
    """All items of an operation that answers in pages."""
    out, after = [], None
    while True:
        answer = conn.call(op, args + [{"after": after}])
        out += answer[0]
        after = answer[1]
        if after is None:
            return out


def group(conn, name):
    """Settings, committed positions and how far each partition is."""
    row, _, _, settings, _, parts = conn.call(w.GROUP_DESCRIBE, [name])[:6]
    committed = conn.call(w.COMMITTED, [name, None])
    return {
        "mode": row[1],
        "settings": settings,
        "committed": sorted([t, p, off, note] for t, p, off, _, note in committed),
        "position": sorted([x[1], x[2], x[4]] for x in parts),
    }


def dead_letters(conn, topic, partitions):
    """[[p, first, last, state]]"""
    out = []
    for p in range(partitions):
        at = 0
        while at is not None:
            ranges, at = conn.call(w.DLQ_LIST, [topic, p, at, 0])
            out += [[p, *r] for r in ranges]
    return out


def available(conn, name, expected=None):
    """What a fresh member of a queue group is given: {(tid, p, offset): deliveries}; given back.

    Waits for as many as are expected (it reads from disk), then looks once more for others.
    """
    parts = conn.call(w.GROUP_DESCRIBE, [name])[5]
    names = sorted({x[0] for x in parts if "~" not in x[0]})
    m = w.Member(conn, name, names, mode="queue", member=os.urandom(16))
    out = {}
    handles = []
    while True:
        some = expected is None or len(out) < expected
        got = m.acquire(n=1000, wait=500 if some else 0)
        if not got:
            break
        for handle, deliveries, _, _, _ in got:
            out[(handle[0], handle[1], handle[3])] = deliveries
            handles.append(handle)
    for i in range(0, len(handles), 1000):
        m.settle(handles[i:i + 1000], w.RELEASE)
    m.leave()
    return out


def ask(fn, *args):
    """What fn returns, or the error that the server names."""
    try:
        return fn(*args)
    except w.Refused as e:
        return {"error": f"{e.code} {e.text}"}


def take(url, known=None, queues=True):
    """The whole inventory. known: an earlier one, whose batches tell where reading may go on."""
    with Wire(url) as conn:
        out = {"topics": {}, "groups": {}, "delayed": {}, "dead": {}, "available": {}}
        listed = topics(conn)
        for name, tid, n, settings in listed:
            old = known["topics"].get(name) if known else None
            out["topics"][name] = {
                "tid": tid, "settings": settings,
                "parts": [partition(conn, tid, p, old["parts"][p]["batches"] if old else ())
                          for p in range(n)]}
            out["delayed"][name] = ask(pages, conn, w.DELAYED_LIST, [tid])
            if name.endswith("~dlq"):
                out["dead"][name] = ask(dead_letters, conn, name, n)
        for row in pages(conn, w.GROUP_LIST, []):
            out["groups"][row[0]] = ask(group, conn, row[0])
            if queues and row[1] == "queue":
                old = known["available"].get(row[0]) if known else None
                out["available"][row[0]] = ask(available, conn, row[0],
                                                   None if old is None else len(old))
        return out
