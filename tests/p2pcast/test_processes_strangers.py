"""A stranger's datagrams, from sockets of its own, at processes that are a forest: one error for
each, and nothing else falls."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from tests.p2pcast.processes import Fleet

from spinney.net.host import Address
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.place import SOURCE, Name, Place, empty_place
from spinney.p2pcast.registry.link import parse_link
from spinney.p2pcast.transactions import Lock
from spinney.p2pcast.trust.identity import STREAM_TAG_BYTES, KeySigner
from spinney.p2pcast.trust.signing import FORGED, LATE, NOT_YOURS, REPLAYED, UNSIGNED, seal
from spinney.trust.keys import Keys
from spinney.wire.krpc_messages import (
    METHOD_UNKNOWN,
    PROTOCOL,
    SERVER,
    Arguments,
    decode_message,
    encode_query,
    read_error,
)

ANSWER_S = 10.0
"""A busy machine."""
HOLD, DIRECT, HERE = b"p2pcast.hold", b"p2pcast.direct", b"p2pcast.here"


class Stranger:
    """`tag`: of the stream.  Every question goes from the first socket unless it says otherwise."""

    def __init__(self, stream: bytes) -> None:
        self.signer = KeySigner(Keys(b"\x07" * 32), stream)
        self.tag = stream[:STREAM_TAG_BYTES]
        self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for each in self.sockets:
            each.bind(("127.0.0.1", 0))
            each.settimeout(ANSWER_S)
        self._asked = 0

    def close(self) -> None:
        for each in self.sockets:
            each.close()

    def number(self) -> int:
        return int(time.time() * 1_000)

    def signed(self, method: bytes, body: bytes, ahead_ms: int = 0) -> Arguments:
        self._asked += 1
        number = self.number() + self._asked + ahead_ms
        return seal(self.signer, self.tag, method, number, body)

    async def ask(self, at: Address, method: bytes, arguments: Arguments, by: int = 0) -> object:
        """The values that come back, or the code of the error."""
        self._asked += 1
        transaction = self._asked.to_bytes(2, "big")
        data = encode_query(transaction, method, arguments)
        return await asyncio.to_thread(self._exchange, self.sockets[by], at, data, transaction)

    def _exchange(self, at_socket: socket.socket, at: Address, data: bytes, mine: bytes) -> object:
        at_socket.sendto(data, at)
        while True:
            answer, _ = at_socket.recvfrom(2_048)
            kind, transaction, message = decode_message(answer)
            if transaction == mine and kind == b"e":
                return read_error(message)[0]
            if transaction == mine and kind == b"r":
                return message[b"r"]

    async def look(self, at: Address, name: Name) -> m.Seen:
        body = codec.pack_search(m.Search(name), 4)
        values = await self.ask(at, b"p2pcast.search", {b"b": body, b"s": self.tag})
        assert isinstance(values, dict)
        return codec.read_seen(values[b"b"])


def lock(place: Place, coordinator: Name) -> bytes:
    """It shall give its children away."""
    bare = empty_place(place.name, len(place.parents), spare=place.spare, since=place.since)
    held = Lock(b"12345678", place.version, bare, coordinator)
    return codec.pack_lock(m.LockCall(place.name, held))


@pytest.mark.timeout(150)
def test_forged_late_and_replayed_datagrams_get_one_error_each_and_the_forest_stands() -> None:
    async def story() -> None:
        async with Fleet(3, stripes=4, spare=1, patience=2.0) as fleet:
            await fleet.grow(6)
            await fleet.whole(40.0)
            link = parse_link(fleet.link)
            stranger = Stranger(link.stream)
            try:
                await tried(stranger, link.registries[0].address)
            finally:
                stranger.close()
            await fleet.whole(40.0)
            await fleet.come()
            await fleet.whole(40.0)
            assert len(fleet.ready) == 7, "nobody ended"

    asyncio.run(story())


async def tried(stranger: Stranger, source: Address) -> None:
    seen = await stranger.look(source, SOURCE)
    name = next(child for _, child in seen.sight.place.edges() if child >= 0)
    at = seen.known[name]
    place = (await stranger.look(at, name)).sight.place
    own, tag = stranger.signer.name, stranger.tag
    order, false = lock(place, own), lock(place, SOURCE)
    here = codec.pack_here(m.Here(name, name, 0, 0, 1))
    gone = codec.pack_beat(m.Beat(0, 1, place.parents[0], 0, 1, gone=True))
    for method, arguments, code in (
        (DIRECT, {b"b": order, b"s": tag}, UNSIGNED),
        (DIRECT, stranger.signed(HOLD, order), FORGED),
        (DIRECT, stranger.signed(DIRECT, false), NOT_YOURS),
        (HERE, stranger.signed(HERE, here), NOT_YOURS),
        (DIRECT, stranger.signed(DIRECT, order, ahead_ms=-120_000), LATE),
        (b"p2pcast.update", {b"b": gone, b"s": tag}, NOT_YOURS),
        (b"p2pcast.search", {b"b": b"", b"s": tag}, PROTOCOL),
        (b"p2pcast.search", {b"b": codec.pack_search(m.Search(name), 4), b"s": b"x" * 8}, SERVER),
        (b"p2pcast.nothing", {b"b": b"", b"s": tag}, SERVER),
    ):
        assert await stranger.ask(at, method, arguments) == code, (method, code)
    once = stranger.signed(DIRECT, false)
    assert await stranger.ask(at, DIRECT, once) == NOT_YOURS
    assert await stranger.ask(at, DIRECT, once) == NOT_YOURS, "asked once more"
    assert await stranger.ask(at, DIRECT, once, by=1) == REPLAYED
    unknown = await stranger.ask(at, b"other.call", {})
    assert unknown == METHOD_UNKNOWN
    nameless = b"d1:ad1:b0:e1:q14:p2pcast.search1:t0:1:y1:qe"
    for each in (b"", b"d", b"d1:q", bytes(1_200), nameless):
        stranger.sockets[0].sendto(each, at)
        stranger.sockets[0].sendto(each, source)
    after = (await stranger.look(at, name)).sight.place
    assert after.out_degree, "it serves as before"
