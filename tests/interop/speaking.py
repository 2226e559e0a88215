"""A program that says JSON lines, one object with an `event` each: they are read and kept."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from spinney.net.host import Address


class Speaking:
    """Its lines are read by a thread; `wait` hears past and coming ones."""

    def __init__(self, process: subprocess.Popen[bytes], address: Address) -> None:
        self.address = address
        self._process = process
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._errors = b""
        self._threads = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _read_errors(self) -> None:
        self._errors = self._process.stderr.read()

    def wait(
        self,
        event: str,
        within_s: float = 30.0,
        when: Callable[[dict[str, Any]], bool] = lambda row: True,
    ) -> dict[str, Any]:
        """The first such event, past or to come; raises with what was said if it never comes."""
        end = time.monotonic() + within_s
        at = 0
        with self._news:
            while True:
                for row in self.events[at:]:
                    if row["event"] == event and when(row):
                        return row
                at = len(self.events)
                left = end - time.monotonic()
                heard = left > 0 and self._news.wait(min(left, 0.5))
                if left <= 0 or (not heard and self._process.poll() is not None):
                    raise AssertionError(self._why(event, within_s))

    def _why(self, event: str, within_s: float) -> str:
        said = [row for row in self.events if row["event"] != "status"][-5:]
        return (
            f"no {event!r} within {within_s} s from {self.address}; it said {said}, "
            f"last {self.events[-1:]}, stderr {self._errors[-2000:]!r}"
        )
