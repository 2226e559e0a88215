"""The `spinney` command under a test's hand, in a namespace: its `--json` lines are kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from interop.namespace import Namespace
from interop.speaking import Speaking


class Spinney(Speaking):
    """`Spinney(namespace, 2, "get", link, "-o", folder)`: leaves from and listens on 198.18.2.1."""

    def __init__(self, namespace: Namespace, n: int, *words: object, port: int = 6881) -> None:
        address = (namespace.address(n), port)
        where = ["--json", "--interface", address[0], "--port", str(port)]
        if words[0] != "tracker":
            where.append("--no-lan")
        self._namespace = namespace
        process = namespace.start(
            [sys.executable, "-m", "spinney", *(str(word) for word in words), *where],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ.copy(),
        )
        super().__init__(process, address)

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
