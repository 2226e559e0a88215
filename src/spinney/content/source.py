"""The faces that meet at a transfer: `Source`, `Policy`, `Feed`, `TransferLike`.

A source (one connected peer, one multicast group, one mirror) attaches and gets a `Feed`, its
place at the transfer.  Through it the source says what it could give, is told what to fetch,
and delivers bytes.  Integrity is decided by the transfer and only there, against the
descriptor.

Positions are offsets into the torrent's piece space: `piece * piece_length + begin`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from spinney.content.descriptor import Descriptor
from spinney.content.pieces import Bitfield
from spinney.net.host import Buffer

MAX_REQUESTS = 1 << 31
"""No bound on the number of requests, but the bytes'."""


class Source(Protocol):
    """What a transfer calls on whatever fills it.  Callbacks are quick and never block."""

    way: str
    """The way of moving, the key in `sources` of the events: `swarm`, `multicast`, `web`."""
    label: str
    """Who it is, for people: `198.18.0.1:6881`."""
    peer_key: str
    """Who is to blame: the same for two connections from one address."""

    def piece_verified(self, piece: int) -> None:
        """A piece is now verified and readable, whoever brought it: offer it."""

    def cancelled(self, offset: int, length: int) -> None:
        """This range, asked of this source, is no longer needed (somebody else brought it)."""

    def blamed(self, piece: int, offset: int, length: int) -> None:
        """This source is proven to have sent wrong bytes in this range.  Leave it."""

    def wake(self) -> None:
        """`Feed.request` may have something to give again (room, a lease ended, new choices)."""


class Policy(Protocol):
    """May this source ask this peer for this piece?  One pure object decides, for everybody."""

    def may_request(self, source: Source, piece: int) -> bool: ...

    def may_request_any(self, source: Source) -> bool:
        """False if `may_request` is false for every piece that is wanted: a glance, so that a
        source with nothing to do costs nothing."""


class Feed(Protocol):
    """One source's place at a transfer.  All calls are synchronous, on the event loop.

    Every byte delivered is, at any moment, exactly one of useful (first to bring bytes that
    verified), duplicate (held or verified already), bad (proven wrong), refused (no room, not
    wanted, beyond the end, from somebody proven to lie) or not yet decided.
    """

    useful_bytes: int
    duplicate_bytes: int
    bad_bytes: int
    refused_bytes: int
    pending_bytes: int
    """Asked for by `request` and neither delivered nor given back."""
    has: Bitfield
    forgiving: bool
    """False at first: who brought wrong bytes is convicted.  True: what comes by a group may have
    been forged by anybody on the link, so a piece that failed convicts nobody; `Source.blamed`
    says that it failed, also when others had a part in it, and bytes are taken as before."""
    steady: bool
    """False at first.  True: what it leased is coming right now; not even the endgame asks others
    for it.  Who says so takes it back, and gives its leases back, when nothing comes any more."""
    asked_only: bool
    """False at first: bytes that nobody asked for are welcome (multicast).  True: what was never
    asked of this source is refused, so that it cannot spoil pieces that others bring."""

    @property
    def pending_requests(self) -> int:
        """How many ranges `pending_bytes` are."""

    def saw_bitfield(self, has: Bitfield) -> None:
        """The source has these pieces (replaces what was said before)."""

    def saw_have(self, piece: int) -> None:
        """The source has got one more piece."""

    def suggest(self, piece: int) -> None:
        """The source would like to give this piece (BEP 6): preferred among equals."""

    def interesting(self) -> bool:
        """Has the source anything that is wanted and not here?  O(1)."""

    def request(
        self, limit_bytes: int, *, pieces: Bitfield | None = None, most: int = MAX_REQUESTS
    ) -> list[tuple[int, int, int]]:
        """Ranges (piece, begin, length) to fetch now, of at most 16 KiB each, reserved for this
        source until delivered, given back, or taken over by the endgame.  The last range may
        go beyond the limit.  At most `most` ranges: pieces of a few bytes are many of them.  With
        `pieces` only from those (the allowed fast set).  Empty when
        there is nothing, or no room: `Source.wake` tells when it is worth to ask again."""

    def give_back(self, offset: int, length: int) -> None:
        """A reserved range will not come (choked, rejected, timed out, too slow)."""

    def give_back_all(self) -> None: ...

    def deliver(self, offset: int, data: Buffer) -> None:
        """Bytes at an offset, asked for or not, of any length and alignment.  Copied.

        A reserved range may come in parts; parts come in order: what is jumped over counts as
        given back."""

    def room(self) -> bytearray:
        """A buffer as long as a piece, for `deliver_piece`."""

    def deliver_piece(self, piece: int, room: bytearray) -> bool:
        """A whole piece that lies in a buffer of `room`: not copied.  The transfer keeps the
        buffer; it may be looked at, and changed again once the piece was blamed.  False: nothing
        was taken (some of it is here, or is not welcome): `deliver` it."""

    def lease(self, pieces: Sequence[int], seconds: float) -> list[int]:
        """Claims pieces for this source alone for at most 20 s; returns those it got.  A
        renewal is the same call.  When it runs out the pieces are free again."""

    def give_lease_back(self, pieces: Sequence[int]) -> None: ...

    def leave(self) -> None:
        """The source is gone: reservations, leases and availability go with it."""


class TransferLike(Protocol):
    """The public face of `Transfer`."""

    descriptor: Descriptor
    have: Bitfield
    """Verified and readable pieces."""
    needed: Bitfield
    """Wanted and not verified."""

    @property
    def congested(self) -> bool:
        """More waits for hash and disk than may: what nobody asked for is refused."""

    @property
    def complete(self) -> bool:
        """Every piece that is wanted is verified and readable."""

    @property
    def left_bytes(self) -> int:
        """Bytes of wanted content not verified yet."""

    def attach(self, source: Source) -> Feed: ...

    def readable(self, piece: int) -> bool:
        """Can a verified piece be served?  Always, but for an output that keeps nothing."""

    def servable(self) -> Bitfield:
        """All pieces that are `readable` now."""

    def cached(self, offset: int, length: int) -> memoryview | None:
        """Verified bytes that are in memory now; never blocks.  The view stays valid."""

    def at_hand(self, offset: int, length: int) -> memoryview | None:
        """As `cached`, and verified bytes that the system has in memory; never waits."""

    async def read(self, offset: int, length: int) -> memoryview:
        """Verified bytes, from memory or disk (whole spans of up to 1 MiB are kept, bounded).

        Raises `StorageError` (`ChangedFileError` if the file was cut short meanwhile)."""

    def availability(self) -> float:
        """The lecture's measure: whole copies in the swarm, this one included, with the
        fraction of pieces that have one more (1 = each piece somewhere, 0.5 = half)."""

    def on_complete(self, callback: Callable[[], None]) -> None: ...
