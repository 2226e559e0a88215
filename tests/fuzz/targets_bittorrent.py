"""What peers, trackers, neighbours and a damaged disk may say to the BitTorrent room.

Messages come whole, byte by byte and cut anywhere: all three must come to the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from hashlib import sha1
from typing import Any, cast

from tests.fuzz.targets import Target

from spinney.bittorrent import lan_messages, metadata, pex
from spinney.bittorrent.codec import (
    BITFIELD,
    KNOWN,
    MAX_REQUEST_BYTES,
    decode,
    decode_handshake,
    encode,
    encode_handshake,
)
from spinney.bittorrent.connection import Connection, Conversation, ReceiveBuffer
from spinney.bittorrent.extensions import decode_extension_handshake, encode_extension_handshake
from spinney.bittorrent.messages import HANDSHAKE_BYTES, PROTOCOL, Handshake, Message
from spinney.bittorrent.reader import MAX_PARTIAL_BYTES, Reader
from spinney.bittorrent.tracker import codec as tracker_codec
from spinney.bittorrent.tracker import messages as tracker_messages
from spinney.bittorrent.tracker import snapshot
from spinney.bittorrent.tracker.desk import Desk
from spinney.bittorrent.tracker.settings import TrackerSettings
from spinney.bittorrent.tracker.state import StateLimits, TrackerState
from spinney.content.resume import decode_record
from spinney.errors import WireError

INFOHASH = b"h" * 20
PIECES = 21
SMALL = StateLimits(torrents=3, peers=10, peers_per_torrent=5)


class Listener:
    """A handler that writes everything down, in order."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def block(self, piece: int, begin: int, data: memoryview) -> None:
        assert len(data) <= MAX_REQUEST_BYTES
        self.rows.append((piece, begin, bytes(data)))

    def requests(self, ranges: Sequence[tuple[int, int, int]]) -> None:
        self.rows.extend(ranges)

    def have(self, piece: int) -> None:
        self.rows.append(piece)

    def message(self, message: Message) -> None:
        self.rows.append(encode(message))

    def chatter(self) -> None:
        self.rows.append("chatter")

    def batch_ended(self) -> None: ...
    def writable(self) -> None: ...
    def ended(self, reason: str) -> None: ...


def _heard(data: bytes, step: int) -> tuple[list[Any], str]:
    """What a reader makes of it, `step` bytes at a time."""
    listener = Listener()
    reader = Reader(listener)
    reader.bitfield_bytes = (PIECES + 7) // 8
    kept = b""
    try:
        for at in range(0, len(data), step):
            kept += data[at : at + step]
            kept = kept[reader.consume(memoryview(kept)) :]
            assert len(kept) <= MAX_PARTIAL_BYTES
    except WireError:
        return listener.rows, "refused"
    return listener.rows, "read"


def messages(data: bytes) -> None:
    whole, singly = _heard(data, len(data) or 1), _heard(data, 1)
    cut = _heard(data, 1 + len(data) // 3)
    assert whole[1] == cut[1] == singly[1]
    assert whole[0] == cut[0] == singly[0]


def message(data: bytes) -> None:
    """One message: its id and body."""
    if not data:
        return
    try:
        said = decode(data[0], memoryview(data)[1:])
    except WireError:
        return
    if said is None:
        assert data[0] not in KNOWN
        return
    assert encode(said)[4:] == data
    if data[0] == BITFIELD:
        assert len(data) - 1 <= 1 << 18


class Gate:
    """A node that serves one torrent, as a connection sees it."""

    def __init__(self) -> None:
        self.buffer = ReceiveBuffer(4096)
        self.listener = Listener()

    def opened(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection) -> None: ...

    def answer(self, connection: Connection, infohash: bytes) -> Handshake | None:
        return Handshake(bytes(8), INFOHASH, b"p" * 20) if infohash == INFOHASH else None

    def greeted(self, connection: Connection, handshake: Handshake) -> Conversation | None:
        connection.begin(self.listener)
        return self.listener

    def read_room_bytes(self, connection: Connection) -> int:
        return 4096


class Line(asyncio.Transport):
    """A transport that counts what is written and knows whether it was closed."""

    def __init__(self) -> None:
        super().__init__({"peername": ("198.18.0.1", 5)})
        self.written = 0
        self.over = False

    def write(self, data: Any) -> None:
        self.written += len(data)

    def close(self) -> None:
        self.over = True

    abort = close

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0


def _opened(data: bytes, step: int) -> tuple[list[Any], bool, int]:
    gate, line = Gate(), Line()
    connection = Connection(cast(Any, gate), 0.0)
    connection.connection_made(line)
    at = 0
    while at < len(data) and not line.over:
        view = connection.get_buffer(-1)
        size = min(step, len(view), len(data) - at)
        assert size > 0
        view[:size] = data[at : at + size]
        connection.buffer_updated(size)
        at += size
    connection.flush()
    written = line.written
    connection.connection_lost(None)
    return gate.listener.rows, line.over, written


def connection(data: bytes) -> None:
    """From the first byte: handshake and messages through a real connection."""

    async def scene() -> None:
        assert _opened(data, len(data) or 1) == _opened(data, 1)

    _LOOP.run_until_complete(scene())


def handshake(data: bytes) -> None:
    try:
        said = decode_handshake(data)
    except WireError:
        assert len(data) != HANDSHAKE_BYTES or not data.startswith(PROTOCOL)
        return
    assert encode_handshake(said) == data


def extension_handshake(data: bytes) -> None:
    try:
        said = decode_extension_handshake(data)
    except WireError:
        return
    assert len(said.ids) <= 50
    assert all(0 <= kind <= 255 for kind in said.ids.values())
    assert said.version is None or said.version.isprintable()
    if all(name.isascii() for name in said.ids):
        assert decode_extension_handshake(encode_extension_handshake(said)) == said


def metadata_message(data: bytes) -> None:
    try:
        said = metadata.decode_metadata(data)
    except WireError:
        return
    assert metadata.decode_metadata(metadata.encode_metadata(said)) == said
    assert len(metadata.answer(b"x" * 20_000, said.piece).data) <= metadata.PIECE_BYTES


def metadata_fetch(data: bytes) -> None:
    """Three peers say what the bytes tell them to, in any order; the fetch stays whole."""
    info = b"d4:name1:xe"
    fetch = metadata.MetadataFetch([sha1(info).digest()])
    now = 0.0
    sizes = (len(info), len(info) + 1, 40_000, 9_999_999, 0)
    for at in range(0, len(data) - 1, 2):
        what, detail = data[at] % 6, data[at + 1]
        key, piece = detail % 3, detail // 3 % 4
        if what == 0:
            fetch.joined(key, sizes[detail // 3 % len(sizes)])
        elif what == 1:
            fetch.left(key)
        elif what == 2:
            now += detail
        elif what == 3:
            fetch.rejected(key, piece)
        elif what == 4:
            try:
                fetch.received(key, piece, info if detail > 128 else bytes(16_384))
            except WireError:
                continue
        fetch.requests(now)
        assert len(fetch._attempts) <= metadata.MAX_SIZES
    for peer in fetch._peers.values():
        assert len(peer.asked) <= metadata.IN_FLIGHT


def peer_exchange(data: bytes) -> None:
    try:
        said = pex.decode_exchange(data)
    except WireError:
        return
    assert len(said.added) <= pex.MAX_TAKEN
    assert len(said.dropped) <= pex.MAX_TAKEN
    again = pex.decode_exchange(pex.encode_exchange(said))
    assert sorted(again.added) == sorted(said.added)


def tracker_reply(data: bytes) -> None:
    try:
        said = tracker_codec.decode_announce_reply(data)
    except WireError:
        return
    if isinstance(said, tracker_messages.AnnounceReply):
        assert len(said.peers) <= tracker_messages.REPLY_PEERS_MAX
        low, high = tracker_messages.INTERVAL_MIN_S, tracker_messages.INTERVAL_MAX_S
        assert low <= said.interval_s <= high
        assert said.warning is None or said.warning.isprintable()


def scrape_reply(data: bytes) -> None:
    try:
        said = tracker_codec.decode_scrape_reply(data)
    except WireError:
        return
    if isinstance(said, tracker_messages.ScrapeReply):
        assert len(said.torrents) <= tracker_messages.SCRAPE_TORRENTS_MAX
        again = tracker_codec.decode_scrape_reply(tracker_codec.encode_scrape_reply(said))
        assert again == said


def tracker_request(data: bytes) -> None:
    query = data.decode("latin-1")
    try:
        said = tracker_codec.decode_announce(query)
    except WireError:
        pass
    else:
        assert len(said.infohash) == len(said.peer_id) == 20
        assert tracker_codec.decode_announce(tracker_codec.encode_announce(said)) == said
    try:
        rows = tracker_codec.decode_scrape(query)
    except WireError:
        return
    assert all(len(infohash) == 20 for infohash in rows)
    assert len(rows) <= tracker_messages.SCRAPE_TORRENTS_MAX


def tracker_desk(data: bytes) -> None:
    """Lines of requests, one after the other, at one small tracker."""
    state = TrackerState(SMALL)
    desk = Desk(TrackerSettings(limits=SMALL), state, random.Random(1), 0.0)
    for at, line in enumerate(data.split(b"\n")[:50]):
        answer = desk.answer("GET", "/" + line.decode("latin-1"), f"198.18.0.{at % 4 + 1}", at)
        assert 200 <= answer.status < 600
    assert state.peer_count <= SMALL.peers
    assert len(state.torrents) <= SMALL.torrents


def lan(data: bytes) -> None:
    try:
        said = lan_messages.decode(data)
    except WireError:
        return
    assert 0 < said.port < 65_536
    assert all(len(infohash) == 20 for infohash in said.infohashes)
    assert len(said.infohashes) <= lan_messages.INFOHASHES_READ_MAX


def tracker_state(data: bytes) -> None:
    """With a right checksum, and as it is."""
    state = TrackerState(SMALL)
    with contextlib.suppress(WireError):
        snapshot.restore(b"".join(snapshot.SEAL.parts([data])), state, 5.0)
    assert state.peer_count <= SMALL.peers
    assert len(state.torrents) <= SMALL.torrents
    state.sweep(10_000.0)
    assert state.peer_count == 0
    try:
        snapshot.restore(data, TrackerState(SMALL), 5.0)
    except WireError:
        return


def resume(data: bytes) -> None:
    record = decode_record(data, INFOHASH, PIECES)
    if record is not None:
        assert record.pieces.size == PIECES
        record.fits([(0, 0)])
        assert decode_record(record.encode(), INFOHASH, PIECES) == record


_LOOP = asyncio.new_event_loop()
_ROOM = "spinney.bittorrent"
_GREETING = PROTOCOL + bytes(8) + INFOHASH + b"q" * 20
_TALK = (
    b"\0\0\0\0\0\0\0\1\2\0\0\0\x05\x04\0\0\0\x07\0\0\0\x04\x05\xff\0\x08"
    b"\0\0\0\x0d\6\0\0\0\1\0\0\x40\0\0\0\x40\0\0\0\0\x0d\7\0\0\0\1\0\0\0\2data"
    b"\0\0\0\5\x63junk\0\0\0\1\x0e\0\0\0\6\x14\0d1:me"
)
_REPLY = b"d8:completei1e10:incompletei2e8:intervali1800e5:peers12:abcdefabcdefe"
_QUERY = b"info_hash=" + b"%aa" * 20 + b"&peer_id=" + b"-SP0001-abcdefghijkl" + b"&port=6881"
_ROW = (
    b"l20:" + INFOHASH + b"i3e66:" + b"\3\2" + b"i" * 20 + b"k" * 16 + bytes(4) + b"e" * 24 + b"e"
)

TARGETS = {
    "peer-messages": Target(messages, (_TALK, _TALK * 3), (f"{_ROOM}.codec", f"{_ROOM}.reader")),
    "peer-message": Target(
        message,
        (
            b"\x04\0\0\0\7",
            b"\x14\1de",
            b"\x07" + bytes(9),
            b"\x15" + bytes(48),
            b"\x16" + bytes(80),
        ),
        (f"{_ROOM}.codec",),
    ),
    "peer-connection": Target(
        connection, (_GREETING + _TALK, _GREETING, b"GET / "), (f"{_ROOM}.connection",)
    ),
    "handshake": Target(handshake, (_GREETING,), (f"{_ROOM}.codec",)),
    "extension-handshake": Target(
        extension_handshake,
        (
            b"d1:md11:ut_metadatai2e6:ut_pexi1ee13:metadata_sizei99e1:pi5e4:reqqi250e"
            b"11:upload_onlyi1e1:v3:abc6:yourip4:abcde",
            b"d4:ipv616:aaaaaaaaaaaaaaaa1:mdee",
        ),
        (f"{_ROOM}.extensions", "spinney.wire.bencode"),
    ),
    "ut-metadata": Target(
        metadata_message,
        (
            b"d8:msg_typei0e5:piecei1ee",
            b"d8:msg_typei1e5:piecei0e10:total_sizei5eehello",
            b"d8:msg_typei2e5:piecei0ee",
        ),
        (f"{_ROOM}.metadata",),
    ),
    "metadata-fetch": Target(
        metadata_fetch,
        (b"\0\0\0\1\4\x80\4\x81", b"\0\0\2\x10\2\x10\2\x10\2\x10", b"\0\6\0\7\4\0\4\4\4\6\2\x20"),
        (f"{_ROOM}.metadata",),
    ),
    "ut-pex": Target(
        peer_exchange,
        (
            b"d5:added12:abcdefghijkl7:added.f2:\1\2" + b"7:dropped6:abcdefe",
            b"d6:added618:aaaaaaaaaaaaaaaabbe",
        ),
        (f"{_ROOM}.pex",),
    ),
    "tracker-reply": Target(
        tracker_reply,
        (
            _REPLY,
            b"d14:failure reason3:bad8:retry in5:nevere",
            b"d8:intervali9e5:peersld2:ip7:1.2.3.47:peer id2:ab4:porti5eee15:warning message1:we",
            b"d11:external ip4:abcd8:intervali9e6:peers618:aaaaaaaaaaaaaaaabb10:tracker id1:xe",
        ),
        (f"{_ROOM}.tracker.codec",),
    ),
    "scrape-reply": Target(
        scrape_reply,
        (b"d5:filesd20:" + INFOHASH + b"d8:completei5e10:downloadedi6e10:incompletei7eeee",),
        (f"{_ROOM}.tracker.codec",),
    ),
    "tracker-request": Target(
        tracker_request,
        (
            _QUERY + b"&left=0&event=started&numwant=5&key=abc&compact=1&ip=1.2.3.4&ipv6=::1",
            b"info_hash=" + b"a" * 20 + b"&info_hash=" + b"%00" * 20,
        ),
        (f"{_ROOM}.tracker.codec",),
    ),
    "tracker-desk": Target(
        tracker_desk,
        (
            b"announce?" + _QUERY + b"&left=0\nscrape?info_hash=" + b"%aa" * 20 + b"\n\nstats",
            b"announce?" + _QUERY + b"&event=stopped\nannounce?" + _QUERY + b"&compact=0",
        ),
        (f"{_ROOM}.tracker.desk", f"{_ROOM}.tracker.state"),
    ),
    "lan": Target(
        lan,
        (
            lan_messages.encode(lan_messages.LanAnnounce(5, (INFOHASH, b"i" * 20), "cookie")),
            lan_messages.encode(lan_messages.LanAnnounce(5, (INFOHASH,)), six=True),
        ),
        (f"{_ROOM}.lan_messages",),
    ),
    "tracker-state": Target(
        tracker_state,
        (_ROW, b"".join(snapshot.SEAL.parts([_ROW]))),
        (f"{_ROOM}.tracker.snapshot", f"{_ROOM}.tracker.state"),
    ),
    "resume": Target(
        resume,
        (
            b"d5:cleani1e5:filesli5ei9eee8:infohash20:" + INFOHASH + b"6:pieces3:\xff\xff\xf8"
            b"7:spinneyi1ee",
            b"d5:cleani0e5:filesl" + b"li5ei9ee" * 2 + b"e8:infohash20:" + INFOHASH + b"6:pieces3:"
            b"\0\0\0" + b"7:spinneyi1ee",
        ),
        ("spinney.content.resume", "spinney.content.pieces"),
    ),
}
