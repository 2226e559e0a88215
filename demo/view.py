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

    def heard(self, event: dict[str, Any], now: float) -> None:
        kind = event["event"]
        if kind == "ready":
            self.ready_at, self.phase = now, "ready"
        elif kind == "progress":
            self.have_bytes = event["have_bytes"]
            self.sent_bytes = event.get("sent_bytes", 0)
            self.down, self.up = event["down_bytes_per_s"], event["up_bytes_per_s"]
            self.peers = event["peers"]
            self.phase = event.get("state", "")
            ways = event.get("sources", {}).values()
            self.duplicate_bytes = sum(way["duplicate"] for way in ways)
            self.bad_bytes = sum(way["bad"] for way in ways)
        elif kind == "done":
            self.done_at, self.have_bytes = now, event["bytes"]


def megabytes(count: float) -> str:
    return f"{count / 1e6:.1f} MB"


class PlainView:
    """A line every two seconds, for pipes and logs."""

    def __init__(self, sharer: State, getters: list[State], size: int) -> None:
        self.sharer, self.getters, self.size = sharer, getters, size
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

    def __init__(self, sharer: State, getters: list[State], size: int) -> None:
        super().__init__(sharer, getters, size)
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
                f"{one.peers} peers",
            )
        copies = self.sharer.sent_bytes / self.size
        table.add_row("", "", "", "", "", "")
        table.add_row(
            Text("sharer", style="bold yellow"),
            bar(len(self.getters), copies, "yellow"),
            f"{copies:5.2f}",
            Text(f"of {len(self.getters)} copies", style="yellow"),
            f"{self.sharer.up / 1e6:5.1f} MB/s ↑",
            f"{self.sharer.peers} peers",
        )
        table.add_row("together", self._sparkline(), "", f"{self._totals[-1] / 1e6:5.1f} MB/s ↓")
        elapsed = time.monotonic() - self._began
        return Panel(
            table, title="one file, eight peers", subtitle=f"{elapsed:.1f} s", expand=False
        )

    def _sparkline(self) -> str:
        most = max(self._totals) or 1.0
        rows = list(self._totals)[-36:]
        return "".join(BLOCKS[round(value / most * (len(BLOCKS) - 1))] for value in rows)


def summary(
    sharer: State, getters: list[State], size: int, rate: int, right: list[bool], digest: str
) -> list[str]:
    """Time, bytes and the fluid lower bound; the clock runs from the first getter's `ready`."""
    count = len(getters)
    first = min(one.ready_at or 0.0 for one in getters)
    took = max(one.done_at or 0.0 for one in getters) - first
    together = count * size / (rate + count * rate)
    bound = max(size / rate, together)
    sent = sharer.sent_bytes
    given = sum(one.sent_bytes for one in getters)
    wasted = sum(one.duplicate_bytes + one.bad_bytes for one in getters)
    return [
        "",
        f"{sum(right)} of {count} copies read back from disk are right (SHA-256 {digest[:16]}...)"
        if all(right)
        else f"ONLY {sum(right)} of {count} copies are right",
        "",
        f"  time, first getter ready to last copy verified   {took:6.1f} s",
        f"  {count} separate copies from the sharer alone          {count * size / rate:6.1f} s",
        f"  lower bound max(F/u_s, F/d_min, N·F/(u_s + Σu_i)){bound:6.1f} s"
        f"   we took {took / bound:.2f} times that",
        "",
        f"  the sharer sent       {megabytes(sent):>10}   {sent / size:5.2f} copies"
        f" instead of {count} ({megabytes(count * size)})",
        f"  the getters gave      {megabytes(given):>10}   to each other",
        f"  twice or wrong        {megabytes(wasted):>10}",
        "",
        f"  F = {size:,} bytes, N = {count}, u_s = u_i = {rate / 1e6:g} MB/s, d not limited",
    ]
