"""One real node and strangers made by hand, in the simulator, in the order of BEP 3, 6, 9, 10."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.bittorrent.members import Member, Stranger, Torrent
from tests.bittorrent.test_peer_codec import GOLDEN

from spinney.bittorrent import messages as m
from spinney.bittorrent.codec import encode_handshake
from spinney.bittorrent.extensions import (
    ExtensionHandshake,
    decode_extension_handshake,
    encode_extension_handshake,
)
from spinney.bittorrent.metadata import (
    DATA,
    REJECT,
    REQUEST,
    MetadataMessage,
    decode_metadata,
    encode_metadata,
)
from spinney.bittorrent.settings import Settings
from spinney.content.pieces import Bitfield
from spinney.net.host import Host
from spinney.sim.world import World

TORRENT = Torrent(300_000, 65_536)  # five pieces, the last of 37,856 bytes
OPEN = Settings(addresses=("0.0.0.0",), ration=False)
BLOCK = m.BLOCK_BYTES


class Stage:
    """A node under test, and hosts for strangers."""

    def __init__(self, world: World, member: Member, hosts: list[Host]) -> None:
        self.world, self.member, self.hosts = world, member, hosts

    async def stranger(self, at: int = 0) -> Stranger:
        return await Stranger.dial(self.hosts[at], self.member.address)

    async def greeted(self, at: int = 0, **how: object) -> Stranger:
        stranger = await self.stranger(at)
        stranger.greet(TORRENT.infohash, **how)  # type: ignore[arg-type]
        await stranger.until(lambda: stranger.handshake)
        return stranger

    async def still_serves(self) -> None:
        """Whatever happened, an honest peer gets what it asks for."""
        honest = await self.greeted(1, peer_id=b"-XX0000-honesthonest")
        honest.say(m.HaveNone(), m.Interested())
        await honest.until(lambda: honest.heard_of(m.Unchoke), 40)
        honest.say(m.Request(0, 0, BLOCK))
        await honest.until(lambda: honest.blocks)
        assert honest.blocks[0] == (0, 0, TORRENT.data[:BLOCK])


def play(
    scene: Callable[[Stage], Awaitable[None]],
    *,
    seed: bool = True,
    magnet: bool = False,
    settings: Settings = OPEN,
    torrent: Torrent = TORRENT,
    private: bool = False,
) -> None:
    with World(seed=7) as world:

        async def main() -> None:
            member = Member(
                world.host("node"),
                torrent,
                "f",
                seed=seed,
                magnet=magnet,
                settings=settings,
                private=private,
            )
            await member.start()
            hosts: list[Host] = [world.host(f"stranger{number}") for number in range(4)]
            await scene(Stage(world, member, hosts))
            await member.close()

        world.run(main())


# the handshake


def test_both_sides_greet_and_the_seed_says_what_it_has_first() -> None:
    async def scene(stage: Stage) -> None:
        stranger = await stage.greeted()
        assert stranger.handshake[:20] == m.PROTOCOL
        assert stranger.handshake[28:48] == TORRENT.infohash
        await stranger.until(lambda: stranger.heard_of(m.Extended))
        assert isinstance(stranger.heard[0], m.HaveAll)
        row = decode_extension_handshake(stranger.heard_of(m.Extended)[0].payload)
        assert row.port == stage.member.node.port
        assert row.metadata_bytes == len(TORRENT.info_bytes)
        assert row.upload_only
        assert row.request_limit == OPEN.request_limit
        assert set(row.ids) == {"ut_metadata", "ut_pex"}

    play(scene)


def test_without_the_fast_extension_it_is_a_bitfield() -> None:
    async def scene(stage: Stage) -> None:
        stranger = await stage.greeted(fast=False, extended=False)
        await stranger.until(lambda: stranger.heard)
        assert stranger.heard == [m.BitfieldMessage(b"\xf8")]

    play(scene)


@pytest.mark.parametrize(
    "opening",
    [
        encode_handshake(m.Handshake(bytes(8), b"?" * 20, b"p" * 20)),
        bytes(range(96)),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x13BitTorrent protocoL" + bytes(48),
    ],
    ids=["another torrent", "encryption", "a browser", "another protocol"],
)
def test_an_opening_that_is_not_for_us_ends_at_once_without_an_answer(opening: bytes) -> None:
    async def scene(stage: Stage) -> None:
        stranger = await stage.stranger()
        stranger.transport.write(opening)
        await asyncio.wait_for(stranger.lost.wait(), 2)
        assert stranger.handshake == b""
        await stage.still_serves()

    play(scene)


def test_a_handshake_a_byte_at_a_time_is_cut_off() -> None:
    async def scene(stage: Stage) -> None:
        slow = await stage.stranger()
        silent = await stage.stranger(1)
        data = encode_handshake(m.Handshake(bytes(8), TORRENT.infohash, b"p" * 20))
        began = stage.world.loop.time()
        for byte in data:
            slow.transport.write(bytes([byte]))
            await asyncio.sleep(1.0)
            if slow.lost.is_set():
                break
        assert stage.world.loop.time() - began < 13
        await asyncio.wait_for(silent.lost.wait(), 2)
        await stage.still_serves()

    play(scene)


def test_a_connection_to_ourselves_ends_and_is_not_tried_again() -> None:
    async def scene(stage: Stage) -> None:
        swarm = stage.member.swarm
        swarm.found([stage.member.address], "user")
        await asyncio.sleep(5)
        assert len(swarm.peers) == 0
        assert len(swarm.candidates) == 0

    play(scene)


def test_a_peer_is_connected_once() -> None:
    async def scene(stage: Stage) -> None:
        first = await stage.greeted(0)
        await asyncio.sleep(10)
        second = await stage.greeted(1)
        await asyncio.wait_for(second.lost.wait(), 5)
        assert not first.lost.is_set(), "a taken peer id throws nobody out"
        assert len(stage.member.swarm.peers) == 1

    play(scene)


def test_two_that_dial_each_other_at_once_keep_one_connection() -> None:
    with World(seed=3) as world:

        async def main() -> None:
            a = await Member(world.host("a"), TORRENT, "f", seed=True, settings=OPEN).start()
            b = await Member(world.host("b"), TORRENT, "f", settings=OPEN).start()
            a.knows(b)
            b.knows(a)
            await asyncio.sleep(0.5)
            assert len(a.swarm.peers) == len(b.swarm.peers) <= 1
            await b.wait(30)
            await a.close()
            await b.close()

        world.run(main())


# what may be said, and what ends a connection


def test_a_free_slot_is_given_at_once_and_requests_are_answered() -> None:
    async def scene(stage: Stage) -> None:
        stranger = await stage.greeted()
        began = stage.world.loop.time()
        stranger.say(m.HaveNone(), m.Interested())
        await stranger.until(lambda: stranger.heard_of(m.Unchoke))
        assert stage.world.loop.time() - began < 1.0, "not at the next round of ten seconds"
        stranger.say(m.Request(1, 16, 1_000), m.Request(4, 32_768, 5_088))
        await stranger.until(lambda: len(stranger.blocks) == 2)
        at = 65_536 + 16
        assert stranger.blocks[0] == (1, 16, TORRENT.data[at : at + 1_000])
        assert stranger.blocks[1] == (4, 32_768, TORRENT.data[-5_088:])
        assert stage.member.swarm.uploaded_bytes == 6_088

    play(scene)


def test_requests_while_choked_are_rejected_but_for_the_allowed_fast_ones() -> None:
    async def scene(stage: Stage) -> None:
        stranger = await stage.greeted()
        await stranger.until(lambda: stranger.heard_of(m.Extended))
        allowed = {message.piece for message in stranger.heard_of(m.AllowedFast)}
        assert allowed == set(range(5)), "all of so small a torrent"
        stranger.say(m.HaveNone(), m.Request(2, 0, BLOCK))
        await stranger.until(lambda: stranger.blocks)

    play(scene)

    async def without(stage: Stage) -> None:
        leech = await stage.greeted()
        leech.say(m.HaveNone(), m.Request(2, 0, BLOCK))
        await leech.until(lambda: leech.heard_of(m.RejectRequest))
        assert leech.heard_of(m.RejectRequest) == [m.RejectRequest(2, 0, BLOCK)]

    play(without, seed=False)


def test_a_cancelled_request_is_rejected_and_not_sent() -> None:
    async def scene(stage: Stage) -> None:
        stage.member.up.rate_bytes_per_s = 20_000.0
        stranger = await stage.greeted()
        stranger.say(m.HaveNone(), m.Interested())
        await stranger.until(lambda: stranger.heard_of(m.Unchoke))
        stranger.say(*(m.Request(0, at * BLOCK, BLOCK) for at in range(4)))
        stranger.say(m.Cancel(0, 3 * BLOCK, BLOCK))
        await stranger.until(lambda: len(stranger.blocks) == 3)
        assert m.RejectRequest(0, 3 * BLOCK, BLOCK) in stranger.heard
        await asyncio.sleep(5)
        assert len(stranger.blocks) == 3

    play(scene)


FATAL = {
    "a request beyond the piece": [m.Request(0, 65_536, 1)],
    "a request of more than 128 KiB": [m.Request(0, 0, 131_073)],
    "a request of nothing": [m.Request(0, 0, 0)],
    "a request for a piece that is not": [m.Request(5, 0, BLOCK)],
    "a have for a piece that is not": [m.Have(5)],
    "a bitfield of a wrong length": [m.BitfieldMessage(b"\0\0")],
    "a bitfield with spare bits": [m.BitfieldMessage(b"\x01")],
    "a bitfield twice": [m.BitfieldMessage(b"\0"), m.BitfieldMessage(b"\0")],
    "have all after a bitfield": [m.BitfieldMessage(b"\0"), m.HaveAll()],
    "a block from beyond the end": [m.Piece(4, 40_000, b"x")],
    "a block across two pieces": [m.Piece(0, 65_530, b"x" * 10)],
    "an extended message without its end": [m.Extended(0, b"d1:")],
    "an allowed fast piece that is not": [m.AllowedFast(99)],
    "rubbish about metadata": [m.Extended(2, b"i0e")],
    "rubbish about peers": [m.Extended(1, b"d5:added1:xe")],
}


@pytest.mark.parametrize("name", FATAL)
def test_what_breaks_the_protocol_ends_that_connection_alone(name: str) -> None:
    async def scene(stage: Stage) -> None:
        other = await stage.greeted(2, peer_id=b"-XX0000-bystander---")
        liar = await stage.greeted()
        await liar.until(lambda: liar.heard_of(m.Extended))
        liar.say(m.Interested())
        await liar.until(lambda: liar.heard_of(m.Unchoke))
        liar.say(*FATAL[name])
        await asyncio.wait_for(liar.lost.wait(), 5)
        assert not other.lost.is_set()
        await stage.still_serves()

    play(scene)


@pytest.mark.parametrize(
    "message", [m.HaveAll(), m.HaveNone(), m.RejectRequest(0, 0, 1), m.AllowedFast(0)]
)
def test_fast_messages_need_the_fast_extension(message: m.Message) -> None:
    async def scene(stage: Stage) -> None:
        liar = await stage.greeted(fast=False)
        liar.say(message)
        await asyncio.wait_for(liar.lost.wait(), 5)

    play(scene)


def test_extended_messages_need_the_extension_protocol() -> None:
    async def scene(stage: Stage) -> None:
        liar = await stage.greeted(extended=False)
        liar.say(m.Extended(0, b"de"))
        await asyncio.wait_for(liar.lost.wait(), 5)

    play(scene)


STATES = ["magnet", "leech", "seed"]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("fast", [True, False])
def test_every_message_in_every_state_is_legal_or_ends_the_connection(
    state: str, fast: bool
) -> None:
    async def scene(stage: Stage) -> None:
        for number, (message, _) in enumerate(GOLDEN):
            for before in ([], [m.BitfieldMessage(b"\0")], [m.Interested(), m.Unchoke()]):
                peer_id = b"-XX0000-%012d" % number
                stranger = await stage.greeted(fast=fast, peer_id=peer_id)
                stranger.say(*before, message, message, m.KeepAlive())
                await asyncio.sleep(0.5)
                stranger.transport.abort()
                await asyncio.sleep(0.2)
        assert len(stage.member.swarm.peers) == 0
        if state == "seed":
            await stage.still_serves()

    play(scene, seed=state == "seed", magnet=state == "magnet")


# metadata, peer exchange


def test_a_magnet_link_alone_suffices() -> None:
    big = Torrent(6_000_000, 4_096)  # an info dictionary of 29 KiB: two pieces of metadata
    with World(seed=8) as world:

        async def main() -> None:
            seed = await Member(world.host("a"), big, "f", seed=True, settings=OPEN).start()
            leech = Member(world.host("b"), big, "f", magnet=True, settings=OPEN)
            await leech.start()
            leech.knows(seed)
            await asyncio.wait_for(leech.describe(), 30)
            await leech.wait(120)
            assert leech.read_back() == big.data
            await leech.close()
            await seed.close()

        world.run(main())


def test_metadata_requests_of_bep_9_are_answered() -> None:
    async def scene(stage: Stage) -> None:
        stranger = await stage.greeted()
        ours = ExtensionHandshake(ids={"ut_metadata": 77})
        stranger.say(m.Extended(0, encode_extension_handshake(ours)))
        for piece in (0, 9):
            request = encode_metadata(MetadataMessage(REQUEST, piece))
            stranger.say(m.Extended(2, request))
        await stranger.until(
            lambda: len([1 for e in stranger.heard_of(m.Extended) if e.kind == 77]) == 2
        )
        rows = [decode_metadata(e.payload) for e in stranger.heard_of(m.Extended) if e.kind == 77]
        assert rows[0] == MetadataMessage(DATA, 0, len(TORRENT.info_bytes), TORRENT.info_bytes)
        assert rows[1].kind == REJECT

    play(scene)


def test_a_false_description_is_found_out_and_its_sender_dropped() -> None:
    async def scene(stage: Stage) -> None:
        liar = await stage.greeted()
        size = 1_000
        row = ExtensionHandshake(ids={"ut_metadata": 5}, metadata_bytes=size)
        liar.say(m.HaveAll(), m.Extended(0, encode_extension_handshake(row)))
        await liar.until(lambda: [e for e in liar.heard_of(m.Extended) if e.kind == 5])
        lie = encode_metadata(MetadataMessage(DATA, 0, size, bytes(size)))
        liar.say(m.Extended(2, lie))
        await asyncio.wait_for(liar.lost.wait(), 5)
        assert stage.member.swarm.info_bytes is None
        other = await stage.greeted(1, peer_id=b"-XX0000-honesthonest")
        info = TORRENT.info_bytes
        row = ExtensionHandshake(ids={"ut_metadata": 6}, metadata_bytes=len(info))
        other.say(m.HaveAll(), m.Extended(0, encode_extension_handshake(row)))
        await other.until(lambda: [e for e in other.heard_of(m.Extended) if e.kind == 6])
        other.say(m.Extended(2, encode_metadata(MetadataMessage(DATA, 0, len(info), info))))
        assert await asyncio.wait_for(stage.member.swarm.metadata(), 5) == info

    play(scene, seed=False, magnet=True)


def test_a_description_is_asked_of_another_when_the_one_who_was_asked_leaves() -> None:
    """At once, not at the next tick of a second: who is dialled by two families is left by one."""

    async def scene(stage: Stage) -> None:
        info, loop = TORRENT.info_bytes, asyncio.get_running_loop()
        row = ExtensionHandshake(ids={"ut_metadata": 6}, metadata_bytes=len(info))
        introduction = m.Extended(0, encode_extension_handshake(row))
        first = await stage.greeted()
        first.say(m.HaveAll(), introduction)
        await first.until(lambda: [e for e in first.heard_of(m.Extended) if e.kind == 6])
        second = await stage.greeted(1, peer_id=b"-XX0000-stranger0002")
        second.say(m.HaveAll(), introduction)
        describing = stage.member.swarm.describing
        while describing._info is None or len(describing._info._peers) < 2:
            await asyncio.sleep(0.001)
        assert not [e for e in second.heard_of(m.Extended) if e.kind == 6]
        left_at = loop.time()
        first.transport.close()
        await second.until(lambda: [e for e in second.heard_of(m.Extended) if e.kind == 6])
        assert loop.time() - left_at < 0.4  # of simulated time

    play(scene, seed=False, magnet=True)


def test_what_a_peer_has_is_remembered_until_the_description_is_there() -> None:
    async def scene(stage: Stage) -> None:
        stranger = await stage.greeted()
        half = Bitfield(5)
        half.add(1)
        stranger.say(m.BitfieldMessage(bytes(half)), m.Have(3))
        info = TORRENT.info_bytes
        row = ExtensionHandshake(ids={"ut_metadata": 6}, metadata_bytes=len(info))
        stranger.say(m.Extended(0, encode_extension_handshake(row)))
        await stranger.until(lambda: [e for e in stranger.heard_of(m.Extended) if e.kind == 6])
        stranger.say(m.Extended(2, encode_metadata(MetadataMessage(DATA, 0, len(info), info))))
        await asyncio.wait_for(stage.member.describe(), 5)
        await stranger.until(lambda: stranger.heard_of(m.Interested))
        (peer,) = stage.member.swarm.peers.values()
        assert peer.downloader.feed is not None
        assert list(peer.downloader.feed.has) == [1, 3]

    play(scene, seed=False, magnet=True)


@pytest.mark.parametrize("private", [False, True])
def test_peers_learn_of_each_other_but_not_in_private_torrents(private: bool) -> None:
    with World(seed=9) as world:

        async def main() -> None:
            how: dict[str, Any] = {"settings": OPEN, "private": private, "up": 30_000.0}
            rows = [
                Member(world.host(f"m{at}"), TORRENT, "f", seed=at == 0, **how) for at in range(4)
            ]
            for row in rows:
                await row.start()
            for row in rows[1:]:
                row.knows(rows[0])
                await asyncio.sleep(0.3)
            await asyncio.sleep(3)
            assert [len(row.swarm.peers) for row in rows[1:]] == ([1] * 3 if private else [3] * 3)
            for row in rows:
                await row.close()

        world.run(main())
