"""`share -`: standard input is kept in a file of its own while it is shared.

The link names the hash of all of it, so it has to be here before the first byte leaves, and to
stay for those who come late: a pipe cannot be read twice.
"""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from spinney.cli import stdstreams
from spinney.errors import StorageError, UsageError

STDIN = 0
READ_BYTES = 1 << 20
LOOK_S = 0.2
"""How often a read that waits for the writer looks whether it is still wanted."""
NAME = "stdin"
"""What is shared is called so without `--name`."""


@asynccontextmanager
async def spooled(name: str | None) -> AsyncIterator[str]:
    """The path of a file with all that came; it goes away at the end, whatever ends it.

    Raises `UsageError` for a name that is none or nothing to read, `StorageError` for a disk that
    is full."""
    called = NAME if name is None else name
    if called in ("", ".", "..") or "/" in called or os.sep in called or "\0" in called:
        raise UsageError(f"--name: {name!r} is no name of a file")
    if "stdin" in stdstreams.closed_at_start or os.isatty(STDIN):
        raise UsageError("share - reads standard input: pipe something into it")
    folder = tempfile.mkdtemp(prefix="spinney-")
    stop = threading.Event()
    try:
        path = Path(folder) / called
        try:
            came = await asyncio.to_thread(_keep, path, stop)
        except OSError as error:
            raise StorageError(
                f"cannot keep standard input in {folder}: {error.strerror};"
                " name a folder with more room in TMPDIR"
            ) from None
        if not came:
            raise UsageError("nothing came on standard input")
        yield str(path)
    finally:
        stop.set()
        shutil.rmtree(folder, ignore_errors=True)


def _keep(path: Path, stop: threading.Event) -> int:
    """In a thread; ends soon after `stop` even if nobody writes.  The bytes that came."""
    came = 0
    with path.open("wb") as file:
        while not stop.is_set():
            if sys.platform != "win32" and not select.select([STDIN], [], [], LOOK_S)[0]:
                continue
            data = os.read(STDIN, READ_BYTES)
            if not data:
                break
            came += len(data)
            file.write(data)
    return came
