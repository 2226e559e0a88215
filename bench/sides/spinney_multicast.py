"""Spinney as a side of the multicast benchmark: its commands, as a user would type them."""

from __future__ import annotations

import compileall
import os
import signal
import sys
import time
from functools import lru_cache
from pathlib import Path

import spinney
from rig.race import Side
from rig.watch import Child

UNLIMITED_BYTES_PER_S = 2_000_000_000
SETTLE_S = 0.7
"""Between the last one's joining and the key press: as long as the others are given."""
STAY_S = 30
SOURCE_FOLDER = Path(__file__).resolve().parents[2] / "src"


@lru_cache(1)
def _compile() -> None:
    """As an installer does; else each start compiles 200 files, for half a second."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compileall.compile_dir(SOURCE_FOLDER / "spinney", quiet=2)


class Spinney(Side):
    """`spinney share FILE --multicast-only --wait-for N` and `spinney get`, at a fixed rate of
    payload; everything else is as it comes."""

    name = "spinney"
    only = "--multicast-only"

    def _spinney(self, host: int, *words: str) -> Child:
        os.environ["PYTHONPATH"] = str(SOURCE_FOLDER)
        _compile()
        home = self.copy(host).parent if host else self.folder
        os.environ["XDG_STATE_HOME"] = str(home / "state")
        os.environ["XDG_CONFIG_HOME"] = str(home / "config")
        return self.start(host, [sys.executable, "-m", "spinney", *words])

    def rate_words(self) -> list[str]:
        cell = self.cell
        if cell.find_rate:
            return ["--rate", "found"]
        rate = cell.rate_bits_per_s / 8 or UNLIMITED_BYTES_PER_S
        return ["--rate", str(round(rate))]

    def receive(self, host: int) -> None:
        self.receivers[host] = self._spinney(
            host, "get", str(self.source.torrent), "-o", str(self.copy(host).parent),
            self.only, "--interface", "eth0", "--json", *self.stay_words(),
        )  # fmt: skip

    def stay_words(self) -> list[str]:
        """Where one comes late, the others stay for a while, to give it what it missed."""
        return ["--seed-time", str(STAY_S)] if self.cell.late_s else []

    def wait_ready(self) -> None:
        waiting = self.cell.receivers - bool(self.cell.late_s)
        self.sender = self._spinney(
            0, "share", str(self.source.path), "--torrent", str(self.source.torrent),
            self.only, "--interface", "eth0", "--json", *self.rate_words(),
            "--wait-for", str(waiting + 1), "--wait-at-most", "600",
            "--until-complete", str(self.cell.receivers),
        )  # fmt: skip
        self._hear_all(waiting)

    def _hear_all(self, waiting: int) -> None:
        assert self.sender is not None
        self.sender.hear("ready", 60)
        self.version = f"spinney {spinney.__version__}"
        limit = time.monotonic() + 30
        while self._joined() < waiting:
            if time.monotonic() > limit or self.sender.exit_code is not None:
                raise RuntimeError(f"{self._joined()} of {waiting} receivers joined in 30 s")
            time.sleep(0.05)
        time.sleep(SETTLE_S)

    def _joined(self) -> int:
        """The sender says with its progress how many receivers are there."""
        assert self.sender is not None
        groups = [row["group"] for row in self.sender.rows("group")]
        return max((int(group.get("joined") or 0) for group in groups), default=0)

    def send(self) -> float:
        assert self.sender is not None
        self.sender.say("")
        return time.monotonic()

    def done_at(self, host: int) -> float | None:
        """`done` comes when its writer has also computed the SHA-256 that the line carries; the
        last progress before it says that every piece is there and verified."""
        child = self.receivers[host]
        found = child.heard.get("done")
        return child.states.get("done", found[0] if found else None)

    def stop(self) -> None:
        for child in self.children():
            child.stop(signal.SIGINT)


class SpinneyLibrary(Spinney):
    """The same peers without the command line."""

    name = "spinney-library"

    def receive(self, host: int) -> None:
        os.environ["PYTHONPATH"] = str(SOURCE_FOLDER)
        folder = str(self.copy(host).parent)
        self.receivers[host] = self.python(
            host, "mcftp_side.py", "receive", folder, str(self.source.torrent)
        )

    def wait_ready(self) -> None:
        os.environ["PYTHONPATH"] = str(SOURCE_FOLDER)
        self.sender = self.python(
            0, "mcftp_side.py", "send", str(self.source.path.parent), str(self.source.torrent),
            "--receivers", str(self.cell.receivers),
            *([] if self.cell.find_rate else self.rate_words()),
        )  # fmt: skip
        self._hear_all(self.cell.receivers - bool(self.cell.late_s))

    def _joined(self) -> int:
        assert self.sender is not None
        return max((int(row["joined"]) for row in self.sender.rows("joined")), default=0)

    def done_at(self, host: int) -> float | None:
        found = self.receivers[host].heard.get("done")
        return found[0] if found else None


class SpinneySwarm(Spinney):
    """The same with the swarm on."""

    name = "spinney+swarm"
    only = "--json"


SIDES = {side.name: side for side in (Spinney, SpinneyLibrary, SpinneySwarm)}
