"""What the processes of a server cost: CPU, bytes written, memory. Reads /proc, changes nothing but peak marks."""
import os

TICKS = os.sysconf("SC_CLK_TCK")
KEYS = ("cpu_s", "written", "read", "rss", "anon", "peak")


def session_pids(session):
    """All processes of a session: a server and whatever it started, unless that became a daemon of its own."""
    out = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as f:
                    fields = f.read().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    out.append(int(name))
            except (OSError, IndexError, ValueError):
                pass
    return out


def _status(pid):
    out = {}
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        for line in f:
            key, _, value = line.partition(":")
            if key in ("VmRSS", "RssAnon", "VmHWM"):
                out[key] = int(value.split()[0]) * 1024
    return out


def usage(session):
    """Totals since the processes started; memory as it is now. Children that were waited for count as CPU."""
    sums = dict.fromkeys(KEYS, 0)
    for pid in session_pids(session):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
                fields = f.read().rpartition(")")[2].split()
            sums["cpu_s"] += sum(int(x) for x in fields[11:15]) / TICKS
            with open(f"/proc/{pid}/io", encoding="ascii") as f:
                io = dict(line.split(": ") for line in f.read().splitlines())
            sums["written"] += int(io["write_bytes"]) - int(io["cancelled_write_bytes"])
            sums["read"] += int(io["read_bytes"])
            status = _status(pid)
            sums["rss"] += status.get("VmRSS", 0)
            sums["anon"] += status.get("RssAnon", 0)
            sums["peak"] += status.get("VmHWM", 0)
        except (OSError, ValueError, KeyError):
            pass  # it ended meanwhile
    return sums


def reset_peak(session):
    """From here on `peak` counts anew."""
    for pid in session_pids(session):
        try:
            with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
                f.write("5")
        except OSError:
            pass


def evict(path):
    """Writes everything below path to the disk and drops it from the page cache."""
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                fd = os.open(os.path.join(folder, name), os.O_RDONLY)
            except OSError:
                continue
            try:
                os.fdatasync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            except OSError:
                pass
            finally:
                os.close(fd)


def tree_bytes(path):
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                pass
    return total
