"""Bytes to standard output, without holding up the event loop or the end of the program."""

from __future__ import annotations

import asyncio
import os
import select
import stat
import sys
import threading

SURE_BYTES = 4096
"""A pipe that can be written to takes this many without blocking (PIPE_BUF on Linux)."""
FILE_BYTES = 1 << 20
LOOK_S = 0.2
"""How often a write that waits for its reader looks whether it is still wanted."""


async def write_to_stdout(data: memoryview) -> None:
    """Returns when the reader has taken all of it.  Raises `BrokenPipeError` if it is gone."""
    stop = threading.Event()
    try:
        await asyncio.to_thread(write_all, sys.stdout.fileno(), data, stop)
    finally:
        stop.set()


def write_all(descriptor: int, data: memoryview, stop: threading.Event) -> None:
    """In a thread; ends soon after `stop` even if nobody reads."""
    # `select` knows sockets only on Windows: there a write may wait, in its thread.
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode) or sys.platform == "win32"
    step = FILE_BYTES if is_file else SURE_BYTES
    at = 0
    while at < len(data) and not stop.is_set():
        if is_file or select.select([], [descriptor], [], LOOK_S)[1]:
            at += os.write(descriptor, data[at : at + step])
