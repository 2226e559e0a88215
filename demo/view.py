"""What `make demo` shows: one live view on a terminal, plain lines elsewhere, a summary."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from types import TracebackType
from typing import Any

BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN_EVERY_S = 2.0


class State:
    """What one process has said so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready_at: float | None = None
        self.done_at: float | None = None
        self.have_bytes = self.sent_bytes = self.duplicate_bytes = self.bad_bytes = 0
        self.down = self.up = 0.0
        self.peers = 0
        self.phase = "starting"
        self.by: dict[str, int] = {}
        """Useful bytes by each way."""
        self.multicast_off = ""
        self.joined = 0
        self.started = False

    def heard(self, event: dict[str, Any], now: float) -> None:
        kind = event["event"]
        if kind == "ready":
            self.ready_at, self.phase = now, "ready"
            self.multicast_off = event.get("multicast", {}).get("off", "")
        elif kind == "started":
            self.started = True
        elif kind == "progress":
            self.have_bytes = event["have_bytes"]
            self.sent_bytes = event.get("sent_bytes", 0)
            self.down, self.up = event["down_bytes_per_s"], event["up_bytes_per_s"]
            self.peers = event["peers"]
            self.phase = event.get("state", "")
            ways = event.get("sources", {}).values()
            self.by = {name: way["useful"] for name, way in event.get("sources", {}).items()}
            self.joined = event.get("group", {}).get("joined", 0)
            self.duplicate_bytes = sum(way["duplicate"] for way in ways)
            self.bad_bytes = sum(way["bad"] for way in ways)
        elif kind == "done":
            self.done_at, self.have_bytes = now, event["bytes"]


def megabytes(count: float) -> str:
    return f"{count / 1e6:.1f} MB"


def how(one: State) -> str:
    """By which ways it came: `97 % multicast, 3 % swarm`."""
    total = sum(one.by.values())
    if not total:
        return f"{one.peers} peers"
    rows = sorted(one.by.items(), key=lambda row: -row[1])
    return ", ".join(f"{100 * count / total:.0f} % {way}" for way, count in rows if count)


class PlainView:
    """A line every two seconds, for pipes and logs."""

    def __init__(self, sharer: State, getters: list[State], size: int, title: str) -> None:
        self.sharer, self.getters, self.size = sharer, getters, size
        self.title = title
        self._next = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> PlainView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        return None

    def draw(self) -> None:
        now = time.monotonic()
        done = all(getter.done_at for getter in self.getters)
        if now < self._next and not done:
            return
        self._next = now + PLAIN_EVERY_S
        parts = " ".join(f"{100 * one.have_bytes // self.size:>3} %" for one in self.getters)
        sent = megabytes(self.sharer.sent_bytes)
        print(f"{now - self._began:5.1f} s  {parts}   the sharer sent {sent}", flush=True)


class LiveView(PlainView):
    """Bars that grow, and how little the sharer has to send for it."""

    def __init__(self, sharer: State, getters: list[State], size: int, title: str) -> None:
        super().__init__(sharer, getters, size, title)
        from rich.live import Live

        self._totals: deque[float] = deque([0.0] * 40, maxlen=40)
        self._sampled = 0.0
        self._live = Live(self._picture(), refresh_per_second=10)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._live.update(self._picture())
        self._live.stop()

    def draw(self) -> None:
        now = time.monotonic()
        if now - self._sampled > 0.4:
            self._sampled = now
            self._totals.append(sum(one.down for one in self.getters if not one.done_at))
        self._live.update(self._picture())

    def _picture(self) -> Any:
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        def bar(total: float, done: float, colour: str) -> ProgressBar:
            style = {"complete_style": colour, "finished_style": colour}
            return ProgressBar(total, done, width=36, **style)

        table = Table.grid(padding=(0, 2))
        for _ in range(6):
            table.add_column(justify="left", no_wrap=True)
        for one in self.getters:
            share = one.have_bytes / self.size
            colour = "green" if one.done_at else "cyan"
            state = "✔ verified" if one.done_at else f"{one.down / 1e6:5.1f} MB/s ↓"
            table.add_row(
                Text(one.name, style="bold"),
                ProgressBar(
                    100, 100 * share, width=36, complete_style=colour, finished_style=colour
                ),
                f"{100 * share:5.1f} %",
                Text(state, style=colour),
                f"{one.up / 1e6:5.1f} MB/s ↑",
                how(one),
            )
        copies = self.sharer.sent_bytes / self.size
        table.add_row("", "", "", "", "", "")
        table.add_row(
            Text("sharer", style="bold yellow"),
            bar(len(self.getters), copies, "yellow"),
            f"{copies:5.2f}",
            Text(f"of {len(self.getters)} copies", style="yellow"),
            f"{self.sharer.up / 1e6:5.1f} MB/s ↑",
            self._waiting(),
        )
        table.add_row("together", self._sparkline(), "", f"{self._totals[-1] / 1e6:5.1f} MB/s ↓")
        elapsed = time.monotonic() - self._began
        return Panel(table, title=self.title, subtitle=f"{elapsed:.1f} s", expand=False)

    def _waiting(self) -> str:
        if self.sharer.started or not self.sharer.joined:
            return f"{self.sharer.peers} peers"
        return f"waits: {self.sharer.joined} of {len(self.getters)} have joined"

    def _sparkline(self) -> str:
        most = max(self._totals) or 1.0
        rows = list(self._totals)[-36:]
        return "".join(BLOCKS[round(value / most * (len(BLOCKS) - 1))] for value in rows)


def summary(
    acts: list[tuple[bool, State, list[State]]], size: int, rate: int, digest: str
) -> list[str]:
    """What the sharer sent with and without multicast; the clock runs from the first getter's
    `ready`."""
    count = len(acts[0][2])
    rows = [
        "",
        f"{count * len(acts)} of {count * len(acts)} copies read back from disk are right"
        f" (SHA-256 {digest[:16]}...)",
        "",
        f"  {'':<38}{'time':>8}{'sharer sent':>16}{'copies':>9}{'getters gave':>16}",
    ]
    for multicast, sharer, getters in acts:
        took = max(one.done_at or 0.0 for one in getters) - min(
            one.ready_at or 0 for one in getters
        )
        given = sum(one.sent_bytes for one in getters)
        name = "multicast, beside the swarm" if multicast else "the swarm alone"
        rows.append(
            f"  {name:<38}{took:>6.1f} s{megabytes(sharer.sent_bytes):>16}"
            f"{sharer.sent_bytes / size:>9.2f}{megabytes(given):>16}"
        )
    alone = f"{count} separate copies (computed)"
    rows.append(
        f"  {alone:<38}{count * size / rate:>6.1f} s{megabytes(count * size):>16}{count:>9.2f}"
    )
    bound = max(size / rate, count * size / (rate + count * rate))
    rows.append(f"  {'lower bound max(F/u_s, N·F/(u_s + Σu_i))':<40}{bound:>4.1f} s")
    sent = {multicast: sharer.sent_bytes for multicast, sharer, _ in acts}
    together = {
        multicast: sharer.sent_bytes + sum(one.sent_bytes for one in getters)
        for multicast, sharer, getters in acts
    }
    rows.append("")
    if True in sent and False in sent:
        rows.append(
            f"  With multicast the sharer sent {megabytes(sent[True])} and all together"
            f" {megabytes(together[True])}; without it {megabytes(sent[False])} and"
            f" {megabytes(together[False])}."
        )
    rows.append(
        f"  F = {size:,} bytes, {count} getters, each machine may send {rate / 1e6:g} MB/s."
    )
    return rows
