"""The `spinney` command under a test's hand, in a namespace: its `--json` lines are kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from interop.namespace import Namespace


class Spinney:
    """`Spinney(namespace, 2, "get", link, "-o", folder)`: leaves from and listens on 198.18.2.1."""

    def __init__(self, namespace: Namespace, n: int, *words: object, port: int = 6881) -> None:
        self.address = (namespace.address(n), port)
        where = ["--json", "--interface", self.address[0], "--port", str(port)]
        if words[0] != "tracker":
            where.append("--no-lan")
        self._namespace = namespace
        self._process = namespace.start(
            [sys.executable, "-m", "spinney", *(str(word) for word in words), *where],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ.copy(),
        )
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
                if time.monotonic() > end or (
                    self._process.poll() is not None and at == len(self.events)
                ):
                    raise AssertionError(
                        f"no {event!r} in {within_s} s from {self.address}: {self.events[-4:]}, "
                        f"stderr {self._errors[-2000:]!r}"
                    )
                self._news.wait(0.2)

    def ended(self, within_s: float = 20.0) -> int:
        """The exit code, once it has ended by itself."""
        code = int(self._process.wait(within_s))
        for thread in self._threads:
            thread.join(5)
        return code

    def interrupt(self, within_s: float = 10.0) -> int:
        """Ctrl-C, and the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        return self.ended(within_s)

    def stop(self) -> None:
        self._namespace.stop(self._process)
