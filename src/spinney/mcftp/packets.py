"""What a data group carries: data, marks of the sender, needs of the receivers.  Pure.

    data   1 B magic and kind 0xD1 | 1 B stream | 6 B tag | 4 B block | 4 B symbol | the symbol
    mark   1 B magic and kind 0xD2 | 1 B stream | 6 B tag | bencoded dictionary | 64 B signature
    need   1 B magic and kind 0xD3 | 1 B stream | 6 B tag | bencoded dictionary | 64 B signature

Numbers are big-endian.  The tag says which file and which reign; a datagram with another one is
dropped unread.  The signature covers everything before it.  Any bytes parse, or raise
`WireError`; what parses, encodes to the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import NamedTuple, Protocol

from spinney.coding.blocks import SYMBOL_BYTES
from spinney.errors import WireError
from spinney.net.host import Buffer
from spinney.wire.bencode import Limits, decode, encode

DATA, MARK, NEED = 0xD1, 0xD2, 0xD3
TAG_BYTES = 6
PREFIX_BYTES = 2 + TAG_BYTES
HEADER = Struct(f">{PREFIX_BYTES}sLL")
"""Prefix (kind, stream, tag), block, symbol."""
HEADER_BYTES = HEADER.size
SIGNATURE_BYTES = 64
PEER_BYTES = 20
KEY_BYTES = 32
MAX_CONTROL_BYTES = 1_200
"""Of a mark or a need: no control datagram is ever cut into fragments."""

MAX_STATES = 40
MAX_RUNS = 16
MAX_LACKS = 56
MAX_TOLD = 4
MOST_ASKS = 2

_STATE = Struct(">LBLL")
_RUN = Struct(">LL")
_LACK = Struct(">LBLH")
_LIMITS = Limits(depth=2, tokens=64, length_bytes=MAX_CONTROL_BYTES)
_LARGEST = (1 << 63) - 1


class Keys(Protocol):
    """The key pair of one peer and one file, and how the keys of others are checked."""

    @property
    def peer(self) -> bytes:
        """Our id, 20 bytes."""

    @property
    def public(self) -> bytes:
        """Our public key, 32 bytes."""

    def sign(self, data: bytes) -> bytes:
        """64 bytes."""

    def verify(self, peer: bytes, public: bytes, data: bytes, signature: bytes) -> bool:
        """Is this key that peer's, and the signature right?"""


class BlockState(NamedTuple):
    """How far a sender is with a block: whole passes of its source symbols, repair symbols sent,
    and repair symbols planned (never less).  A tuple, for a mark has up to forty."""

    block: int
    passes: int
    repairs: int
    planned: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a sender is.

    `sequence`: rises with each mark.  `sent`: datagrams of data so far.  `order`: which order of
    blocks is being sent (`order_of`), and `position`: how many blocks of it have ended.
    `time_us`: of the sender's clock, echoed by needs.  `round_trip_us` and `receivers`: of the
    group, for the timers.  `states`: recent blocks.  `coming`: runs (first, count) of blocks
    that will be sent again.  `told`: peers that are to fetch elsewhere.  `asks`: reports are wanted
    also of those who lack nothing: 1, of who loses most, where the rate is being found; 2, of who
    loses least, where a rate that was given may be more than anybody takes.
    """

    sequence: int
    sent: int
    order: int
    position: int
    time_us: int
    round_trip_us: int
    receivers: int
    states: tuple[BlockState, ...] = ()
    coming: tuple[tuple[int, int], ...] = ()
    told: tuple[bytes, ...] = ()
    asks: int = 0


class Lack(NamedTuple):
    """How many symbols a receiver lacks of a block, never which: after so many passes and repair
    symbols have gone by."""

    block: int
    passes: int
    repairs: int
    symbols: int


@dataclass(frozen=True, slots=True)
class Need:
    """What one receiver lacks.

    `echo_us`: `time_us` of the last mark, plus how long ago it came.  `loss_ppm`: of the data of
    this stream lately, in millionths.  `queue_us`: by how much the last mark took longer than the
    quickest one.  `rate_bytes_per_s`: what came lately.  `whole`: runs of
    blocks of which nothing is here.
    """

    echo_us: int
    loss_ppm: int
    queue_us: int
    rate_bytes_per_s: int
    lacks: tuple[Lack, ...] = ()
    whole: tuple[tuple[int, int], ...] = ()


def tag_of(infohash: bytes, reign: bytes) -> bytes:
    """Which file and which reign, in 6 bytes."""
    return sha256(infohash + reign).digest()[:TAG_BYTES]


def order_of(blocks: tuple[tuple[int, int], ...]) -> int:
    """A number for an order of blocks, 32 bits."""
    packed = b"".join(_RUN.pack(first, count) for first, count in blocks)
    return int.from_bytes(sha256(packed).digest()[:4], "big")


def prefix_of(kind: int, stream: int, tag: bytes) -> bytes:
    """The first 8 bytes of every datagram of a stream."""
    assert len(tag) == TAG_BYTES
    return bytes((kind, stream)) + tag


@lru_cache(maxsize=128)
def headers_of(count: int) -> Struct:
    """The headers of so many datagrams of full size, side by side: for each one its prefix as a
    number, block and symbol."""
    return Struct(">" + f"QLL{SYMBOL_BYTES}x" * count)


# -- packed rows ----------------------------------------------------------------------------


def _unpacked(rows: Struct, data: object, most: int, what: str) -> list[tuple[int, ...]]:
    if type(data) is not bytes or len(data) % rows.size or len(data) > most * rows.size:
        raise WireError(f"{what} of a wrong length")
    return list(rows.iter_unpack(data))


def _runs(data: object, what: str) -> tuple[tuple[int, int], ...]:
    rows = [(first, count) for first, count in _unpacked(_RUN, data, MAX_RUNS, what)]
    if any(count == 0 or first + count > 1 << 32 for first, count in rows):
        raise WireError(f"{what} with an empty or endless run")
    return tuple(rows)


def _packed_runs(rows: tuple[tuple[int, int], ...]) -> bytes:
    return b"".join(_RUN.pack(*row) for row in rows)


# -- control --------------------------------------------------------------------------------


def encode_mark(prefix: bytes, mark: Mark, keys: Keys) -> bytes:
    states = b"".join(
        _STATE.pack(each.block, each.passes, each.repairs, each.planned) for each in mark.states
    )
    table = {
        b"a": (mark.coming and _packed_runs(mark.coming)) or b"",
        b"b": states,
        b"g": mark.receivers,
        b"h": b"".join(mark.told),
        b"i": keys.peer,
        b"k": keys.public,
        b"n": mark.sequence,
        b"o": mark.order,
        b"p": mark.position,
        b"q": mark.asks,
        b"r": mark.round_trip_us,
        b"s": mark.sent,
        b"t": mark.time_us,
    }
    return _signed(prefix, table, keys)


def encode_need(prefix: bytes, need: Need, keys: Keys) -> bytes:
    lacks = b"".join(
        _LACK.pack(each.block, each.passes, each.repairs, each.symbols) for each in need.lacks
    )
    table = {
        b"b": lacks,
        b"e": need.echo_us,
        b"i": keys.peer,
        b"k": keys.public,
        b"l": need.loss_ppm,
        b"q": need.queue_us,
        b"r": need.rate_bytes_per_s,
        b"w": _packed_runs(need.whole),
    }
    return _signed(prefix, table, keys)


def _signed(prefix: bytes, table: dict[bytes, object], keys: Keys) -> bytes:
    body = prefix + encode(table)
    payload = body + keys.sign(body)
    assert len(payload) <= MAX_CONTROL_BYTES
    return payload


@dataclass(frozen=True, slots=True)
class Signed:
    """Who says a mark or need, not checked yet: `verified` does that."""

    peer: bytes
    public: bytes
    body: bytes
    signature: bytes

    def verified(self, keys: Keys) -> bool:
        return keys.verify(self.peer, self.public, self.body, self.signature)


def _opened(data: Buffer, kind: int, names: bytes) -> tuple[dict[bytes, object], Signed]:
    data = bytes(data)
    if not PREFIX_BYTES + SIGNATURE_BYTES < len(data) <= MAX_CONTROL_BYTES or data[0] != kind:
        raise WireError("no mark or need")
    body, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
    table = decode(body[PREFIX_BYTES:], limits=_LIMITS)
    if type(table) is not dict or b"".join(table) != names:
        raise WireError("a mark or need with other fields")
    peer, public = table[b"i"], table[b"k"]
    if type(peer) is not bytes or len(peer) != PEER_BYTES:
        raise WireError("a peer's id of a wrong length")
    if type(public) is not bytes or len(public) != KEY_BYTES:
        raise WireError("a key of a wrong length")
    return table, Signed(peer, public, body, signature)


def _number(table: dict[bytes, object], name: bytes, most: int = _LARGEST) -> int:
    value = table[name]
    if type(value) is not int or not 0 <= value <= most:
        raise WireError(f"{name.decode()} out of range")
    return value


def decode_mark(data: Buffer) -> tuple[Mark, Signed]:
    """Raises `WireError`.  The signature is not checked here."""
    table, signed = _opened(data, MARK, b"abghiknopqrst")
    states = tuple(BlockState(*row) for row in _unpacked(_STATE, table[b"b"], MAX_STATES, "states"))
    if any(each.planned < each.repairs for each in states):
        raise WireError("more repair sent than planned")
    told = table[b"h"]
    if type(told) is not bytes or len(told) % PEER_BYTES or len(told) > MAX_TOLD * PEER_BYTES:
        raise WireError("peers of a wrong length")
    mark = Mark(
        sequence=_number(table, b"n"),
        sent=_number(table, b"s"),
        order=_number(table, b"o", (1 << 32) - 1),
        position=_number(table, b"p", (1 << 32) - 1),
        time_us=_number(table, b"t"),
        round_trip_us=_number(table, b"r", 60_000_000),
        receivers=_number(table, b"g", 1 << 32),
        states=states,
        coming=_runs(table[b"a"], "runs"),
        asks=_number(table, b"q", MOST_ASKS),
        told=tuple(told[at : at + PEER_BYTES] for at in range(0, len(told), PEER_BYTES)),
    )
    return mark, signed


def decode_need(data: Buffer) -> tuple[Need, Signed]:
    """Raises `WireError`.  The signature is not checked here."""
    table, signed = _opened(data, NEED, b"beiklqrw")
    lacks = tuple(Lack(*row) for row in _unpacked(_LACK, table[b"b"], MAX_LACKS, "lacks"))
    if any(not each.symbols for each in lacks):
        raise WireError("a lack of nothing")
    need = Need(
        echo_us=_number(table, b"e"),
        loss_ppm=_number(table, b"l", 1_000_000),
        queue_us=_number(table, b"q", 60_000_000),
        rate_bytes_per_s=_number(table, b"r"),
        lacks=lacks,
        whole=_runs(table[b"w"], "runs"),
    )
    return need, signed
