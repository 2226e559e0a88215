"""Tells people, or programs, what happens.

A program (`--json`) gets one object a line.  A person gets lines on stdout and, if stderr is
a terminal, a progress line there; a pipe gets nothing but the result.
"""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import IO, Any, Protocol

from spinney.cli import words
from spinney.cli.lines import Lines
from spinney.cli.roster import ready_line
from spinney.events import Done, Error, Event, Progress, Ready, Started, Warning

SIGNATURES = {
    "verified": "verified: it signed this",
    "unverified": "unverified: it signed this, but the link does not say whose key it is",
    "missing": "not verified: the link names it, and nothing that it signed has come",
}


class Reporter(Protocol):
    """Hears every event of a transfer; a context, because a progress line has an end."""

    def __enter__(self) -> Reporter: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def heard(self, event: Event) -> None: ...
    def preparing(self, done: int, total: int) -> None:
        """Bytes hashed or checked before the transfer is ready."""

    def stopped(self) -> None:
        """The user stopped it before it was done (Ctrl-C)."""

    @property
    def lost(self) -> OSError | None:
        """What kept something from being written."""


class JsonLines:
    """`--json`: every event is one line, flushed at once."""

    def __init__(self, stream: IO[str]) -> None:
        self._lines = Lines(stream)
        self.failed = False
        """An `error` event was printed."""
        self.on_stderr = stream is sys.stderr

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """Waits for the reader, within reason."""
        self._lines.finish()

    @property
    def lost(self) -> OSError | None:
        return self._lines.lost

    def heard(self, event: Event) -> None:
        self.failed = self.failed or isinstance(event, Error)
        self.line(event.as_json(), droppable=isinstance(event, Progress))

    def line(self, row: dict[str, Any], *, droppable: bool = False) -> None:
        self._lines.put(json.dumps(row, ensure_ascii=True), droppable=droppable)

    def preparing(self, done: int, total: int) -> None:
        return None

    def stopped(self) -> None:
        return None  # the exit code says so, and the last `progress` how much is there


class ForPeople:
    """Lines for a person, and a progress line where there is a terminal."""

    def __init__(
        self, *, quiet: bool = False, results: bool = True, live: bool | None = None
    ) -> None:
        """`results`: stdout may hold them (not with `-o -`).  `live`: a progress line."""
        self._lines = Lines(sys.stdout)
        self._quiet = quiet
        self._results = results and not quiet
        self._brief = not sys.stdout.isatty()
        self._line: Any = None
        self._progress: Progress | None = None
        self._got = False
        if (sys.stderr.isatty() if live is None else live) and not quiet:
            from spinney.cli.progress import ProgressLine

            self._line = ProgressLine(self._lines)

    def __enter__(self) -> ForPeople:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()
        self._lines.finish()

    @property
    def lost(self) -> OSError | None:
        return self._lines.lost

    def say(self, text: str) -> None:
        if self._results:
            self._clear()
            self._lines.put(text)

    def complain(self, text: str) -> None:
        self._clear()
        self._lines.write(text + "\n", sys.stderr)

    def _clear(self) -> None:
        if self._line is not None:
            self._line.stop()

    def preparing(self, done: int, total: int) -> None:
        if self._line is not None:
            self._line.preparing(done, total)

    def heard(self, event: Event) -> None:
        if isinstance(event, Ready):
            if event.torrent is not None:
                self._ready_to_share(event)
            elif not self._brief:
                self._say_multicast(event)
        elif isinstance(event, Started):
            if not self._brief:
                joined = words.count(event.receivers, "receiver")
                self.say(f"Sending to {joined}, after {words.duration(event.waited_s)}.")
        elif isinstance(event, Progress):
            self._progress = event
            if self._line is not None:
                self._line.progress(event)
        elif isinstance(event, Done):
            self._done(event)
        elif isinstance(event, Warning) and not self._quiet:
            self.complain(f"spinney: {words.printable(event.message)}")
        elif isinstance(event, Error):
            pass  # the command ends with the same sentence

    def _ready_to_share(self, event: Ready) -> None:
        announced = ", ".join(event.announces) or "nowhere (only who has the link finds you)"
        rows = [("Link", event.link), ("Torrent", event.torrent), ("SHA-256", event.sha256)]
        rows += [("Announced", announced)]
        if event.address is not None and event.port is not None:
            host = f"[{event.address}]" if ":" in event.address else event.address
            rows += [("Reached at", f"{host}:{event.port}")]
        for name, value in rows:
            if value:
                self.say(f"{name:<11}{words.printable(value)}")
        self._say_multicast(event)
        if not self._brief:
            self.say("Sharing until you stop it with Ctrl-C.")

    def _say_multicast(self, event: Ready) -> None:
        line = ready_line(event.multicast) if event.multicast is not None else None
        if line:
            self.say(f"{'Multicast':<11}{words.printable(line)}")

    def stopped(self) -> None:
        """One line for a person at a terminal; a pipe gets nothing."""
        if self._quiet or not sys.stderr.isatty() or self._got:
            return
        self.complain(f"Stopped: {how_much(self._progress)}; the same command resumes.")
        self._lines.finish()

    def _done(self, event: Done) -> None:
        self._got = True
        if self._brief:
            for path in event.paths:
                self.say(words.printable(path))
            return
        where = words.printable(event.paths[0]) if event.paths else "standard output"
        if len(event.paths) > 1:
            where = words.count(len(event.paths), "file")
        self.say(f"{where}: {how_fast(event)}")
        if event.sha256:
            self.say(f"SHA-256    {event.sha256}")
        if event.publisher:
            self.say(f"Publisher  {event.publisher} ({SIGNATURES[event.signature or 'missing']})")


def how_much(progress: Progress | None) -> str:
    """`12.0 MB of 30.0 MB are here (40 %)`."""
    if progress is None or not progress.total_bytes:
        return "nothing is here yet"
    have, total = progress.have_bytes, progress.total_bytes
    return f"{words.size(have)} of {words.size(total)} are here ({100 * have // total} %)"


def how_fast(event: Done) -> str:
    """`30.0 MB in 5.6 s, 5.4 MB/s`; the rate counts what came now, not what was there before."""
    came = sum(way.useful for way in event.sources.values())
    if event.sources and came == 0 and event.bytes:
        return f"{words.size(event.bytes)}, nothing was missing"
    came = min(came or event.bytes, event.bytes)
    speed = words.rate(came / event.seconds) if event.seconds > 0 else "at once"
    of = f", {words.size(came)} of it now" if came < event.bytes else ""
    return f"{words.size(event.bytes)}{of} in {words.duration(event.seconds)}, {speed}"


def make_reporter(*, as_json: bool, quiet: bool, data_on_stdout: bool = False) -> Reporter:
    """`data_on_stdout`: `-o -` was asked for, and stdout belongs to the data."""
    if as_json:
        return JsonLines(sys.stderr if data_on_stdout else sys.stdout)
    return ForPeople(quiet=quiet, results=not data_on_stdout)
