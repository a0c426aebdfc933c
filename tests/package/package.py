#!/usr/bin/env python3
"""Installs libweir into a temporary directory, moves it, and builds programs against it: through
pkg-config (shared and static) and through find_package. Compares the exported symbols with the
header and the needed libraries with the short list that is allowed."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

build, source, cc, cxx = sys.argv[1:5]
user = os.path.join(source, "tests/package/user")
failures = []


def run(args, **kw):
    r = subprocess.run(args, text=True, capture_output=True, check=False, **kw)
    if r.returncode:
        failures.append(f"{' '.join(args)}: exit {r.returncode}\n{r.stdout}{r.stderr}")
    return r.stdout


def check(what, good, detail=""):
    print(f"{'ok  ' if good else 'FAIL'} {what}")
    if not good:
        failures.append(f"{what}: {detail}")


def declared():
    with open(os.path.join(source, "client/include/weir/weir.h"), encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    return set(re.findall(r"WEIR_API [^;(]*?\b(weir_[a-z0-9_]+)\s*\(", text))


def global_names(args):
    out = run(args)
    return {line.split()[-1].split("@")[0] for line in out.splitlines() if len(line.split()) == 3}


def sizes_of(path, names):
    return all(os.path.exists(os.path.join(path, n)) for n in names)


with tempfile.TemporaryDirectory() as tmp:
    first, root = os.path.join(tmp, "first"), os.path.join(tmp, "moved")
    run(["cmake", "--install", build, "--component", "client", "--prefix", first])
    shutil.move(first, root)  # an installed tree may be moved
    libdir = next(os.path.dirname(os.path.join(d, f)) for d, _, fs in os.walk(root) for f in fs
                  if f == "libweir.a")
    env = dict(os.environ, PKG_CONFIG_PATH=os.path.join(libdir, "pkgconfig"), LD_LIBRARY_PATH=libdir)
    api = declared()
    check("header declares functions", len(api) > 40, api)
    so = os.path.join(libdir, "libweir.so")
    exported = global_names(["nm", "-D", "--defined-only", so]) - {"WEIR_0"}
    check("shared library exports exactly the header's functions", exported == api, exported ^ api)
    with open(os.path.join(source, "packaging/debian/libweir0.symbols"), encoding="utf-8") as f:
        packaged = set(re.findall(r"^ (weir_[a-z0-9_]+)@WEIR_0 ", f.read(), re.M))
    check("the package's symbols file lists exactly the header's functions", packaged == api, packaged ^ api)
    archived = global_names(["nm", "-g", "--defined-only", os.path.join(libdir, "libweir.a")])
    check("archive has exactly the header's functions as globals", archived == api, archived ^ api)
    dynamic = run(["readelf", "-d", so])
    check("soname is libweir.so.0", "soname: [libweir.so.0]" in dynamic, dynamic)
    needed = set(re.findall(r"\(NEEDED\).*\[(.*?)\.so", dynamic))
    check("needs libc, zstd, isal only", needed <= {"libc", "libzstd", "libisal"}, needed)
    check("headers are installed", sizes_of(os.path.join(root, "include/weir"), [
        "weir.h", "errors.h", "adapters/libev.h", "adapters/libuv.h", "adapters/libevent.h",
        "adapters/poll.h"]))
    for name, compiler, std in (("c99.c", cc, "-std=c99"), ("cpp.cpp", cxx, "-std=c++11")):
        for static in ([], ["--static"]):
            flags = run(["pkg-config", "--cflags", "--libs", *static, "libweir"], env=env).split()
            if static:
                flags = ["-Wl,-Bstatic" if f == "-lweir" else f for f in flags]
                at = flags.index("-Wl,-Bstatic")
                flags[at:at + 1] = ["-Wl,-Bstatic", "-lweir", "-Wl,-Bdynamic"]
            out = os.path.join(tmp, "a.out")
            strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
            run([compiler, std, "-D_GNU_SOURCE", *strict, os.path.join(user, name), "-o", out, *flags])
            if os.path.exists(out):
                run([out], env=env if not static else os.environ)
                uses = "libweir" in run(["readelf", "-d", out])
                check(f"{name} {'static' if static else 'shared'} by pkg-config", uses != bool(static))
                os.remove(out)
    ub = os.path.join(tmp, "user-build")
    run(["cmake", "-S", user, "-B", ub, f"-DCMAKE_PREFIX_PATH={root}", f"-DCMAKE_C_COMPILER={cc}",
         f"-DCMAKE_CXX_COMPILER={cxx}"])
    run(["cmake", "--build", ub])
    for name in ("c_weir", "c_weir_static", "cpp_weir", "cpp_weir_static"):
        exe = os.path.join(ub, name)
        check(f"{name} by find_package", os.path.exists(exe))
        if os.path.exists(exe):
            run([exe])

for f in failures:
    print(f)
sys.exit(1 if failures else 0)
