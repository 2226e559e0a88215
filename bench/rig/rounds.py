"""Medians and spread over rounds in which two sides take turns."""

from __future__ import annotations

import json
import statistics
import subprocess
from dataclasses import dataclass, field
from typing import Any, cast


@dataclass
class Side:
    """One process of a benchmark that speaks JSON lines."""

    child: subprocess.Popen[str]
    version: str = ""
    cost: dict[str, Any] = field(default_factory=dict)

    def hear(self, word: str) -> dict[str, Any]:
        """Reads lines until one has `word`; a side that died ends the benchmark."""
        assert self.child.stdout is not None
        for line in self.child.stdout:
            row = cast("dict[str, Any]", json.loads(line))
            if word in row:
                return row
        raise SystemExit(f"a side ended before it said {word!r} (exit code {self.child.wait()})")

    def say(self, line: str) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def wait_ready(self) -> None:
        self.version = self.hear("ready").get("version", "")

    def stop(self) -> None:
        self.say("stop")
        self.cost = self.hear("cpu_s")
        self.child.wait(30)


def spread(values: list[float], digits: int = 2) -> str:
    """`median (minimum to maximum)`."""
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
