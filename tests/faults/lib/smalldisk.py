"""A small ext4 file system of its own under a broker: filled, freed, aborted, repaired.

An image file on a loop device. It is mounted in a mount namespace of this process, so whatever happens
nothing stays mounted behind it. Needs root; where that is not given, NotPermitted says so, and a cell
must end as invalid then, never as clean.
"""
import contextlib
import ctypes
import fcntl
import os
import signal
import struct
import subprocess
import threading
import time

CLONE_NEWNS = 0x00020000
FS_IOC_SHUTDOWN = 0x8004587d
MIB = 1 << 20
_own = threading.local()  # a mount namespace is a thread's, and that of the processes it starts


class NotPermitted(Exception):
    pass


def run(*argv):
    try:
        r = subprocess.run(argv, capture_output=True, check=False)
    except FileNotFoundError:
        return 127, "no such program"
    return r.returncode, (r.stdout + r.stderr).decode(errors="replace").strip()


def need(*argv):
    code, text = run(*argv)
    if code:
        raise NotPermitted(f"{' '.join(argv)}: {text or code}")


def own_namespace():
    """From now on mounts of this thread and of the processes it starts are theirs alone."""
    if getattr(_own, "done", False):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise NotPermitted(f"a mount namespace: {os.strerror(ctypes.get_errno())}")
    need("mount", "--make-rprivate", "/")
    _own.done = True


def stopped(pid):
    """No thread of the process runs, in user space or in the kernel."""
    states = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii", errors="replace") as f:
            states.append(f.read().rsplit(")", 1)[1].split()[0])
    return all(s in "TZX" for s in states)


class SmallDisk:
    """top: an existing directory; the file system is mounted at top/mnt."""

    def __init__(self, top, mib=128, inodes=1024):
        self.image, self.at = os.path.join(top, "disk.img"), os.path.join(top, "mnt")
        self.ballast = os.path.join(self.at, "foreign")
        self.mounted = False
        own_namespace()
        with open(self.image, "wb") as f:
            f.truncate(mib * MIB)
        need("mkfs.ext4", "-q", "-F", "-m", "0", "-N", str(inodes), self.image)
        os.mkdir(self.at)
        self.mount()

    def mount(self):
        need("mount", "-o", "loop", self.image, self.at)
        self.mounted = True

    def unmount(self):
        if self.mounted:
            need("umount", self.at)
            self.mounted = False

    def drop(self):
        """Unmounts, come what may; the image stays for whoever wants to look."""
        if self.mounted:
            code, text = run("umount", self.at)
            if code:
                run("umount", "-l", self.at)
            self.mounted = False
        with contextlib.suppress(OSError):
            os.rmdir(self.at)

    def abort(self, process=None):
        """The journal is aborted: what a dying disk does to a mounted ext4. Read-only from now on.

        `process` is stopped meanwhile, outside of any system call: Linux 6.18 answers a sync that runs at
        that very moment as done, and it is not (ext4_abort.py shows it without a broker, in 5 of 40).
        """
        if process is not None:
            process.send_signal(signal.SIGSTOP)
            while not stopped(process.pid):
                time.sleep(0.001)
        need("mount", "-o", "remount,abort", self.at)
        if process is not None:
            process.send_signal(signal.SIGCONT)

    def shutdown(self):
        """The file system is gone for everybody at once (EIO); what is being written is waited for."""
        fd = os.open(self.at, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, FS_IOC_SHUTDOWN, struct.pack("I", 0))
        finally:
            os.close(fd)

    def fsck(self):
        """Repairs the unmounted file system. Returns what e2fsck said; raises when it could not."""
        code, text = run("e2fsck", "-fy", self.image)
        if code not in (0, 1, 2):
            raise RuntimeError(f"e2fsck: exit {code}: {text}")
        return text

    def free(self):
        s = os.statvfs(self.at)
        return s.f_bavail * s.f_frsize

    def free_inodes(self):
        return os.statvfs(self.at).f_favail

    def fill(self, leave=0):
        """A foreign file takes all but `leave` bytes."""
        size = 0
        with open(self.ballast, "ab") as f:
            step = MIB
            while step >= 4096:
                n = min(step, self.free() - leave) // 4096 * 4096
                if n <= 0:
                    break
                try:
                    os.posix_fallocate(f.fileno(), size, n)
                    size += n
                except OSError:
                    step //= 2
                    size = os.fstat(f.fileno()).st_size

    def empty(self):
        """The foreign files go."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.ballast)
        crowd = os.path.join(self.at, "crowd")
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(crowd):
                os.unlink(os.path.join(crowd, name))

    def take_inodes(self):
        """Empty files until none more can be made. Returns how many."""
        crowd = os.path.join(self.at, "crowd")
        os.makedirs(crowd, exist_ok=True)
        n = 0
        with contextlib.suppress(OSError):
            while True:
                os.close(os.open(os.path.join(crowd, str(n)), os.O_CREAT | os.O_WRONLY))
                n += 1
        return n


def under(rig, mib=128, inodes=1024):
    """A small disk under the rig's data directory; goes when the rig closes."""
    disk = SmallDisk(rig.top, mib, inodes)
    rig.dir = os.path.join(disk.at, "data")
    close = rig.close

    def closing():
        close()
        disk.drop()
    rig.close = closing
    return disk
