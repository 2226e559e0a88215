"""The command as processes of their own, their `--json` events read as they come."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from spinney import cli

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ["--interface", "lo", "--port", "0", "--no-lan"]
"""Keeps a test on this machine, and on no port that another test uses."""


def environment() -> dict[str, str]:
    path = f"{ROOT / 'src'}"
    return dict(os.environ, PYTHONPATH=path, PYTHONUNBUFFERED="1", COLUMNS="200")


def run(
    *arguments: str | Path, cwd: Path | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """The command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "spinney", *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def here(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command to its end within this process: half a second sooner.

    For what it says and how it ends, where neither signals nor streams of its own matter.
    """
    log = logging.getLogger("spinney")
    before = log.handlers[:], log.level, log.propagate
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    words = [str(word) for word in arguments]
    out, error = io.StringIO(), io.StringIO()
    try:
        with (
            contextlib.chdir(cwd or "."),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(error),
        ):
            code = cli.run(words)
    finally:
        log.handlers[:], log.level, log.propagate = before
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return subprocess.CompletedProcess(words, code, out.getvalue(), error.getvalue())


class Running:
    """A `spinney ... --json` that runs; a context, killed at the end if need be."""

    def __init__(self, *arguments: str | Path, cwd: Path | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.child = subprocess.Popen(
            [sys.executable, "-m", "spinney", *map(str, arguments), "--json"],
            cwd=cwd,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self._queue.put(json.loads(line))
        self._queue.put(None)

    def until(self, event: str, timeout: float = 30, **fields: Any) -> dict[str, Any]:
        """The next event of this kind whose fields are these; fails if the process ends."""
        deadline = time.monotonic() + timeout
        while True:
            row = self._queue.get(timeout=max(0.01, deadline - time.monotonic()))
            if row is None:
                raise AssertionError(f"ended before {event}: {self.events} {self.stderr()}")
            self.events.append(row)
            if row["event"] == event and all(row.get(k) == v for k, v in fields.items()):
                return row

    def until_some_bytes(self, least: int = 1) -> dict[str, Any]:
        while True:
            row = self.until("progress")
            if row["have_bytes"] >= least:
                return row

    def stderr(self) -> str:
        assert self.child.stderr is not None
        return self.child.stderr.read()

    def stop(self, number: int = signal.SIGINT, timeout: float = 20) -> int:
        self.child.send_signal(number)
        return self.wait(timeout)

    def wait(self, timeout: float = 30) -> int:
        code = self.child.wait(timeout)
        while (row := self._queue.get(timeout=5)) is not None:
            self.events.append(row)
        return code

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        for stream in (self.child.stdout, self.child.stderr):
            assert stream is not None
            stream.close()


def sharing(path: Path, *more: str | Path, cwd: Path) -> Running:
    return Running("share", path, *LOCAL, *more, cwd=cwd)
