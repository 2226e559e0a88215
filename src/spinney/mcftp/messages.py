"""What is said in a file management group (paper, section III), each inside a signed envelope.

Who speaks is told by the envelope: its key and its peer id, the first 20 bytes of SHA-256(key).
A *reign* (8 random bytes) is one line of leaders: within it terms rise, and a term has at most
one leader.  Times are whole milliseconds, rates bytes of payload a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from spinney.mcftp.stream import Stream

REIGN_BYTES = 8
ELECTORATE_MAX = 7
"""Peers who elect: a majority of seven survives three losses, and seven ids fit a datagram."""
PAGES_MAX = 32
"""Of one schedule: some 3,000 runs of blocks.  What is beyond comes with a later schedule."""
STREAMS_MAX = 32
BLOCKS_MAX = 1 << 24
"""Source blocks of a file: 16 TiB at 1 MiB."""
STATUS_BITS_MAX = 4_096
"""Blocks that one status report tells of; more are told in pages."""


@dataclass(frozen=True, slots=True)
class Electorate:
    """Who elects: at most seven peer ids, the best candidate first.

    `version`: the term in which it was named, and a count within; it rises.  A new electorate
    takes effect when a majority of the one before has accepted it, on disk: so two leaders of
    one term always share an elector, who votes once.
    """

    version: tuple[int, int]
    peers: tuple[bytes, ...]

    @property
    def majority(self) -> int:
        return len(self.peers) // 2 + 1


@dataclass(frozen=True, slots=True)
class Hello:
    """ "I am here": a newcomer asks for a keep-alive now.  `port`: of its swarm, 0 for none."""

    port: int


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """The leader lives, and this is what is sent where.

    `serial` rises with every new schedule of a term; its streams come in `pages` datagrams, of
    which this is number `page`.  A stream may be continued on the next page: then its runs are
    joined.  `sealing_key`: status reports are sealed to it.  `members`: how many the leader
    knows, for timers; `complete`: receivers that have got everything.  `proposed`: an electorate
    that waits for `Accept`.  `started`: data are being sent (or were); before that the leader
    waits for receivers.  `age_ms`: how long the reign has lasted.
    """

    reign: bytes
    term: int
    serial: int
    page: int
    pages: int
    interval_ms: int
    age_ms: int
    members: int
    complete: int
    started: bool
    sealing_key: bytes
    electorate: Electorate
    proposed: Electorate | None
    streams: tuple[Stream, ...]


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """ "Report your state": those whose peer id falls into slice `slice_` of `slices`, each at a
    random moment of the next `window_ms`."""

    reign: bytes
    term: int
    number: int
    slices: int
    slice: int
    window_ms: int
    sealing_key: bytes


@dataclass(frozen=True, slots=True)
class SealedStatus:
    """A `Status` that only the leader reads."""

    reign: bytes
    box: bytes


@dataclass(frozen=True, slots=True)
class Status:
    """One member: what it holds and what its line gives.

    `number`: of the request that it answers, 0 for none.  `complete`: nothing that it wants is
    lacking.  `first`, `count`, `held`: the blocks from `first` on, one bit each, the most
    significant first.  `have_blocks`: in all; who has all tells no bits.  `down_bytes_per_s`:
    what came lately.  `loss_permille`: of what was sent to it.  `receives`: came to get it, and
    not only to share.  `sends`, `leads`: is willing to.
    """

    number: int
    complete: bool
    have_blocks: int
    first: int
    count: int
    held: bytes
    up_bytes_per_s: int
    down_bytes_per_s: int
    port: int
    uptime_s: int
    loss_permille: int
    receives: bool
    sends: bool
    leads: bool


@dataclass(frozen=True, slots=True)
class Sent:
    """From a sender: how far its stream is.  `position`: blocks of it sent; `finished`: all of
    them, and nobody has asked for repair for a while.  `payload_bytes`: sent in its life."""

    reign: bytes
    term: int
    stream: int
    position: int
    finished: bool
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class Accept:
    """From an elector: the proposed electorate is on my disk."""

    reign: bytes
    term: int
    version: tuple[int, int]


@dataclass(frozen=True, slots=True)
class PreVote:
    """ "Would you vote for me in `term`?"  Binds nobody, so that one who was cut off for a while
    does not end a reign that is well."""

    reign: bytes
    term: int
    version: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Vote:
    """ "Vote for me in `term`": asked when a majority said yes to the `PreVote`."""

    reign: bytes
    term: int
    version: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Ballot:
    """An elector's yes to a `PreVote` (`pre`) or to a `Vote`; there is no no."""

    reign: bytes
    term: int
    candidate: bytes
    pre: bool


@dataclass(frozen=True, slots=True)
class Leave:
    """ "I go": a receiver or a sender; what it was to send goes to others at once.  `complete`:
    it came to get the file, and has it: electors remember that, whoever leads by then."""

    reign: bytes
    complete: bool


@dataclass(frozen=True, slots=True)
class HandOver:
    """The leader goes: `successor` is to ask for votes at once, and may be given them."""

    reign: bytes
    term: int
    successor: bytes


@dataclass(frozen=True, slots=True)
class Published:
    """A page of what the publisher signed: opaque here, checked by the descriptor."""

    page: int
    pages: int
    data: bytes


Message: TypeAlias = (
    Hello
    | KeepAlive
    | StatusRequest
    | SealedStatus
    | Sent
    | Accept
    | PreVote
    | Vote
    | Ballot
    | Leave
    | HandOver
    | Published
)
