"""The kill points, read from the one list that there is (proto/killpoint.h)."""
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADER = os.path.join("proto", "killpoint.h")
PRODUCT = ("proto", "storage", "broker")


def points(root=ROOT):
    """{name: when}, in the order of the list."""
    with open(os.path.join(root, HEADER), encoding="utf-8") as f:
        text = f.read()
    return dict(re.findall(r"\bX\((\w+),\s*(RUN|START|FRESH|STOP|SPACE),", text))


def uses(root=ROOT):
    """{name: [file, ...]}, one entry for each place in the code."""
    found = {}
    for top in PRODUCT:
        for at, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                path = os.path.relpath(os.path.join(at, name), root)
                if name.endswith((".c", ".h")) and path != HEADER:
                    with open(os.path.join(root, path), encoding="utf-8") as f:
                        for point in re.findall(r"WEIR_KILLPOINT\((\w+)\)", f.read()):
                            found.setdefault(point, []).append(path)
    return found
