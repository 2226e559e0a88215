"""What the processes of a race cost, and what else the machine did meanwhile.

Processor seconds come from the kernel (`wait4` at a process's end, less what it had used when the
clock started), memory from `VmHWM` (the peak of `wait4` would include the benchmark's own, which
a forked child begins with).  Everything is sampled four times a second at most.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count() or 1
SAMPLE_S = 0.25
_KERNEL_THREAD = 0x0020_0000
"""The flag of the kernel's own threads: they work for whoever sends."""


def _times(pid: int | str, *, kernel: bool = True) -> tuple[float, float]:
    """A process's processor seconds: its own, and those of the children that it waited for."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        if not kernel and int(fields[6]) & _KERNEL_THREAD:
            return 0.0, 0.0
        own, waited = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
        return own / TICKS_PER_S, waited / TICKS_PER_S
    return 0.0, 0.0


class Child:
    """A process of a race: the moments of its words and of its end, and what it used."""

    def __init__(self, process: subprocess.Popen[Any]) -> None:
        self.process = process
        self.pid = process.pid
        self.ended_at: float | None = None
        self.exit_code: int | None = None
        self.peak_mib = 0.0
        self._used_before_s = 0.0
        self._used_s = 0.0
        self.heard: dict[str, tuple[float, dict[str, Any]]] = {}
        """The first JSON line with each word, and when it came."""
        self.lines: list[str] = []
        self.states: dict[str, float] = {}
        """The first time of each word under `state`, as our own programs report their progress."""
        self._news = threading.Condition()
        self._threads = [threading.Thread(target=self._wait, daemon=True)]
        if process.stdout is not None:
            self._threads.append(threading.Thread(target=self._read, daemon=True))
        for thread in self._threads:
            thread.start()

    def _wait(self) -> None:
        _, status, used = os.wait4(self.pid, 0)
        self.ended_at = time.monotonic()
        self._used_s = used.ru_utime + used.ru_stime
        self.exit_code = os.waitstatus_to_exitcode(status)
        self.process.returncode = self.exit_code
        with self._news:
            self._news.notify_all()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            now = time.monotonic()
            text = line if isinstance(line, str) else line.decode(errors="replace")
            with self._news:
                self.lines.append(text)
                del self.lines[:-200]
                self._news.notify_all()
            with contextlib.suppress(ValueError):
                row = json.loads(text)
                if isinstance(row, dict):
                    with self._news:
                        for word in (*row, str(row.get("event", ""))):
                            self.heard.setdefault(word, (float(row.get("at", now)), row))
                        self.states.setdefault(str(row.get("state")), now)
                        self._news.notify_all()

    def hear(self, word: str, most_s: float) -> dict[str, Any]:
        """Waits for a JSON line with this word; RuntimeError if it ends or stays silent."""
        with self._news:
            self._news.wait_for(
                lambda: word in self.heard or self.exit_code is not None, timeout=most_s
            )
            if word not in self.heard:
                raise RuntimeError(f"no {word!r} (exit {self.exit_code}): {self.lines[-3:]}")
            return self.heard[word][1]

    def hear_text(self, text: str, most_s: float) -> float:
        """Waits for a line with this text, of a program that speaks no JSON; gives the moment."""
        with self._news:
            self._news.wait_for(
                lambda: any(text in line for line in self.lines) or self.exit_code is not None,
                timeout=most_s,
            )
            now = time.monotonic()
            if not any(text in line for line in self.lines):
                raise RuntimeError(f"no {text!r} (exit {self.exit_code}): {self.lines[-3:]}")
            return now

    def rows(self, word: str) -> list[dict[str, Any]]:
        """Every JSON line with this word among the last ones."""
        found = []
        for line in list(self.lines):
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict) and word in row:
                    found.append(row)
        return found

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def start_clock(self) -> None:
        """What it used before is not counted."""
        self._used_before_s = sum(_times(self.pid))

    def sample(self) -> None:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    self.peak_mib = max(self.peak_mib, int(line.split()[1]) / 1024)

    def stop(self, number: int = signal.SIGTERM, most_s: float = 5) -> None:
        """Ends it, in the end by force."""
        for way in (number, signal.SIGKILL):
            if self.exit_code is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, way)
            self._threads[0].join(most_s)
        for thread in self._threads[1:]:
            thread.join(1)

    @property
    def cpu_s(self) -> float:
        """Since the clock started; whole once it has ended."""
        used = self._used_s if self.exit_code is not None else sum(_times(self.pid))
        return max(0.0, used - self._used_before_s)


class Machine:
    """How busy the machine was between two moments, and how much of it by processes not ours."""

    def __init__(self, children: Callable[[], list[Child]]) -> None:
        self._children = children
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.busy_s = self.others_s = self.seconds = 0.0

    def start(self) -> None:
        self._began = (time.monotonic(), self._busy(), self._theirs())
        self._thread.start()

    def stop(self) -> None:
        began, busy, theirs = self._began
        self.seconds = time.monotonic() - began
        self.busy_s = self._busy() - busy
        self.others_s = max(0.0, self._theirs() - theirs)
        self._over.set()
        self._thread.join()

    @property
    def busy_share(self) -> float:
        return self.busy_s / (self.seconds * CORES)

    @staticmethod
    def _busy() -> float:
        fields = [
            int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        ]
        return (sum(fields[:8]) - fields[3] - fields[4]) / TICKS_PER_S

    def _theirs(self) -> float:
        """Processor seconds of all processes that are neither the race's nor this one."""
        ours = {str(child.pid) for child in self._children()} | {str(os.getpid())}
        names = [name for name in os.listdir("/proc") if name.isdigit() and name not in ours]
        return sum(sum(_times(name, kernel=False)) for name in names)

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_S):
            for child in self._children():
                child.sample()
