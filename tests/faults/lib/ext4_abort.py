#!/usr/bin/env python3
"""ext4_abort.py [ROUNDS]: does this kernel answer a sync as done while the journal is aborted?

Without a broker: one thread appends and syncs, the file system is aborted, repaired and mounted again,
and what is in the file is compared with what was answered. Linux 6.18: 5 of 40 rounds, with fdatasync or
fsync, with or without preallocation. So the cell read_only stops the server for that moment.
"""
import os
import shutil
import sys
import tempfile
import threading

import smalldisk

BLOCK = 3000


def content(n):
    return bytes([n % 251 + 1]) * BLOCK


def append_until_error(fd, done):
    try:
        while True:
            os.write(fd, content(len(done)))
            os.fdatasync(fd)
            done.append(True)
    except OSError:
        pass


def one_round(disk, name, seconds):
    """(appends answered as durable, appends that are there)"""
    path = os.path.join(disk.at, name)
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    done = []
    writer = threading.Thread(target=append_until_error, args=(fd, done))
    writer.start()
    threading.Event().wait(seconds)
    disk.abort()
    writer.join()
    os.close(fd)
    disk.unmount()
    disk.fsck()
    disk.mount()
    with open(path, "rb") as f:
        data = f.read()
    os.unlink(path)
    there = 0
    while data[there * BLOCK:(there + 1) * BLOCK] == content(there):
        there += 1
    return len(done), there


def main():
    top = tempfile.mkdtemp(prefix="weir-abort-")
    disk = smalldisk.SmallDisk(top, 64)
    rounds, lies = int(sys.argv[1]) if len(sys.argv) > 1 else 20, 0
    for i in range(rounds):
        done, there = one_round(disk, str(i), 0.05 + 0.01 * (i % 10))
        if there < done:
            lies += 1
            print(f"{done} answered as durable, {there} are there")
    print(f"{lies} of {rounds} aborts with a sync that was answered as done and was not")
    disk.drop()
    shutil.rmtree(top)


if __name__ == "__main__":
    main()
