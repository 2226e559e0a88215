"""What a node shows: `View` for a progress display, `McftpEvent` for what happens once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Happened: TypeAlias = Literal[
    "searching", "group", "leader", "started", "published", "complete", "warning"
]


@dataclass(frozen=True, slots=True)
class McftpEvent:
    """One thing that happened.

    `searching`: no group found yet, tried again.  `group`: joined, `detail` is its address.
    `leader`: `detail` is the leader's id, `mine` whether that is us.  `started`: data are sent.
    `published`: what the publisher signed is here and holds.
    `complete`: `until_complete` receivers have everything.  `warning`: `detail` is one line for
    the user, and the transfer goes on.
    """

    what: Happened
    detail: str = ""
    mine: bool = False


@dataclass(frozen=True, slots=True)
class ReceiverView:
    """One receiver, as the leader knows it.  `have` and `total` are blocks; `loss` is a share."""

    peer: str
    have: int
    total: int
    complete: bool
    loss: float
    rate_bytes_per_s: int
    silent_s: float


@dataclass(frozen=True, slots=True)
class StreamView:
    """One data group.  `position` and `blocks`: how far it is, as far as we know."""

    number: int
    address: str
    sender: str
    mine: bool
    followed: bool
    rate_bytes_per_s: int
    position: int
    blocks: int


@dataclass(frozen=True, slots=True)
class View:
    """The group as one member sees it; receivers are known to the leader only."""

    group: str
    leader: str
    leading: bool
    reign: str
    term: int
    members: int
    started: bool
    receivers: tuple[ReceiverView, ...]
    streams: tuple[StreamView, ...]
    sent_bytes: int
    joined: int
    complete: int
