"""Who has everything is proven, not believed; one who lies ends neither share nor rationing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.bittorrent.members import Member, Stranger, Torrent

from spinney.bittorrent import messages as m
from spinney.bittorrent.settings import Settings
from spinney.net.live.host import LiveHost
from spinney.sim.world import World

TORRENT = Torrent(2 << 20, 65_536)
PIECES = TORRENT.descriptor.piece_count
OPEN = Settings(addresses=("0.0.0.0",))


async def claim(liar: Stranger, how: str) -> None:
    """Says that it has everything, in one of the ways that there are."""
    if how == "at once":
        liar.say(m.HaveAll())
    elif how == "bitfield":
        liar.say(m.BitfieldMessage(b"\xff" * (PIECES // 8)))
    else:
        liar.say(m.HaveNone(), m.Interested())
        if how == "after a block":
            await liar.until(lambda: liar.haves and liar.heard_of(m.Unchoke))
            liar.say(m.Request(liar.haves[0], 0, 16_384))
            await liar.until(lambda: liar.blocks)
        liar.say(*[m.Have(piece) for piece in range(PIECES)])


async def answer(liar: Stranger, data: Callable[[int, int, int], bytes] | None) -> None:
    """Lets itself be asked, and answers with `data`, or not at all."""
    liar.say(m.Unchoke())
    done = 0
    while not liar.lost.is_set():
        for row in liar.asked[done:]:
            if data is not None:
                liar.say(m.Piece(row[0], row[1], data(*row)))
        done = len(liar.asked)
        liar.news.clear()
        await liar.news.wait()


def rubbish(piece: int, begin: int, length: int) -> bytes:
    return b"\xee" * length


def truth(piece: int, begin: int, length: int) -> bytes:
    at = piece * 65_536 + begin
    return TORRENT.data[at : at + length]


async def lie(seed: Member, liar: Stranger, how: str) -> None:
    liar.greet(TORRENT.infohash)
    await claim(liar, how)
    try:
        await asyncio.wait_for(answer(liar, rubbish if how != "after a block" else None), 60)
    except TimeoutError:
        liar.transport.abort()


def in_a_world(scene: Callable[[World, Member], Awaitable[None]], up: float | None = 1e6) -> None:
    with World(seed=3) as world:

        async def main() -> None:
            seed = Member(world.host("seed"), TORRENT, "f", seed=True, up=up, settings=OPEN)
            await seed.start()
            seed.swarm.finishing.wanted = True
            await scene(world, seed)
            await seed.close()

        world.run(main())


@pytest.mark.parametrize("how", ["at once", "bitfield", "haves", "after a block"])
def test_a_liar_is_not_counted_and_does_not_end_the_rationing(how: str) -> None:
    async def scene(world: World, seed: Member) -> None:
        host = world.host("liar")
        await lie(seed, await Stranger.dial(host, seed.address), how)
        assert seed.swarm.status().finished_peers == 0
        assert seed.swarm.status().rationing
        rows = [Member(world.host(f"l{at}"), TORRENT, "f", settings=OPEN) for at in range(3)]
        for row in rows:
            await row.start()
            row.knows(
                seed, *[other for other in rows if other is not row and hasattr(other, "node")]
            )
        await asyncio.gather(*(row.wait(60) for row in rows))
        await asyncio.gather(*(row.close() for row in rows))
        assert seed.swarm.uploaded_bytes < 1.6 * len(TORRENT.data), "it rationed to the end"

    in_a_world(scene)


def test_each_who_has_everything_is_counted_once_also_when_it_leaves_at_once() -> None:
    async def scene(world: World, seed: Member) -> None:
        for at in range(3):
            row = await Member(world.host(f"l{at}"), TORRENT, f"f{at}", settings=OPEN).start()
            row.knows(seed)
            await row.wait(60)
            await row.close()
            assert seed.swarm.status().finished_peers == at + 1
        again = await Stranger.dial(world.hosts["l0"], seed.address)
        again.greet(TORRENT.infohash, b"-XX0000-otherpeerid-")
        again.say(m.HaveAll())
        await asyncio.wait_for(again.lost.wait(), 10)
        assert seed.swarm.status().finished_peers == 3, "addresses are counted, not peer ids"

    in_a_world(scene)


def test_one_who_came_with_everything_is_asked_for_a_proof() -> None:
    async def scene(world: World, seed: Member) -> None:
        other = await Stranger.dial(world.host("other"), seed.address)
        other.greet(TORRENT.infohash)
        other.say(m.HaveAll())
        proving = asyncio.ensure_future(answer(other, truth))
        await asyncio.wait_for(other.lost.wait(), 20)
        proving.cancel()
        assert other.heard_of(m.Interested)
        assert len(other.asked) <= 4
        assert seed.swarm.status().finished_peers == 1
        assert seed.swarm.rationing.active, "a seed elsewhere is no reason to send twice"

    in_a_world(scene)


@pytest.mark.parametrize("how", ["after it said so", "as it says so"])
def test_one_who_hangs_up_after_a_fair_share_is_believed(how: str) -> None:
    async def scene(world: World, seed: Member) -> None:
        other = await Stranger.dial(world.host("other"), seed.address)
        other.greet(TORRENT.infohash)
        other.say(m.HaveNone(), m.Interested())
        asked: set[int] = set()
        await other.until(lambda: other.heard_of(m.Unchoke), 15)
        while len(asked) < 24:
            new = [piece for piece in other.haves if piece not in asked]
            for piece in new:
                asked.add(piece)
                other.say(*[m.Request(piece, begin, 16_384) for begin in range(0, 65_536, 16_384)])
            await other.until(lambda: len(other.blocks) >= 4 * len(asked), 30)
            other.say(*[m.Have(piece) for piece in new])
            await asyncio.sleep(0.2)
        if how == "after it said so":
            other.say(*[m.Have(piece) for piece in range(PIECES) if piece not in asked])
            other.transport.close()
        else:  # the claim and the end come in one read, as from libtorrent
            (peer,) = seed.swarm.peers.values()
            other.transport.close()
            await asyncio.sleep(1)
            assert peer.connection.closed
            assert seed.transfer is not None
            seed.swarm.finishing.claimed(peer, seed.transfer)
        await asyncio.sleep(1)
        assert seed.swarm.status().finished_peers == 1

    in_a_world(scene, up=None)


def test_a_liar_and_a_proof_on_real_sockets(tmp_path: Path) -> None:
    async def main() -> None:
        host = LiveHost()
        local = Settings(addresses=("127.0.0.1",))
        folder = tmp_path / "seed"
        seed = Member(host, TORRENT, str(folder), seed=True, settings=local)
        await seed.start()
        seed.swarm.finishing.wanted = True
        liar = await Stranger.dial(host, seed.address)
        await lie(seed, liar, "at once")
        assert seed.swarm.status().finished_peers == 0
        assert seed.swarm.status().rationing
        leech = Member(host, TORRENT, str(tmp_path / "leech"), settings=local)
        await leech.start()
        leech.knows(seed)
        await leech.wait(20)
        await leech.close()
        assert seed.swarm.status().finished_peers == 1
        await seed.close()

    asyncio.run(main())
