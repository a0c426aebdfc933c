#!/usr/bin/env python3
"""Checks the layout rules of docs/ARCHITECTURE.md: who may include whom, and what must be absent.

check_rules.py ROOT        checks the tree, prints file:line for every violation
check_rules.py --self-test proves that every rule can fail
"""
import os
import re
import sys

# folder -> our folders it may include ("" = only itself). The longest matching folder counts.
MAY_INCLUDE = {
    "proto": ["proto/"],
    "storage": ["proto/", "storage/"],
    "broker/core": ["proto/", "storage/store.h", "storage/keys.h", "broker/core/"],
    "broker": ["proto/", "storage/", "broker/"],
    "client": ["proto/", "client/", "weir/"],
    "client/cli": ["client/cli/", "weir/"],
    "client/examples": ["weir/"],
}

# pattern, files it may appear in (regex), why. The pattern is searched in code without comments.
ABSENCES = [
    (r'#\s*include\s*[<"]ev\.h[>"]', r"^(broker/[^/]+\.[ch]|client/include/weir/adapters/.*|client/examples/async_libev\.c)$",
     "ev.h"),
    (r'#\s*include\s*[<"]rocksdb/c\.h[>"]', r"^storage/[^/]*rocks[^/]*\.[ch]$", "rocksdb/c.h"),
    (r'#\s*include\s*[<"]msgpack(\.h|/)', r"^proto/mp[^/]*\.[ch]$", "msgpack"),
    (r'#\s*include\s*[<"]zstd\.h[>"]', r"^proto/compress\.c$", "zstd.h"),
    (r"\brocksdb_write\s*\(", r"^storage/clog_rocks\.c$", "rocksdb_write: one commit path"),
    (r"\b(clock_gettime|gettimeofday|time)\s*\(", r"^(broker|client|client/cli|storage)/clock\.c$",
     "clocks are read in the clock files only"),
    (r"\bgetenv\s*\(", r"^(broker/(main|config[a-z_]*|notify)\.c|client/cli/.*\.c|proto/killpoint\.c)$", "getenv"),
    (r"\bexit\s*\(", r"^(broker/(main|server|log)\.c|client/cli/.*\.c)$", "exit"),
    (r"\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|alloca)\s*\(", r"^$", "unsafe function"),
    (r"\b(sleep|usleep|nanosleep)\s*\(", r"^$", "sleep"),
]
PRODUCT = ("proto/", "storage/", "broker/", "client/")
MAX_LINES = 800


def strip_comments(text):
    """Blanks comments and string literals (includes keep theirs), keeps line numbers."""
    def blank(m):
        s = m.group(0)
        return s if s.startswith("#") else re.sub(r"[^\n]", " ", s)
    return re.sub(r'#\s*include[^\n]*|/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def folder_of(path):
    best = None
    for f in MAY_INCLUDE:
        if path.startswith(f + "/") and (best is None or len(f) > len(best)):
            best = f
    return best


def check_file(path, text):
    out = []
    code = strip_comments(text)
    folder = folder_of(path)
    for no, line in enumerate(code.splitlines(), 1):
        m = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if m and folder:
            inc = m.group(1)
            ours = re.match(r"(proto|storage|broker|client|weir|tests|bench)/", inc)
            if ours and not any(inc.startswith(a) for a in MAY_INCLUDE[folder]):
                out.append((no, f"{folder}/ must not include {inc}"))
        if path.startswith(PRODUCT):
            for pattern, allowed, why in ABSENCES:
                if re.search(pattern, line) and not re.match(allowed, path):
                    out.append((no, f"not here: {why}"))
        if len(line.expandtabs()) > 100 and path.startswith(PRODUCT) and "clang-format off" not in text:
            out.append((no, "over 100 columns"))
    n = text.count("\n")
    if n > MAX_LINES:
        out.append((n, f"{n} lines, the limit is {MAX_LINES}"))
    return out


def check_tree(root):
    bad = 0
    n = 0
    for top in ("proto", "storage", "broker", "client", "tests", "bench"):
        for dirpath, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    full = os.path.join(dirpath, name)
                    path = os.path.relpath(full, root)
                    n += 1
                    with open(full, encoding="utf-8") as f:
                        for no, what in check_file(path, f.read()):
                            print(f"{path}:{no}: {what}")
                            bad += 1
    allowed_top = {"CMakeLists.txt", "broker", "client", "storage", "proto", "tests", "bench", "docs", "README.md",
                   "LICENSE", "CHANGELOG.md", "CMakePresets.json", "Makefile", "cmake", "packaging"}
    for name in os.listdir(root):
        if not name.startswith(".") and name != "build" and name not in allowed_top:
            print(f"{name}: not part of the top level")
            bad += 1
    print(f"{n} files checked, {bad} violations")
    return 1 if bad or n == 0 else 0


def self_test():
    cases = [
        ("proto/x.c", '#include "storage/store.h"\n'),
        ("storage/x.c", '#include "broker/core/core.h"\n'),
        ("broker/core/x.c", '#include <ev.h>\n'),
        ("broker/core/x.c", '#include "storage/kv.h"\n'),
        ("client/x.c", '#include "storage/store.h"\n'),
        ("client/cli/x.c", '#include "proto/buf.h"\n'),
        ("storage/store.c", "#include <rocksdb/c.h>\n"),
        ("broker/x.c", "#include <msgpack.h>\n"),
        ("client/x.c", "#include <zstd.h>\n"),
        ("storage/kv_rocks.c", "rocksdb_write(db, o, b, &e);\n"),
        ("broker/conn.c", "clock_gettime(CLOCK_REALTIME, &t);\n"),
        ("proto/x.c", "x = getenv(\"A\");\n"),
        ("storage/x.c", "exit(1);\n"),
        ("client/x.c", "strcpy(a, b);\n"),
        ("broker/x.c", "usleep(5);\n"),
        ("proto/x.c", "int x;\n" * 801),
        ("proto/x.c", "int " + "x" * 100 + ";\n"),
    ]
    failed = [c for c in cases if not check_file(*c)]
    for path, text in failed:
        print(f"rule did not fire: {path}: {text.splitlines()[0][:80]}")
    fine = check_file("proto/x.c", '#include "proto/buf.h"\n/* exit(1) in a comment */\n')
    if fine:
        print(f"false alarm: {fine}")
    print(f"{len(cases) - len(failed)} of {len(cases)} rules fired")
    return 1 if failed or fine else 0


if __name__ == "__main__":
    sys.exit(self_test() if sys.argv[1] == "--self-test" else check_tree(sys.argv[1]))
