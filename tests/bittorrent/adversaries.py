"""Peers that lie, flood and wait.  Each is a coroutine that attacks one address of one torrent.

    await ADVERSARIES["flood of requests"](Attack(host, address, torrent, infohash, rng))

They end when they were thrown out, or have done their worst; they run on any host.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from tests.bittorrent.members import Stranger

from spinney.bittorrent import messages as m
from spinney.bittorrent.codec import encode, encode_handshake
from spinney.bittorrent.extensions import ExtensionHandshake, encode_extension_handshake
from spinney.bittorrent.metadata import (
    DATA,
    REJECT,
    REQUEST,
    MetadataMessage,
    decode_metadata,
    encode_metadata,
)
from spinney.bittorrent.pex import PeerExchange, encode_exchange
from spinney.errors import NetworkError
from spinney.net.host import Address, Host

BLOCK = m.BLOCK_BYTES
OWN_METADATA_ID = 7
PATIENCE_S = 12.0
"""How long one waits for being thrown out."""


@dataclass
class Attack:
    """`here`: the local address to come from (None: any).  `pieces`: of the torrent."""

    host: Host
    victim: Address
    infohash: bytes
    pieces: int
    rng: Random
    here: Address | None = None
    strangers: list[Stranger] = field(default_factory=list)

    @property
    def thrown_out(self) -> int:
        return sum(stranger.lost.is_set() for stranger in self.strangers)

    async def connect(self) -> Stranger:
        """Raises `NetworkError` if nobody takes it."""
        _, stranger = await self.host.connect(Stranger, self.victim, local=self.here)
        self.strangers.append(stranger)
        return stranger

    async def greeted(self) -> Stranger:
        stranger = await self.connect()
        stranger.greet(self.infohash, b"-XX0000-" + self.rng.randbytes(12))
        with contextlib.suppress(TimeoutError):
            await stranger.until(lambda: stranger.handshake or stranger.lost.is_set())
        return stranger

    def close(self) -> None:
        for stranger in self.strangers:
            stranger.transport.abort()


Adversary = Callable[[Attack], Awaitable[None]]


async def pour(stranger: Stranger, chunk: bytes, times: int, pause_s: float = 0.01) -> None:
    """Writes until thrown out; waits while too much is unsent."""
    for _ in range(times):
        if stranger.lost.is_set():
            return
        if stranger.transport.get_write_buffer_size() < 4 << 20:
            stranger.transport.write(chunk)
        await asyncio.sleep(pause_s)


async def end_of(stranger: Stranger, timeout_s: float = PATIENCE_S) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stranger.lost.wait(), timeout_s)


def introduction(**fields: object) -> m.Extended:
    row = ExtensionHandshake(**fields)  # type: ignore[arg-type]
    return m.Extended(0, encode_extension_handshake(row))


# what it has


async def wrong_bitfields(attack: Attack) -> None:
    """Spare bits, a wrong length, twice, a have out of range, a block from beyond the end."""
    size = (attack.pieces + 7) // 8
    spare = bytes(size - 1) + b"\x01" if attack.pieces % 8 else bytes(size + 2)
    none = m.BitfieldMessage(bytes(size))
    for said in (
        [m.BitfieldMessage(spare)],
        [m.BitfieldMessage(bytes(size + 1))],
        [m.BitfieldMessage(b"")],
        [none, none],
        [m.HaveAll(), m.HaveAll()],
        [none, m.Have(attack.pieces)],
        [none, m.Have(0xFFFFFFFF)],
        [none, m.AllowedFast(0xFFFFFFFF)],
        [none, m.RejectRequest(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)],
        [none, m.Piece(0xFFFFFFFF, 0xFFFFFFFF, b"x")],
        [none, m.Request(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)],
    ):
        stranger = await attack.greeted()
        stranger.say(*said)
        await end_of(stranger, 5)


async def bad_pieces(attack: Attack) -> None:
    """Has everything, unchokes at once, and answers each request with rubbish."""
    stranger = await attack.greeted()
    stranger.say(m.HaveAll(), m.Unchoke())
    done = 0
    while not stranger.lost.is_set():
        for piece, begin, length in stranger.asked[done:]:
            stranger.say(m.Piece(piece, begin, attack.rng.randbytes(length)))
        done = len(stranger.asked)
        stranger.news.clear()
        try:
            await asyncio.wait_for(stranger.news.wait(), 60)
        except TimeoutError:
            return


async def every_other_piece_is_bad(attack: Attack) -> None:
    """Answers one block in four, and that one wrong: never enough to be proven guilty alone."""
    stranger = await attack.greeted()
    stranger.say(m.HaveAll(), m.Unchoke())
    done = 0
    while not stranger.lost.is_set():
        for at, (piece, begin, length) in enumerate(stranger.asked[done:]):
            if at % 4:
                stranger.say(m.RejectRequest(piece, begin, length))
            else:
                stranger.say(m.Piece(piece, begin, attack.rng.randbytes(length)))
        done = len(stranger.asked)
        stranger.news.clear()
        try:
            await asyncio.wait_for(stranger.news.wait(), 60)
        except TimeoutError:
            return


async def promises_only(attack: Attack) -> None:
    """Has everything and unchokes, and never answers."""
    stranger = await attack.greeted()
    stranger.say(m.HaveAll(), m.Unchoke())
    for _ in range(100):
        stranger.say(m.KeepAlive())
        await asyncio.sleep(1)


# too much


async def endless_messages(attack: Attack) -> None:
    """Of every kind that costs the sender next to nothing."""
    none = encode(m.BitfieldMessage(bytes((attack.pieces + 7) // 8)))
    for noise in (
        b"\0\0\0\0",
        b"\0\0\0\1\x63",
        encode(m.Piece(0, 0, b"")),
        encode(m.Piece(0, 0, b"x")),
        encode(m.Have(0)),
        encode(m.Interested()) + encode(m.NotInterested()),
        encode(m.Choke()) + encode(m.Unchoke()),
        encode(m.Cancel(0, 0, BLOCK)),
        encode(m.RejectRequest(0, 0, BLOCK)),
        encode(m.SuggestPiece(0)),
        encode(introduction(ids={"ut_pex": 1, "ut_metadata": 2}, port=5)),
        encode(m.HashRequest(bytes(32), 0, 0, 2, 0)),
    ):
        stranger = await attack.greeted()
        stranger.transport.write(none)
        await pour(stranger, noise * 3_000, 60)
        await end_of(stranger, 3)


async def oversized_messages(attack: Attack) -> None:
    """Lengths that nothing has, and unknown messages of a mebibyte each."""
    for head in (
        b"\xff\xff\xff\xff\7",
        b"\0\x10\0\1\x63",
        b"\0\3\0\0\5",
        b"\0\2\0\x0a\7" + bytes(8),
    ):
        stranger = await attack.greeted()
        await pour(stranger, head + bytes(65_536), 30)
        await end_of(stranger, 3)
    stranger = await attack.greeted()
    await pour(stranger, b"\0\x10\0\0\x63" + bytes((1 << 20) - 1), 30)
    stranger.transport.abort()


async def slow_trickle(attack: Attack) -> None:
    """A handshake and messages byte by byte, then a long message that never ends."""
    stranger = await attack.connect()
    greeting = m.Handshake(bytes(5) + b"\x10\0\4", attack.infohash, b"-XX0000-slow12345678")
    talk = encode(m.HaveNone()) + encode(m.Interested()) + encode(m.Request(0, 0, BLOCK)) * 3
    for byte in encode_handshake(greeting) + talk + b"\0\1\0\0\x14" + bytes(400):
        if stranger.lost.is_set():
            return
        stranger.transport.write(bytes([byte]))
        await asyncio.sleep(0.01)


async def flood_of_requests(attack: Attack) -> None:
    """Asks and asks, and never reads an answer."""
    stranger = await attack.greeted()
    stranger.say(m.HaveNone(), m.Interested())
    with contextlib.suppress(TimeoutError):
        await stranger.until(lambda: stranger.heard_of(m.Unchoke) or stranger.lost.is_set(), 12)
    stranger.transport.pause_reading()
    rows = b"".join(
        encode(m.Request(attack.rng.randrange(attack.pieces), 0, 1 + at % 100)) for at in range(500)
    )
    await pour(stranger, rows, 100)
    stranger.say(m.HaveAll())  # a seed closes a connection to one who has everything
    await asyncio.sleep(5)


async def flood_of_metadata_requests(attack: Attack) -> None:
    """Thirty bytes that ask for sixteen thousand, thousands of times, unread."""
    stranger = await attack.greeted()
    stranger.say(m.HaveNone(), introduction(ids={"ut_metadata": OWN_METADATA_ID}))
    request = m.Extended(2, encode_metadata(MetadataMessage(REQUEST, 0)))
    stranger.transport.pause_reading()
    await pour(stranger, encode(request) * 700, 40, 0.1)


async def haves_and_interest(attack: Attack) -> None:
    """Every piece one by one, over and over, and interest on and off."""
    for _ in range(3):
        stranger = await attack.greeted()
        stranger.say(m.HaveNone())
        haves = [m.Have(piece) for piece in range(min(attack.pieces - 1, 2_000))]
        toggles = [m.Interested(), m.NotInterested()] * 50
        for _ in range(20):
            stranger.say(*haves, *toggles)
            await asyncio.sleep(0.01)
        await end_of(stranger, 2)


async def data_that_nobody_asked_for(attack: Attack) -> None:
    stranger = await attack.greeted()
    stranger.say(m.HaveNone())
    rows = b"".join(
        encode(m.Piece(attack.rng.randrange(attack.pieces), 0, attack.rng.randbytes(4_000)))
        for _ in range(50)
    )
    await pour(stranger, rows, 200)
    await end_of(stranger)


async def a_hundred_connections(attack: Attack) -> None:
    """Greeted, interested and idle, as long as they may."""
    for number in range(100):
        with contextlib.suppress(NetworkError):
            stranger = await attack.connect()
            if number % 2:
                stranger.greet(attack.infohash, b"-XX0000-" + attack.rng.randbytes(12))
                stranger.say(m.HaveNone(), m.Interested())
    await asyncio.sleep(PATIENCE_S)


# untrue words


async def exchange_garbage(attack: Attack) -> None:
    """Thousands of addresses, addresses of nowhere, all ports of one victim, no addresses."""
    rng = attack.rng
    thousands = tuple(
        ((f"{rng.randrange(1, 224)}.{rng.randrange(256)}.{rng.randrange(256)}.1", 1 + at), 2)
        for at in range(5_000)
    )
    ports = tuple((("203.0.113.5", 1_000 + at), 0) for at in range(100))
    nowhere = tuple(
        ((host, port), 0)
        for host in ("0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "169.254.169.254")
        for port in (0, 1, 80)
    )
    for rows in (thousands, ports, nowhere):
        stranger = await attack.greeted()
        stranger.say(introduction(ids={"ut_pex": 1}, port=9), m.HaveNone())
        payload = encode_exchange(PeerExchange(added=rows))
        for _ in range(20):
            stranger.say(m.Extended(1, payload[:130_000]))
            await asyncio.sleep(0.01)
        stranger.say(m.Extended(1, b"d5:added7:abcdefge"))
        await end_of(stranger, 3)


async def describes_falsely(attack: Attack, size: int, answers: str) -> None:
    """Claims a description of `size` bytes; `answers`: `wrong`, `no`, `late` or `never`."""
    stranger = await attack.greeted()
    ids = {"ut_metadata": OWN_METADATA_ID}
    stranger.say(m.HaveAll(), introduction(ids=ids, metadata_bytes=size))
    done = 0
    for _ in range(600):
        if stranger.lost.is_set():
            return
        rows = [row for row in stranger.heard_of(m.Extended) if row.kind == OWN_METADATA_ID]
        for row in rows[done:]:
            piece = decode_metadata(row.payload).piece
            if answers == "late":
                await asyncio.sleep(10)
            if answers == "no":
                said = MetadataMessage(REJECT, piece)
            else:
                length = min(BLOCK, size - piece * BLOCK)
                said = MetadataMessage(DATA, piece, size, bytes(length))
            if answers != "never":
                stranger.say(m.Extended(2, encode_metadata(said)))
        done = len(rows)
        if answers == "never":
            stranger.say(introduction(ids=ids, metadata_bytes=size))
        await asyncio.sleep(0.5)


ADVERSARIES: dict[str, Adversary] = {
    "wrong bitfields": wrong_bitfields,
    "bad pieces": bad_pieces,
    "bad pieces now and then": every_other_piece_is_bad,
    "promises only": promises_only,
    "endless messages": endless_messages,
    "oversized messages": oversized_messages,
    "slow trickle": slow_trickle,
    "flood of requests": flood_of_requests,
    "flood of metadata requests": flood_of_metadata_requests,
    "haves and interest": haves_and_interest,
    "data that nobody asked for": data_that_nobody_asked_for,
    "a hundred connections": a_hundred_connections,
    "exchange of garbage": exchange_garbage,
}
