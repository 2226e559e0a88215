"""Reads that never wait for a disk: what the system has in memory."""

from __future__ import annotations

import errno
import os
from functools import lru_cache

FLAG: int = getattr(os, "RWF_NOWAIT", 0)
"""Linux: read what is in memory, or say at once (EAGAIN) that it is not."""


def read_resident(descriptor: int, buffer: bytearray | memoryview, offset: int) -> int:
    """Bytes read; 0 if they are on a disk, or nobody can tell.  Raises nothing."""
    if not FLAG:
        return 0
    try:
        return os.preadv(descriptor, [buffer], offset, FLAG)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            return 0
    try:  # tmpfs does not know the flag, and keeps nothing on a disk
        if _lies_in_memory(os.fstat(descriptor).st_dev):
            return os.preadv(descriptor, [buffer], offset)
    except OSError:
        pass
    return 0


@lru_cache(64)
def _lies_in_memory(device: int) -> bool:
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                before, _, after = line.partition(" - ")
                if before.split(" ")[2:3] == [wanted]:
                    return after.split(" ", 1)[0] in ("tmpfs", "ramfs")
    except OSError:
        pass
    return False
