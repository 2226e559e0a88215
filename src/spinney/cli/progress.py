"""The progress line, by `rich`: imported only where there is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO, cast

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from spinney import events
from spinney.cli import words
from spinney.cli.lines import Behind, Lines
from spinney.cli.roster import group_lines

ROWS_ABOVE = 4
"""Of the terminal, left to the progress line and to what was said last."""


def details(event: events.Progress) -> str:
    """What stands behind the bar: rates, peers, availability, time left."""
    parts = []
    if event.state in ("downloading", "metadata", "stalled"):
        parts.append(f"down {words.rate(event.down_bytes_per_s)}")
    parts.append(f"up {words.rate(event.up_bytes_per_s)}")
    parts.append(words.count(event.peers, "peer"))
    if event.availability is not None and event.peers:
        parts.append(f"{event.availability:.2f} copies")
    if event.seconds_left is not None:
        parts.append(f"{words.duration(event.seconds_left)} left")
    return " · ".join(parts)


class _WithGroup(Progress):
    """The line, and below it the multicast group, as far as the terminal has room."""

    event: events.Progress | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.event is not None:
            rows = self.console.size.height - ROWS_ABOVE
            for line in group_lines(self.event, rows, self.console.size.width - 1):
                yield Text(line, no_wrap=True)


class ProgressLine:
    """One line on stderr that is drawn again and again, and gone at the end.

    `lines` does the writing: a terminal that is held (Ctrl-S) must not hold the transfer.
    """

    def __init__(self, lines: Lines) -> None:
        self._behind = Behind(lines, sys.stderr)
        self._progress = _WithGroup(
            TextColumn("{task.description:<11}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>5.1f} %"),
            TextColumn("{task.fields[details]}"),
            console=Console(file=cast(IO[str], self._behind)),
            transient=True,
            redirect_stdout=False,  # rich would break a long link into lines
            redirect_stderr=False,
            refresh_per_second=4,
        )
        self._task: TaskID | None = None
        self._started = False

    def stop(self) -> None:
        """Takes the line away, so that something else can be printed; it comes back by itself."""
        if self._started:
            self._behind.keep = True
            self._progress.stop()
            self._behind.keep = False
            self._started = False

    def _show(self, description: str, done: float, total: float | None, text: str) -> None:
        if not self._started:  # nothing is drawn before there is something to show
            self._progress.start()
            self._started = True
        if self._task is None:
            self._task = self._progress.add_task(description, total=total, details=text)
        self._progress.update(
            self._task, description=description, completed=done, total=total, details=text
        )

    def preparing(self, done: int, total: int) -> None:
        self._show("hashing", done, total, f"{words.size(done)} of {words.size(total)}")

    def progress(self, event: events.Progress) -> None:
        self._progress.event = event
        self._show(event.state, event.have_bytes, event.total_bytes, details(event))
