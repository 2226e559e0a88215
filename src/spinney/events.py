"""What a transfer tells its user: the objects behind `--json` and the progress callbacks.

Each event becomes one JSON object on one line: `event` (the class's `event` word), `time`
(Unix seconds), `transfer` (the infohash in hex: v1 where there is one, else v2) and the
fields below.  Rates are bytes a second and count payload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
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
            value = _plain(value)
            if value is not None or item.name in self.always:
                row[item.name] = value
        return row


def _plain(value: Any) -> Any:
    """As JSON has it: rows are objects, what is not known in them stays away."""
    if isinstance(value, Mapping):
        return {key: _plain(row) for key, row in value.items()}
    if isinstance(value, tuple):
        return [_plain(row) for row in value]
    if is_dataclass(value) and not isinstance(value, type):
        rows = {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
        return {name: row for name, row in rows.items() if row is not None}
    return value


@dataclass(frozen=True, slots=True)
class Multicast:
    """How a transfer uses multicast: on which interfaces, how far (`ttl` hops), at which rate a
    group that it leads begins.  `off`: why not, in words."""

    interfaces: tuple[str, ...] | None = None
    ttl: int | None = None
    rate_bytes_per_s: int | None = None
    off: str | None = None


@dataclass(frozen=True, slots=True)
class Receiver:
    """One receiver of a group, as its leader knows it.  `loss`: the share of what was sent."""

    peer: str
    have_bytes: int
    complete: bool
    loss: float
    rate_bytes_per_s: int
    silent_s: float


@dataclass(frozen=True, slots=True)
class GroupStream:
    """One data group: who sends in it, how fast, how far (blocks)."""

    address: str
    sender: str
    mine: bool
    rate_bytes_per_s: int
    position: int
    blocks: int


@dataclass(frozen=True, slots=True)
class GroupState:
    """The file's group as one member sees it.  `joined` and `complete` count receivers and are
    known to the leader only; `leader` is empty while there is none."""

    address: str
    leader: str
    leading: bool
    members: int
    started: bool
    sent_bytes: int
    streams: tuple[GroupStream, ...] = ()
    joined: int | None = None
    complete: int | None = None
    wait_for: int | None = None
    """How many receivers its leader waits for."""


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
    multicast: Multicast | None = None


@dataclass(frozen=True, slots=True)
class Started(Event):
    """The group that we lead begins to send; so many receivers have joined."""

    event: ClassVar[str] = "started"
    receivers: int
    waited_s: float


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
    group: GroupState | None = None
    receivers: tuple[Receiver, ...] | None = None
    """Of the group, if we lead it."""


@dataclass(frozen=True, slots=True)
class Done(Event):
    """Everything asked for is verified and can be read at `paths`."""

    event: ClassVar[str] = "done"
    paths: tuple[str, ...]
    bytes: int
    seconds: float
    sha256: str | None = None
    sources: Mapping[str, SourceBytes] = field(default_factory=dict)
    publisher: str | None = None
    """The key, in hex, that signed what the group carries, or that the link names."""
    signature: str | None = None
    """`verified`, `unverified` (the link names no key), `missing` (nothing signed has come)."""


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
