"""One cell of a multicast benchmark: a LAN, one side's programs, a clock, what it cost.

The clock starts when every receiver waits and the sender is started (or told to begin), and a
receiver's ends when it has the whole file.  Copies are compared by hash after the clock stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rig.lan import Lan
from rig.watch import Child, Machine

FILE_NAME = "data.bin"
POLL_S = 0.01
SETTLE_S = 2.0
"""Who has sent the file is given this long to end by itself; its last words are counted."""
HEARS_BYTES = 100_000
"""Who has got so much hears the data, not the talk about it."""
HEARS_POLL_S = 0.05
LINK_PAYLOAD = 0.95
"""The rates: 190 of a link of 200 Mbit/s, 47.5 of 50."""


@dataclass(frozen=True)
class Cell:
    """What is run: `name` and the circumstances."""

    name: str
    receivers: int
    mib: int = 256
    loss: float = 0.0
    link_mbit: float = 200.0
    """0: no limit."""
    offloads: str = "off"
    snooping: str = "on"
    slow_mbit: float = 0.0
    """The link of the last receiver, if it is slower."""
    kill_at_s: float = 0.0
    """The last receiver is killed then."""
    late_s: float = 0.0
    """The last receiver comes then."""
    find_rate: bool = False
    beside_tcp: bool = False
    most_s: float = 60.0
    """When the clock is stopped: who is not done by then has lost."""

    @property
    def rate_bits_per_s(self) -> float:
        """Payload; 0: as fast as it goes."""
        return self.link_mbit * LINK_PAYLOAD * 1e6


@dataclass(frozen=True)
class Source:
    """The file that is sent."""

    path: Path
    torrent: Path
    digest: bytes

    @property
    def size(self) -> int:
        return self.path.stat().st_size


def sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


class Side(ABC):
    """Programs of one maker, driven as its skilled user would.  Receivers are hosts 1 to N."""

    name: str

    def __init__(self, lan: Lan, cell: Cell, source: Source, folder: Path) -> None:
        self.lan = lan
        self.cell = cell
        self.source = source
        self.folder = folder
        self.receivers: dict[int, Child] = {}
        self.sender: Child | None = None
        self.version = ""

    def start(self, host: int, command: list[str]) -> Child:
        """Starts a program on a host; its output is kept for when it fails."""
        return Child(
            self.lan.start(
                host,
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=self.copy(host).parent if host else self.folder,
            )
        )

    def python(self, host: int, script: str, *words: str) -> Child:
        path = Path(__file__).resolve().parents[1] / "sides" / script
        return self.start(host, [sys.executable, str(path), *words])

    def copy(self, host: int) -> Path:
        """Where a receiver's copy will be."""
        folder = self.folder / f"copy{host}"
        folder.mkdir(exist_ok=True)
        return folder / FILE_NAME

    def children(self) -> list[Child]:
        return [*self.receivers.values(), *([self.sender] if self.sender else [])]

    @abstractmethod
    def receive(self, host: int) -> None:
        """Starts a receiver."""

    @abstractmethod
    def wait_ready(self) -> None:
        """Returns when all receivers wait (and the sender too, if it was started)."""

    @abstractmethod
    def send(self) -> float:
        """Starts the sender, or tells it to begin; returns when the clock started."""

    @abstractmethod
    def done_at(self, host: int) -> float | None:
        """When the receiver had the whole file; None: not yet."""

    def ended(self) -> bool:
        """Whether nothing more is to come: its last words are counted too."""
        return self.sender is not None and self.sender.exit_code is not None

    def stop(self) -> None:
        """Ends every program.  Those who send last, so that nobody sees a sender vanish."""
        for child in self.children():
            child.stop()


def wait_until_grown(side: Side, seconds: float) -> None:
    """For programs that do not say that they are ready."""
    time.sleep(seconds)
    for child in side.children():
        if child.exit_code is not None:
            raise RuntimeError(f"{side.name} ended at once: {child.exit_code} {child.lines[-3:]}")


@dataclass
class Flow:
    """A TCP flow from the sender's host to the first receiver's, as much as it gets."""

    lan: Lan

    def start(self) -> None:
        script = str(Path(__file__).resolve().parents[1] / "sides" / "tcp_flow.py")
        address = self.lan.address(1)
        self.sink = Child(
            self.lan.start(1, [sys.executable, script, "sink", address],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )  # fmt: skip
        self.sink.hear("ready", 10)
        self.origin = Child(
            self.lan.start(0, [sys.executable, script, "source", address],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )  # fmt: skip
        self.origin.hear("ready", 10)

    def mark(self, word: str) -> None:
        self.sink.say(word)

    def bytes_between(self) -> int:
        """What came between the words `from` and `to`."""
        return int(self.sink.hear("to", 10)["to"]) - int(self.sink.hear("from", 10)["from"])

    def stop(self) -> None:
        self.origin.stop()
        self.sink.stop()


class Race:
    """Runs one side through one cell."""

    def __init__(self, kind: type[Side], cell: Cell, source: Source, folder: Path) -> None:
        self.kind, self.cell, self.source, self.folder = kind, cell, source, folder
        self.done: dict[int, float] = {}
        self.late_heard_at: float | None = None
        """When the first data came to the one that comes late."""

    def run(self) -> dict[str, Any]:
        """The row: never raises for what a side does wrong; `error` says it."""
        cell = self.cell
        row: dict[str, Any] = {"side": self.kind.name, "cell": cell.name, **asdict(cell)}
        row["bytes"] = self.source.size
        with Lan(
            cell.receivers + 1,
            rate_mbit=cell.link_mbit,
            loss=cell.loss,
            offloads=cell.offloads,  # type: ignore[arg-type]
            snooping="off" if cell.snooping == "trap" else cell.snooping,  # type: ignore[arg-type]
        ) as lan:
            side = self.kind(lan, cell, self.source, self.folder)
            try:
                row |= self._run(lan, side)
            except RuntimeError as error:
                row |= {"error": str(error), "finished": 0, "expected": self._expected}
            finally:
                side.stop()
            row["version"] = side.version
            row |= self._costs(side)
            row |= self._verify(side)
        for number in range(1, cell.receivers + 1):
            shutil.rmtree(self.folder / f"copy{number}", ignore_errors=True)
        return row

    @property
    def _expected(self) -> int:
        return self.cell.receivers - (1 if self.cell.kill_at_s else 0)

    def _run(self, lan: Lan, side: Side) -> dict[str, Any]:
        cell = self.cell
        last = cell.receivers
        if cell.slow_mbit:
            lan.rate(last, cell.slow_mbit, cell.slow_mbit)
        if cell.snooping == "trap":
            lan.snoop("trap")  # the joins fall into the ten seconds of flooding
        for host in range(1, last + 1 - bool(cell.late_s)):
            side.receive(host)
        side.wait_ready()
        flow = Flow(lan) if cell.beside_tcp else None
        if flow:
            flow.start()
            time.sleep(1)
        machine = Machine(side.children)
        before = [lan.counters(host) for host in range(last + 1)]
        for child in side.children():
            child.start_clock()
        machine.start()
        if flow:
            flow.mark("from")
        began = side.send()
        wanted = self._wait(lan, side, began)
        over = time.monotonic()
        if flow:
            flow.mark("to")
        machine.stop()
        if not cell.beside_tcp:
            while not side.ended() and time.monotonic() < over + SETTLE_S and not wanted:
                time.sleep(POLL_S)
        ended = time.monotonic()
        after = [lan.counters(host) for host in range(last + 1)]
        sent = [b["tx_bytes"] - a["tx_bytes"] for a, b in zip(before, after, strict=True)]
        ends = sorted(at - began for at in self.done.values())
        row = {
            "seconds": ends[-1] if ends and not wanted else None,
            "first": ends[0] if ends else None,
            "ended": ended - began,
            "late_heard_s": self.late_heard_at and self.late_heard_at - began,
            "ends": [round(end, 3) for end in ends],
            "others_done": self._others_done(began),
            "expected": self._expected,
            "sent": sent[0] / self.source.size,
            "all_sent": sum(sent) / self.source.size,
            "received": max(
                b["rx_bytes"] - a["rx_bytes"] for a, b in zip(before, after, strict=True)
            )
            / self.source.size,
            "busy": machine.busy_share,
            "others_cores": machine.others_s / machine.seconds,
        }
        if flow:
            row["tcp_share"] = flow.bytes_between() * 8 / (over - began) / 1e6 / cell.link_mbit
            row["sent"] = row["all_sent"] = None
            flow.stop()
        return row

    def _wait(self, lan: Lan, side: Side, began: float) -> int:
        """Until all have it; returns how many did not in time."""
        cell = self.cell
        last = cell.receivers
        waiting = set(range(1, last + 1))
        due = [(cell.kill_at_s, "kill"), (cell.late_s, "join")]
        events = sorted(item for item in due if item[0])
        look_at, came = float("inf"), 0
        while waiting and time.monotonic() < began + cell.most_s:
            for host in sorted(waiting & side.receivers.keys()):
                at = side.done_at(host)
                if at is not None:
                    self.done[host] = at
                    waiting.discard(host)
            while events and time.monotonic() >= began + events[0][0]:
                what = events.pop(0)[1]
                if what == "kill":
                    os.kill(side.receivers[last].pid, signal.SIGKILL)
                    waiting.discard(last)
                else:
                    side.receive(last)
                    came, look_at = lan.counters(last)["rx_bytes"], time.monotonic()
            if self.late_heard_at is None and time.monotonic() >= look_at:
                look_at = time.monotonic() + HEARS_POLL_S
                if lan.counters(last)["rx_bytes"] - came > HEARS_BYTES:
                    self.late_heard_at = time.monotonic()
            time.sleep(POLL_S)
        return len(waiting)

    def _others_done(self, began: float) -> float | None:
        """When all but the last receiver (the slow one, the late one) had it."""
        ends = [at - began for host, at in self.done.items() if host != self.cell.receivers]
        return max(ends) if len(ends) == self.cell.receivers - 1 and ends else None

    def _costs(self, side: Side) -> dict[str, Any]:
        theirs = list(side.receivers.values())
        return {
            "sender_cpu_s": side.sender.cpu_s if side.sender else None,
            "sender_mib": side.sender.peak_mib if side.sender else None,
            "receiver_cpu_s": sum(child.cpu_s for child in theirs) / max(1, len(theirs)),
            "receiver_mib": max((child.peak_mib for child in theirs), default=0.0),
        }

    def _verify(self, side: Side) -> dict[str, Any]:
        """A file that is not the sender's is worse than none: `wrong` counts those."""
        finished = wrong = 0
        for host in self.done:
            if self.cell.kill_at_s and host == self.cell.receivers:
                continue
            path = side.copy(host)
            with contextlib.suppress(OSError):
                if sha256(path) == self.source.digest:
                    finished += 1
                    continue
            wrong += 1
        return {"finished": finished, "wrong": wrong}
