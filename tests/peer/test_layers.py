"""Magnet links of version 2 alone, on simulated machines: piece layers by BEP 52."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import astuple
from random import Random

import pytest
from tests.bittorrent.members import Stranger

from spinney.bittorrent import messages as m
from spinney.bittorrent.extensions import ExtensionHandshake, encode_extension_handshake
from spinney.bittorrent.hash_desk import HashDesk
from spinney.bittorrent.hashes import reject, uncle_count
from spinney.bittorrent.metadata import answer, decode_metadata, encode_metadata
from spinney.config import Settings
from spinney.content.descriptor import Descriptor
from spinney.content.layers import encode_layers, take_layers
from spinney.errors import DescriptorError, NoPeersError
from spinney.net.host import Host
from spinney.peer import Peer, look, verify
from spinney.sim import World
from spinney.wire import bencode

DATA = Random(5).randbytes(9_000_000)
"""550 pieces of 16 KiB: two requests."""
NO_LAN = Settings(lan=False)
Answer = Callable[[m.HashRequest], m.Message | None]


def write(host: Host, path: str, data: bytes) -> None:
    if "/" in path:
        host.storage.make_folders(path.rpartition("/")[0])
    file = host.storage.open(path, "create")
    file.write(0, [data])
    file.close()


def read(host: Host, path: str) -> bytes:
    file = host.storage.open(path, "read")
    try:
        return file.read(0, file.size())
    finally:
        file.close()


def run(scenario: Callable[[World, Host, Host], Awaitable[None]]) -> None:
    with World(seed=1) as world:
        one, other = world.host("one"), world.host("other")

        async def main() -> None:
            async with asyncio.timeout(600):
                await scenario(world, one, other)

        world.run(main())


def btmh(descriptor: Descriptor) -> str:
    assert descriptor.infohash_v2 is not None
    return f"magnet:?xt=urn:btmh:1220{descriptor.infohash_v2.hex()}"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[m.HashRequest]]:
    """What was asked of every honest node."""
    rows: list[m.HashRequest] = []
    ask = HashDesk.ask

    def remember(desk: HashDesk, key: int, connection: object, request: m.HashRequest) -> None:
        rows.append(request)
        ask(desk, key, connection, request)  # type: ignore[arg-type]

    monkeypatch.setattr(HashDesk, "ask", remember)
    return rows


@pytest.mark.parametrize("version", ["v2", "hybrid"])
def test_a_folder_by_its_btmh_link_alone(version: str, asked: list[m.HashRequest]) -> None:
    files = {"big": DATA, "two pieces": DATA[:20_000], "small": DATA[:5_000], "empty": b""}

    async def scenario(world: World, one: Host, other: Host) -> None:
        for name, data in files.items():
            write(one, f"films/{name}", data)
        async with Peer(one, NO_LAN) as sharer, Peer(other, NO_LAN) as getter:
            sharing = await sharer.share("films", format=version, piece_length=16_384)
            assert sharing.descriptor is not None
            link = btmh(sharing.descriptor)
            peers = [f"{sharer.addresses()[0]}:{sharer.port}"]
            getting = await getter.get(link, "in", peers=peers)
            await getting.wait()
        for name, data in files.items():
            assert read(other, f"in/films/{name}") == data
        assert other.storage.info("in/.films.spinney-layers") is None, "done: nothing is left"

    run(scenario)
    sizes = sorted((request.index, request.length) for request in asked)
    assert sizes == ([(0, 2), (0, 512), (512, 512)] if version == "v2" else [])


def test_a_restart_does_not_ask_again(asked: list[m.HashRequest]) -> None:
    async def scenario(world: World, one: Host, other: Host) -> None:
        write(one, "film", DATA)
        async with Peer(one, NO_LAN) as sharer:
            sharing = await sharer.share(
                "film", format="v2", piece_length=16_384, up_bytes_per_s=1_000_000
            )
            async with Peer(other, NO_LAN) as getter:
                getting = await getter.get(sharing.link, "in")
                while getting.status().have_bytes < 1_000_000:
                    await asyncio.sleep(0.1)
            assert len(asked) == 2
            assert other.storage.info("in/.film.spinney-layers") is not None
            async with Peer(other, NO_LAN) as getter:
                done = await (await getter.get(sharing.link, "in")).wait()
            assert done.sources["swarm"].useful < len(DATA), "it resumed"
            assert len(asked) == 2
        assert read(other, "in/film") == DATA

    run(scenario)


def test_a_torrent_without_its_layers_will_do_for_get_alone() -> None:
    """Others have peers to ask; `share --torrent` and `verify` say what is missing."""

    async def scenario(world: World, one: Host, other: Host) -> None:
        write(one, "film", DATA)
        async with Peer(one, NO_LAN) as sharer, Peer(other, NO_LAN) as getter:
            sharing = await sharer.share("film", format="v2", piece_length=16_384)
            assert sharing.descriptor is not None
            bare = bencode.encode({b"info": bencode.decode(sharing.descriptor.info_bytes)})
            for host in (one, other):
                write(host, "bare.torrent", bare)
            for refused in (
                sharer.share("film", torrent="bare.torrent"),
                verify("bare.torrent", "film", host=one),
            ):
                with pytest.raises(DescriptorError, match="piece layers"):
                    await refused
            assert (await look("bare.torrent", host=other))["pieces"] == 550
            peers = [f"{sharer.addresses()[0]}:{sharer.port}"]
            await (await getter.get("bare.torrent", "in", peers=peers)).wait()
        assert read(other, "in/film") == DATA

    run(scenario)


class Describer:
    """A node on the wire that tells the true description, and of hashes what `says` says."""

    def __init__(self, stranger: Stranger, descriptor: Descriptor, says: Answer) -> None:
        self.stranger, self.says = stranger, says
        self.info_bytes = descriptor.info_bytes
        self.asked: list[m.HashRequest] = []
        stranger.greet(descriptor.swarm_hashes[-1], b"-XX0000-describer123")
        row = ExtensionHandshake(ids={"ut_metadata": 5}, metadata_bytes=len(self.info_bytes))
        stranger.say(m.HaveAll(), m.Extended(0, encode_extension_handshake(row)))

    async def run(self) -> None:
        done = 0
        while not self.stranger.lost.is_set():
            for message in self.stranger.heard[done:]:
                done += 1
                if isinstance(message, m.Extended) and message.kind == 5:
                    piece = decode_metadata(message.payload).piece
                    said = encode_metadata(answer(self.info_bytes, piece))
                    self.stranger.say(m.Extended(2, said))
                elif isinstance(message, m.HashRequest):
                    self.asked.append(message)
                    reply = self.says(message)
                    if reply is not None:
                        self.stranger.say(reply)
            self.stranger.news.clear()
            if done == len(self.stranger.heard) and not self.stranger.lost.is_set():
                await self.stranger.news.wait()


def lies(request: m.HashRequest) -> m.Message:
    count = request.length + uncle_count(request.length, request.proof_layers)
    return m.Hashes(*astuple(request), Random(1).randbytes(32 * count))


def cuts_short(request: m.HashRequest) -> m.Message:
    return m.Hashes(*astuple(request), bytes(32))


def tells_another(request: m.HashRequest) -> m.Message:
    return m.Hashes(bytes(32), *astuple(request)[1:], bytes(32))


@pytest.mark.parametrize(
    ("says", "thrown_out", "banned"),
    [
        (lies, True, True),
        (cuts_short, True, False),
        (reject, False, False),
        (tells_another, False, False),
        (lambda request: None, False, False),
    ],
    ids=["lies", "cuts-short", "rejects", "tells-another", "is-silent"],
)
def test_who_tells_no_true_hashes_costs_only_time(
    says: Answer, thrown_out: bool, banned: bool
) -> None:
    async def scenario(world: World, one: Host, other: Host) -> None:
        write(one, "film", DATA)
        third = world.host("third")
        async with Peer(one, NO_LAN) as sharer, Peer(other, NO_LAN) as getter:
            sharing = await sharer.share("film", format="v2", piece_length=16_384)
            descriptor = sharing.descriptor
            assert descriptor is not None
            getting = await getter.get(btmh(descriptor), "in")
            stranger = await Stranger.dial(third, (getter.addresses()[0], getter.port))
            describer = Describer(stranger, descriptor, says)
            talking = asyncio.create_task(describer.run())
            while not describer.asked:
                await asyncio.sleep(0.1)
            if thrown_out:
                await asyncio.wait_for(stranger.lost.wait(), 10)
            swarm = getting.require_swarm()
            swarm.found([(sharer.addresses()[0], sharer.port)], "test")
            done = await asyncio.wait_for(getting.wait(), 120)
            host = third.interfaces()[-1].addresses[0][0]
            assert swarm.candidates.banned(host) is banned
            assert any("false hashes" in row for row in swarm.status().warnings) is banned
            assert done.bytes == len(DATA)
            stranger.transport.abort()
            await talking
        assert read(other, "in/film") == DATA

    run(scenario)


def test_without_anybody_who_has_the_hashes_it_says_what_is_missing() -> None:
    async def scenario(world: World, one: Host, other: Host) -> None:
        write(one, "film", DATA)
        async with Peer(one, NO_LAN) as sharer, Peer(other, NO_LAN) as getter:
            sharing = await sharer.share("film", format="v2", piece_length=16_384)
            assert sharing.descriptor is not None
            getting = await getter.get(btmh(sharing.descriptor), "in", give_up_s=60)
            stranger = await Stranger.dial(
                world.host("third"), (getter.addresses()[0], getter.port)
            )
            talking = asyncio.create_task(Describer(stranger, sharing.descriptor, reject).run())
            with pytest.raises(NoPeersError, match="no piece hashes came"):
                await getting.wait()
            stranger.transport.abort()
            await talking

    run(scenario)


def test_unasked_hashes_without_end_end_the_connection() -> None:
    async def scenario(world: World, one: Host, other: Host) -> None:
        write(one, "film", DATA[:100_000])
        async with Peer(one, NO_LAN) as sharer:
            sharing = await sharer.share("film", format="v2", piece_length=16_384)
            assert sharing.descriptor is not None
            stranger = await Stranger.dial(other, (sharer.addresses()[0], sharer.port))
            stranger.greet(sharing.descriptor.swarm_hashes[-1])
            stranger.say(m.HaveNone())
            for _ in range(5):
                stranger.say(*[lies(m.HashRequest(bytes(32), 0, 0, 2, 0))] * 100)
                await asyncio.sleep(0.01)
            await asyncio.wait_for(stranger.lost.wait(), 5)

    run(scenario)


def test_kept_layers_are_believed_only_as_far_as_their_roots_go() -> None:
    async def scenario(world: World, one: Host, other: Host) -> None:
        write(one, "films/a", DATA[:100_000])
        write(one, "films/b", DATA[-200_000:])
        async with Peer(one, NO_LAN) as sharer:
            sharing = await sharer.share("films", format="v2", piece_length=16_384)
            assert sharing.descriptor is not None
            whole = sharing.descriptor
        kept = encode_layers(whole)
        for data, missing in (
            (kept, 0),
            (kept[:-1], 2),
            (b"", 2),
            (kept.replace(b"7:spinneyi1e", b"7:spinneyi2e"), 2),
            (kept.replace(bytes.fromhex(whole.infohash), bytes(32)), 2),
            (kept.replace(next(iter(whole.piece_layers.values()))[:32], bytes(32)), 1),
        ):
            bare = Descriptor.from_info(whole.info_bytes)
            take_layers(bare, data)
            assert len(bare.missing_layers) == missing

    run(scenario)


def test_a_hybrid_takes_an_answer_with_the_v2_infohash() -> None:
    """BEP 52's upgrade: we say the v1 infohash and set the bit; the other answers with v2's."""

    async def scenario(world: World, one: Host, other: Host) -> None:
        write(one, "film", DATA[:100_000])
        async with Peer(one, NO_LAN) as sharer, Peer(other, NO_LAN) as getter:
            sharing = await sharer.share("film", format="hybrid", piece_length=16_384)
            assert sharing.descriptor is not None
            v1, v2 = sharing.descriptor.swarm_hashes
            callers: list[Stranger] = []

            def called() -> Stranger:
                callers.append(Stranger())
                return callers[-1]

            third = world.host("third")
            listener = await third.listen(called, ("0.0.0.0", 7_000))
            both = f"{btmh(sharing.descriptor)}&xt=urn:btih:{v1.hex()}"
            host = third.interfaces()[-1].addresses[0][0]
            await getter.get(both, "in", peers=[f"{host}:7000"])
            while not callers or not callers[0].handshake:
                await asyncio.sleep(0.1)
            assert callers[0].handshake[28:48] == v1
            assert callers[0].handshake[27] & 0x10
            callers[0].greet(v2)
            await callers[0].until(lambda: callers[0].heard_of(m.Extended), 5)
            assert not callers[0].lost.is_set()
            callers[0].transport.abort()
            listener.close()

    run(scenario)
