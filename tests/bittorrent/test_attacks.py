"""Every adversary against a transfer that is under way: it costs nothing but its own connection.

The honest peers finish in good time with the right bytes, nobody honest is blamed, no connection
is left over, memory stays bounded, the log stays clean.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tracemalloc
from random import Random

import pytest
from tests.bittorrent.adversaries import ADVERSARIES, Attack, describes_falsely, introduction
from tests.bittorrent.members import Member, Stranger, Torrent

from spinney.bittorrent import messages as m
from spinney.bittorrent.codec import encode
from spinney.bittorrent.metadata import MAX_SIZES
from spinney.bittorrent.settings import Settings
from spinney.bittorrent.swarm import PROOF_LEAVE_S
from spinney.errors import NetworkError
from spinney.sim.host import SimHost
from spinney.sim.world import World

OPEN = Settings(addresses=("0.0.0.0",), ration=False)
FILE = Torrent(1_300_000, 65_536)  # 20 pieces: a bitfield with four spare bits
UP = 60_000.0
"""A line so slow that the transfer lasts for as long as an attack: 22 seconds."""
GROWN_BYTES = 48 << 20
"""What an attack may cost at its height: attacker, line and victim are in one process here."""
HONEST_S = 23.0
"""How long it takes without an attack, and a little more."""


async def attacking(attack: Attack, name: str) -> None:
    with contextlib.suppress(NetworkError):
        await ADVERSARIES[name](attack)


async def settled(world: World, members: list[Member]) -> None:
    """All attackers have gone: nothing of them is left."""
    await asyncio.sleep(15)
    for member in members:
        assert len(member.node._opening) == 0
        assert member.node._open_connections == len(member.swarm.peers)
        assert len(member.swarm.candidates) <= 1_000


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ADVERSARIES)
def test_an_attack_costs_nothing_but_its_own_connection(
    name: str, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    measured = seed == 0
    if measured:
        tracemalloc.start()
    try:
        with World(seed=seed) as world:

            async def main() -> None:
                seeder = Member(world.host("seed"), FILE, "f", seed=True, settings=OPEN, up=UP)
                leech = Member(world.host("leech"), FILE, "f", settings=OPEN)
                await seeder.start()
                await leech.start()
                rng = Random(seed)
                attacks = [
                    Attack(world.host(f"a{at}"), member.address, FILE.infohash, 20, rng)
                    for at, member in enumerate((seeder, leech))
                ]
                running = [asyncio.create_task(attacking(attack, name)) for attack in attacks]
                await asyncio.sleep(0.5)
                leech.knows(seeder)
                began = world.loop.time()
                await leech.wait(90)
                assert world.loop.time() - began < HONEST_S
                assert leech.read_back() == FILE.data
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
                for task in running:
                    assert task.cancelled() or task.exception() is None, task.exception()
                banned = world.hosts["seed"].address
                assert not leech.swarm.candidates.banned(banned), "nobody honest is blamed"
                for attack in attacks:
                    attack.close()
                await settled(world, [seeder, leech])
                await leech.close()
                await seeder.close()

            world.run(main())
            if measured:
                assert tracemalloc.get_traced_memory()[1] < GROWN_BYTES
    finally:
        tracemalloc.stop()
    assert [row for row in caplog.records if row.levelno >= logging.WARNING] == []


# a connection that was closed


def test_one_who_does_not_read_cannot_stay_when_it_is_closed() -> None:
    with World(seed=4) as world:

        async def main() -> None:
            seeder = await Member(world.host("seed"), FILE, "f", seed=True, settings=OPEN).start()
            liar = await Stranger.dial(world.host("liar"), seeder.address)
            liar.greet(FILE.infohash)
            liar.say(m.HaveNone(), m.Interested())
            await liar.until(lambda: liar.heard_of(m.Unchoke), 20)
            liar.transport.pause_reading()
            blocks = [
                m.Request(piece, at * 16_384, 16_384) for piece in range(19) for at in range(4)
            ]
            for _ in range(8):
                liar.say(*blocks)
                await asyncio.sleep(0.5)
            (peer,) = seeder.swarm.peers.values()
            transport = peer.connection._transport
            assert transport is not None
            assert transport.get_write_buffer_size() > 0, "something waits to be sent"
            liar.transport.write(b"".join(encode(m.Have(piece)) for piece in range(20)))
            await asyncio.sleep(PROOF_LEAVE_S)  # it is interested: it might want a proof
            assert peer.connection.closed, "both have everything"
            await asyncio.sleep(12)
            assert not seeder.swarm.peers
            assert seeder.node._open_connections == 0
            await seeder.close()

        world.run(main())


def test_one_read_cannot_ask_for_more_metadata_than_memory_holds() -> None:
    big = Torrent(1_600_000, 1_024)  # 31 KB of description
    with World(seed=4) as world:

        async def main() -> None:
            seeder = await Member(world.host("seed"), big, "f", seed=True, settings=OPEN).start()
            attack = Attack(world.host("a"), seeder.address, big.infohash, 20, Random(1))
            stranger = await attack.greeted()
            stranger.say(introduction(ids={"ut_metadata": 7}))
            await asyncio.sleep(1)
            stranger.transport.pause_reading()
            request = encode(m.Extended(2, b"d8:msg_typei0e5:piecei0ee"))
            tracemalloc.start()
            stranger.transport.write(request * 700)
            await asyncio.sleep(3)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert most < 6 << 20, "not 11 MiB of answers, twice"
            assert len(seeder.swarm.peers) == 1, "the rest is rejected, no more"
            await seeder.close()

        world.run(main())


def test_tiny_pieces_that_were_asked_for_are_no_chatter() -> None:
    tiny = Torrent(160_000, 16)  # as many small files make them in a hybrid torrent
    with World(seed=4) as world:

        async def main() -> None:
            seeder = await Member(world.host("seed"), tiny, "f", seed=True, settings=OPEN).start()
            leech = await Member(world.host("leech"), tiny, "f", settings=OPEN).start()
            leech.knows(seeder)
            await leech.wait(30)
            assert leech.swarm.downloaded_bytes == 160_000
            assert leech.done_at is not None
            assert leech.done_at < 3.0, "nobody was dropped for it"
            await leech.close()
            await seeder.close()

        world.run(main())


# places


def public(world: World, number: int) -> SimHost:
    return world.host(f"crowd{number}")


def test_a_crowd_that_came_first_does_not_keep_us_from_the_peer_that_we_were_told_of() -> None:
    """A hundred addresses, greeted and interested, hold all places for strangers."""
    settings = Settings(addresses=("0.0.0.0",), connections_per_swarm=12, ration=False)
    with World(seed=5) as world:

        async def main() -> None:
            seeder = await Member(world.host("seed"), FILE, "f", seed=True, settings=OPEN).start()
            leech = await Member(world.host("leech"), FILE, "f", settings=settings).start()
            crowd = []
            for number in range(100):
                stranger = await Stranger.dial(public(world, number), leech.address)
                stranger.greet(FILE.infohash, b"-XX0000-%012d" % number)
                stranger.say(m.HaveNone(), m.Interested())
                crowd.append(stranger)
            await asyncio.sleep(2)
            assert len(leech.swarm.peers) == 9
            leech.knows(seeder)
            await leech.wait(30)
            assert leech.read_back() == FILE.data
            await leech.close()
            await seeder.close()

        world.run(main())


def test_those_who_only_wait_make_room_for_a_newcomer() -> None:
    settings = Settings(addresses=("0.0.0.0",), connections_per_swarm=12, ration=False)
    with World(seed=6) as world:

        async def main() -> None:
            seeder = await Member(
                world.host("seed"), FILE, "f", seed=True, settings=settings
            ).start()
            for number in range(40):
                stranger = await Stranger.dial(public(world, number), seeder.address)
                stranger.greet(FILE.infohash, b"-XX0000-%012d" % number)
                stranger.say(m.HaveNone(), m.Interested())
            leech = await Member(world.host("leech"), FILE, "f", settings=OPEN).start()
            leech.knows(seeder)
            await leech.wait(300)
            await leech.close()
            await seeder.close()

        world.run(main())


def test_the_oldest_of_those_who_say_nothing_makes_room() -> None:
    settings = Settings(addresses=("0.0.0.0",), ration=False, connections_per_address=1_000)
    with World(seed=7) as world:

        async def main() -> None:
            seeder = await Member(
                world.host("seed"), FILE, "f", seed=True, settings=settings
            ).start()
            silent = world.host("silent")
            for _ in range(settings.handshakes + 6):
                await Stranger.dial(silent, seeder.address)
            honest = await Stranger.dial(world.host("honest"), seeder.address)
            honest.greet(FILE.infohash)
            await honest.until(lambda: honest.handshake, 2)
            assert len(seeder.node._opening) <= settings.handshakes
            await seeder.close()

        world.run(main())


def test_addresses_of_one_network_are_counted_together() -> None:
    settings = Settings(addresses=("::",), ration=False)
    with World(seed=8) as world:

        async def main() -> None:
            node = world.host("seed", addresses=["2a01:db9::1"])
            seeder = await Member(node, FILE, "f", seed=True, settings=settings).start()
            for number in range(60):
                host = world.host(f"h{number}", addresses=[f"2a02:db9::{number + 1:x}"])
                stranger = await Stranger.dial(host, ("2a01:db9::1", seeder.node.port))
                stranger.greet(FILE.infohash, b"-XX0000-%012d" % number)
            await asyncio.sleep(3)
            assert len(seeder.swarm.peers) == settings.connections_per_network
            await seeder.close()

        world.run(main())


# magnet links


def magnet(*lies: tuple[int, str], torrent: Torrent, within_s: float) -> None:
    """Liars come first, then one honest seed: the description arrives, and then the data."""
    with World(seed=9) as world:

        async def main() -> None:
            leech = Member(world.host("leech"), torrent, "f", magnet=True, settings=OPEN)
            await leech.start()
            running = []
            for number, (size, answers) in enumerate(lies):
                host = world.host(f"liar{number}")
                attack = Attack(host, leech.address, torrent.infohash, 20, Random(number))
                running.append(asyncio.create_task(describes_falsely(attack, size, answers)))
            await asyncio.sleep(1)
            seeder = Member(world.host("seed"), torrent, "f", seed=True, settings=OPEN)
            await seeder.start()
            leech.knows(seeder)
            await asyncio.wait_for(leech.describe(), within_s)
            await leech.wait(120)
            assert leech.read_back() == torrent.data
            for task in running:
                task.cancel()
            await leech.close()
            await seeder.close()

        world.run(main())


SMALL = Torrent(1_300_000, 65_536)
LONG = Torrent(1_700_000, 1_024)  # three pieces of description


@pytest.mark.parametrize("answers", ["wrong", "no", "late", "never"])
def test_a_false_length_holds_nobody_up(answers: str) -> None:
    magnet((9_999_999, answers), (5, answers), torrent=SMALL, within_s=5)


@pytest.mark.parametrize("answers", ["wrong", "no", "late", "never"])
def test_the_right_length_and_a_false_description(answers: str) -> None:
    size = len(LONG.info_bytes)
    magnet((size, answers), (size, answers), torrent=LONG, within_s=150)


def test_made_up_lengths_that_are_answered_slowly_do_not_hold_every_place() -> None:
    lies = [(9_000_000 + number, "late") for number in range(MAX_SIZES + 1)]
    magnet(*lies, torrent=SMALL, within_s=90)
