"""A line on standard input (Enter on a terminal) starts what waits; its end does not.

The terminal stays as it is.  A thread waits, because standard input may be a file or a pipe,
which event loops watch badly; it reads the descriptor itself, so that nothing holds the end of
the program up.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_S = 0.25
"""How often the thread looks whether it is still wanted."""
READ_BYTES = 4096
STDIN = 0


@contextmanager
def at_a_line(function: Callable[[], None], *, wanted: bool = True) -> Iterator[None]:
    """Calls `function` once, in the event loop, at the first line that comes meanwhile."""
    if not wanted:
        yield
        return
    loop = asyncio.get_running_loop()
    over = threading.Event()

    def wait() -> None:
        while not over.is_set():
            try:
                if not select.select([STDIN], [], [], LOOK_S)[0]:
                    continue  # nothing typed; it is watched again at once
                if _in_background():
                    over.wait(LOOK_S)
                    continue
                typed = os.read(STDIN, READ_BYTES)
            except (OSError, ValueError):  # closed, or nothing that can be waited for
                return
            if not typed:
                return  # its end
            if b"\n" in typed:
                if not over.is_set():
                    loop.call_soon_threadsafe(function)
                return

    threading.Thread(target=wait, name="standard input", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _in_background() -> bool:
    """A job in the background that reads its terminal would be stopped by it."""
    try:
        return os.isatty(STDIN) and os.tcgetpgrp(STDIN) != os.getpgrp()
    except (OSError, AttributeError):
        return False
