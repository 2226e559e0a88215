"""Whole swarms of real nodes in the simulator, over several seeds."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.bittorrent.members import Member, Torrent

from spinney.bittorrent.settings import Settings
from spinney.sim.links import Constant, Link, Uniform
from spinney.sim.world import World

OPEN = Settings(addresses=("0.0.0.0",))
FILE = Torrent(8 << 20, 65_536)
NEAR = Link(latency=Uniform(0.002, 0.02))


class Watch:
    """What each member sent, second by second."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members
        self.rows: list[list[int]] = []

    async def run(self) -> None:
        while True:
            self.rows.append([member.swarm.uploaded_bytes for member in self.members])
            await asyncio.sleep(1.0)

    def most_in_a_second(self) -> int:
        pairs = zip(self.rows, self.rows[1:], strict=False)
        return max(b - a for one, two in pairs for a, b in zip(one, two, strict=True))


def swarm(
    seed: int,
    *,
    leechers: int = 8,
    settings: Settings = OPEN,
    up: float | None = 1.5e6,
    down: float | None = None,
    torrent: Torrent = FILE,
    link: Link = NEAR,
) -> tuple[float, float, Watch, list[Member]]:
    """Runs one swarm; returns the seconds of the last, copies that left the seed, the watch."""
    with World(seed=seed, link=link) as world:
        members = [
            Member(
                world.host(f"m{at}"),
                torrent,
                "f",
                seed=at == 0,
                settings=settings,
                up=up,
                down=down,
            )
            for at in range(leechers + 1)
        ]
        watch = Watch(members)

        async def main() -> float:
            for member in members:
                await member.start()
            watching = asyncio.ensure_future(watch.run())
            began = world.loop.time()
            for member in members[1:]:
                member.knows(members[0])
            await asyncio.gather(*(member.wait(600) for member in members[1:]))
            last = world.loop.time() - began
            watching.cancel()
            for member in members[1:]:
                assert member.read_back() == torrent.data
            for member in members:
                await member.close()
            return last

        last = world.run(main())
    return last, members[0].swarm.uploaded_bytes / len(torrent.data), watch, members


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_young_swarm_ends_near_the_fluid_bound(seed: int) -> None:
    last, copies, watch, members = swarm(seed)
    size = len(FILE.data)
    bound = max(size / 1.5e6, 8 * size / (1.5e6 * 9))
    assert last < 1.5 * bound
    assert copies < 1.4
    assert watch.most_in_a_second() <= 1.5e6 * 1.1 + 16_384
    sent = sum(member.swarm.uploaded_bytes for member in members)
    taken = sum(member.swarm.downloaded_bytes for member in members)
    assert taken <= sent <= taken * 1.05
    assert taken < 8 * size * 1.15, "hardly anything is fetched twice"


def test_the_lever_is_what_does_it() -> None:
    with_it = swarm(4)
    without = swarm(4, settings=replace(OPEN, ration=False))
    assert with_it[1] < without[1] - 0.1
    assert with_it[0] < without[0]


def test_a_single_leecher_is_not_slowed_by_rationing() -> None:
    link = Link(latency=Constant(0.02), up_bytes_per_s=20e6, down_bytes_per_s=20e6)
    one = swarm(1, leechers=1, up=None, link=link)
    two = swarm(1, leechers=1, up=None, link=link, settings=replace(OPEN, ration=False))
    assert one[0] < two[0] * 1.1 + 0.05


def test_a_download_limit_holds_and_is_used() -> None:
    small = Torrent(2 << 20, 65_536)
    last, _, watch, _ = swarm(1, leechers=1, up=None, down=500e3, torrent=small)
    ideal = len(small.data) / 500e3
    assert ideal * 0.9 < last < ideal * 1.1
    assert watch.most_in_a_second() < 2.5 * 500e3, "the sender is slowed by flow control"


def test_an_upload_limit_is_shared_fairly() -> None:
    with World(seed=2) as world:

        async def main() -> list[int]:
            settings = replace(OPEN, exchange=False, ration=False)
            seed = Member(world.host("s"), FILE, "f", seed=True, up=400e3, settings=settings)
            await seed.start()
            leechers = [
                Member(world.host(f"l{at}"), FILE, "f", settings=settings) for at in range(4)
            ]
            for leecher in leechers:
                await leecher.start()
                leecher.knows(seed)
            await asyncio.sleep(20)
            got = [leecher.swarm.downloaded_bytes for leecher in leechers]
            assert 0.9 * 400e3 * 20 < sum(got) < 1.02 * 400e3 * 20 + 65_536
            for member in (seed, *leechers):
                await member.close()
            return got

        got = world.run(main())
    assert max(got) < 1.15 * min(got)


def test_the_same_seed_gives_the_same_swarm() -> None:
    one, two = swarm(5, leechers=4), swarm(5, leechers=4)
    assert one[0] == two[0]
    assert one[2].rows == two[2].rows


def test_a_seed_that_comes_back_and_a_leecher_that_dies() -> None:
    torrent = Torrent(4 << 20, 65_536)
    with World(seed=11) as world:

        async def main() -> None:
            seed = await Member(
                world.host("s"), torrent, "f", seed=True, up=1e6, settings=OPEN
            ).start()
            rows = [Member(world.host(f"l{at}"), torrent, "f", settings=OPEN) for at in range(3)]
            for row in rows:
                await row.start()
                row.knows(seed)
            await asyncio.sleep(1.5)
            world.hosts["l0"].crash()
            await asyncio.gather(*(row.wait(300) for row in rows[1:]))
            for member in (seed, *rows[1:]):
                await member.close()

        world.run(main())


def test_two_seeds_have_nothing_to_say_to_each_other() -> None:
    settings = replace(OPEN, ration=False)
    with World(seed=12) as world:

        async def main() -> None:
            a = await Member(world.host("a"), FILE, "f", seed=True, settings=settings).start()
            b = await Member(world.host("b"), FILE, "f", seed=True, settings=settings).start()
            a.knows(b)
            await asyncio.sleep(4)
            assert not a.swarm.peers
            assert not b.swarm.peers
            await a.close()
            await b.close()

        world.run(main())


def test_dropped_peers_are_gone_and_only_new_ones_are_met() -> None:
    """What a private torrent does when its tracker changes (BEP 27)."""
    with World(seed=14) as world:

        async def main() -> None:
            rows = [
                await Member(
                    world.host(name),
                    FILE,
                    "f",
                    seed=name == "old",
                    up=1e5,
                    settings=OPEN,
                    private=True,
                ).start()
                for name in ("us", "old", "new")
            ]
            us, old, new = rows
            us.swarm.found([old.address], "tracker:10.0.0.99")
            await asyncio.sleep(1)
            assert [peer.connection.remote for peer in us.swarm.peers.values()] == [old.address]
            us.swarm.found([("10.99.0.1", 9)], "tracker:10.0.0.99")
            us.swarm.drop_peers("another tracker")
            us.swarm.found([new.address], "tracker:10.0.0.98")
            await asyncio.sleep(5)
            met = [p.connection for p in us.swarm.peers.values() if p.connection.outgoing]
            assert [connection.remote for connection in met] == [new.address]
            assert ("10.99.0.1", 9) not in us.swarm.candidates._rows
            for row in rows:
                await row.close()

        world.run(main())
