"""The world itself: names, clocks, chance, traces, and worlds that end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from sim.worlds import Ear, push, serve
from spinney.errors import ResolveError
from spinney.sim import Link, Stalled, World


def test_a_trace_tells_every_arrival_and_loss_and_changes_nothing(tmp_path: Path) -> None:
    def play(trace: str | None) -> tuple[World, int]:
        world = World(5, link=Link(loss=0.3), trace=trace)
        a, b = world.host("a"), world.host("b")

        async def main() -> int:
            ear, sender = await Ear().open(b, 7), await Ear().open(a)
            await serve(b)
            for _ in range(100):
                sender.socket.send(b"hello", (b.address, 7))
            await push(a, b, 10_000)
            await asyncio.sleep(5)
            return len(ear.heard)

        heard = world.run(main())
        world.close()
        return world, heard

    plain, _ = play(None)
    path = tmp_path / "trace.jsonl"
    traced, heard = play(str(path))
    assert plain.digest() == traced.digest()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    by_event = {
        event: [row for row in rows if row["event"] == event]
        for event in ("datagram", "lost", "stream")
    }
    assert len(by_event["datagram"]) == heard
    assert len(by_event["lost"]) == 100 - heard
    assert sum(row["bytes"] for row in by_event["stream"]) == 10_000
    assert by_event["datagram"][0]["head"] == b"hello".hex()
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


def test_the_digest_counts_what_was_lost() -> None:
    def play(extra: int) -> str:
        world = World(5)
        a, b = world.host("a"), world.host("b")

        async def main() -> None:
            sender = await Ear().open(a)
            for port in range(1, 21):  # nobody listens: nothing arrives either way
                sender.socket.send(b"hello", (b.address, port))
            world.lost.extend([1] * extra)
            await asyncio.sleep(1)

        world.run(main())
        return world.digest()

    assert play(0) == play(0) != play(1)


def test_each_machine_has_choices_and_secrets_of_its_own() -> None:
    world, same, other = World(1), World(1), World(2)
    draws = {}
    for number, each in enumerate((world, same, other)):
        if each is same:
            each.host("another machine first")
        a, b = each.host("a"), each.host("b")
        draws[number] = [(host.rng.random(), host.entropy(200)) for host in (a, b)]
        assert a.entropy(16) != a.entropy(16)
        assert len(a.entropy(1_000)) == 1_000
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    assert draws[0][0] != draws[0][1]


def test_the_wall_clock_is_skewed_and_steps_and_the_other_does_not() -> None:
    world = World(1)
    a, b = world.host("a"), world.host("b", wall_skew_s=-3)

    async def main() -> None:
        assert a.wall_time() - b.wall_time() == 3
        before = a.wall_time()
        await asyncio.sleep(10)
        assert a.wall_time() - before == 10
        a.step_wall_time(-3_600)
        assert a.wall_time() - before == 10 - 3_600
        assert a.time() == b.time() == 10

    world.run(main())


def test_names_resolve_to_both_families() -> None:
    world = World(1, resolve_s=0.3)
    a, b = world.host("a"), world.host("b")
    world.names["tracker.example"] = ["20.1.1.1", "2600:20::1"]

    async def main() -> None:
        assert await a.resolve("tracker.example", 80) == [("20.1.1.1", 80), ("2600:20::1", 80)]
        assert a.time() == 0.3
        assert await a.resolve("Tracker.Example.", 80, family=6) == [("2600:20::1", 80)]
        assert (await a.resolve("b", 1))[0] == (b.address, 1)
        began = a.time()
        assert await a.resolve("1.2.3.4", 5) == [("1.2.3.4", 5)]
        assert a.time() == began
        for name, family in (("nobody.example", 0), ("1.2.3.4", 6)):
            with pytest.raises(ResolveError):
                await a.resolve(name, 5, family=family)  # type: ignore[arg-type]

    world.run(main())


def test_a_stalled_world_names_machine_and_connection() -> None:
    world = World(1)
    a = world.host("a")

    async def node() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        await a.start(node(), "node")

    with pytest.raises(Stalled, match=r"'a: node' on a at test_world.py"):
        world.run(main())


def test_a_world_runs_in_parts_and_ends() -> None:
    ended: list[str] = []
    with World(1) as world:
        a = world.host("a")

        async def forever() -> None:
            try:
                while True:
                    await asyncio.sleep(1)
            finally:
                ended.append("ended")

        async def main() -> asyncio.Task[None]:
            return a.start(forever())

        task = world.run(main())
        world.run_until(100.5)
        assert world.loop.time() == 100.5
        assert not task.done()
    assert ended == ["ended"]


def test_two_thousand_machines_share_their_ways() -> None:
    world = World(1)
    hosts = [world.host(f"h{n}") for n in range(2_000)]

    async def main() -> None:
        ears = [await Ear().open(host, 7) for host in hosts]
        for number, ear in enumerate(ears):
            ear.socket.send(b"x", (hosts[number - 1].address, 7))
        await asyncio.sleep(1)
        assert all(len(ear.heard) == 1 for ear in ears)

    world.run(main())
    assert len(world.ways._tables) == 1
