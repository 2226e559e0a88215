"""What a transfer tells its user: the objects behind `--json` and the progress callbacks.

Each event becomes one JSON object on one line: `event` (the class's `event` word), `time`
(Unix seconds), `transfer` (the infohash in hex: v1 where there is one, else v2) and the
fields below.  Rates are bytes a second and count payload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class SourceBytes:
    """Bytes that came by one way of moving (`swarm`, `multicast`, `web`, ...), exact."""

    useful: int = 0
    duplicate: int = 0
    bad: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; `time` is Unix seconds, `transfer` the infohash in hex."""

    event: ClassVar[str] = "event"
    always: ClassVar[tuple[str, ...]] = ()
    """Fields that `--json` prints even while they are unknown, as null."""
    time: float
    transfer: str

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints: plain dictionaries, lists, numbers, strings."""
        row: dict[str, Any] = {"event": self.event}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Mapping):
                value = {
                    key: {"useful": way.useful, "duplicate": way.duplicate, "bad": way.bad}
                    for key, way in value.items()
                }
            elif isinstance(value, tuple):
                value = list(value)
            if value is not None or item.name in self.always:
                row[item.name] = value
        return row


@dataclass(frozen=True, slots=True)
class Ready(Event):
    """The transfer runs: a sharer can be reached, a getter has begun."""

    event: ClassVar[str] = "ready"
    link: str
    infohash: str
    torrent: str | None = None
    address: str | None = None
    port: int | None = None
    announces: tuple[str, ...] = ()
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """How far it is; sent about once a second and once at the end."""

    event: ClassVar[str] = "progress"
    always: ClassVar[tuple[str, ...]] = ("total_bytes",)
    have_bytes: int
    total_bytes: int | None
    down_bytes_per_s: float
    up_bytes_per_s: float
    peers: int
    sources: Mapping[str, SourceBytes] = field(default_factory=dict)
    sent_bytes: int = 0
    availability: float | None = None
    seconds_left: float | None = None
    state: str = "downloading"


@dataclass(frozen=True, slots=True)
class Done(Event):
    """Everything asked for is verified and can be read at `paths`."""

    event: ClassVar[str] = "done"
    paths: tuple[str, ...]
    bytes: int
    seconds: float
    sha256: str | None = None
    sources: Mapping[str, SourceBytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Warning(Event):
    """Something is wrong and the transfer goes on; `kind` as in `errors`."""

    event: ClassVar[str] = "warning"
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Error(Event):
    """The transfer ended without success; `kind` as in `errors`."""

    event: ClassVar[str] = "error"
    kind: str
    message: str


Listener = Callable[[Event], None]
