"""Partitions that heal; machines that crash, stop and come back."""

from __future__ import annotations

import asyncio

import pytest

from sim.worlds import Ear, End, push, serve
from spinney.errors import ConnectError, NetworkError, StorageError
from spinney.sim import Constant, Link, SimHost, World


def three(**options: object) -> tuple[World, SimHost, SimHost, SimHost]:
    world = World(1, link=Link(latency=Constant(0.01)), **options)  # type: ignore[arg-type]
    return world, world.host("a"), world.host("b"), world.host("c")


def test_a_partition_cuts_two_sides_and_heals() -> None:
    world, a, b, c = three()

    async def main() -> None:
        ears = [await Ear().open(host, 7) for host in (a, b, c)]

        async def everybody_sends() -> list[int]:
            for ear in ears:
                ear.heard.clear()
                for host in (a, b, c):
                    if host is not ear.socket.host:
                        ear.socket.send(b"x", (host.address, 7))
            await asyncio.sleep(1)
            return [len(ear.heard) for ear in ears]

        assert await everybody_sends() == [2, 2, 2]
        cut = world.partition([a])
        assert await everybody_sends() == [0, 1, 1]
        second = world.partition([b], [c])
        assert await everybody_sends() == [0, 0, 0]
        cut.heal()
        cut.heal()
        assert await everybody_sends() == [2, 1, 1]
        second.heal()
        assert await everybody_sends() == [2, 2, 2]

    world.run(main())


def test_what_is_under_way_when_a_partition_begins_still_arrives() -> None:
    world, a, b, _ = three()

    async def main() -> None:
        ear, sender = await Ear().open(b, 7), await Ear().open(a)
        sender.socket.send(b"x", (b.address, 7))
        world.partition([a])
        await asyncio.sleep(1)
        assert ear.payloads == [b"x"]

    world.run(main())


def test_a_stream_outlives_a_short_partition_whole_and_in_order() -> None:
    world, a, b, _ = three()

    async def main() -> None:
        ends = await serve(b)
        transport, _ = await a.connect(End, (b.address, 80))
        transport.write(bytes(5_000_000))
        cut = world.partition([a])
        transport.write(bytes(5_000_000))
        transport.close()
        await asyncio.sleep(60)
        assert ends[0].size < 10_000_000
        cut.heal()
        when, error = await ends[0].done
        assert (error, ends[0].size) == (None, 10_000_000)
        assert when < 66, "it tries again at least every five seconds"

    world.run(main())


def test_a_stream_gives_up_in_a_long_partition() -> None:
    world, a, b, _ = three(give_up_s=30.0)

    async def main() -> None:
        await serve(b)
        transport, end = await a.connect(End, (b.address, 80))
        world.partition([a])
        transport.write(b"x")
        when, error = await end.done
        assert isinstance(error, TimeoutError)
        assert 30 <= when <= 36
        with pytest.raises(ConnectError):
            await a.connect(End, (b.address, 80), timeout_s=3)

    world.run(main())


def test_a_crash_ends_the_machines_code_and_nothing_that_it_does_then_has_an_effect() -> None:
    world, a, b, _ = three()
    seen: list[str] = []

    async def program() -> None:
        ear = await Ear().open(b, 7)
        asyncio.get_running_loop().call_later(2, seen.append, "a timer of the dead")
        asyncio.get_running_loop().call_soon(lambda: None)
        file = b.storage.open("file", "create")

        async def child() -> None:
            while True:
                await asyncio.sleep(0.3)
                seen.append("child")

        children = asyncio.create_task(child())
        try:
            await children
        finally:
            seen.append("finally")
            ear.socket.send(b"last words", (a.address, 7))
            with pytest.raises(StorageError):
                file.write(0, [b"last words"])
            with pytest.raises(NetworkError):
                await b.open_datagrams(ear, ("0.0.0.0", 8))

    async def main() -> None:
        heard = await Ear().open(a, 7)
        task = b.start(program())
        await asyncio.sleep(1)
        b.crash()
        b.crash()
        await asyncio.sleep(5)
        assert task.cancelled()
        assert seen == ["child"] * 3 + ["finally"]
        assert heard.payloads == []
        heard.socket.send(b"x", (b.address, 7))
        await asyncio.sleep(1)

    world.run(main())


def test_code_that_swallows_its_cancellation_is_left_behind() -> None:
    world, _a, b, _ = three()
    turns = 0

    async def stubborn() -> None:
        nonlocal turns
        while True:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                turns += 1

    async def main() -> None:
        b.start(stubborn())
        await asyncio.sleep(1)
        b.crash()
        await asyncio.sleep(1_000)
        assert 1 <= turns < 20

    world.run(main())
    world.close()


def test_callbacks_belong_to_the_machine_that_opened_the_socket() -> None:
    world, a, b, _ = three()
    ticks: list[float] = []

    class Starts(Ear):
        def datagrams_received(self, batch: object) -> None:
            async def beat() -> None:
                while True:
                    ticks.append(b.time())
                    await asyncio.sleep(1)

            self.task = asyncio.get_running_loop().create_task(beat())

    async def main() -> None:
        await Starts().open(b, 7)
        sender = await Ear().open(a)
        sender.socket.send(b"x", (b.address, 7))
        await asyncio.sleep(2.5)
        b.crash()
        await asyncio.sleep(10)
        assert len(ticks) == 3

    world.run(main())


def test_who_sends_to_a_crashed_machine_gives_up_and_to_a_restarted_one_is_reset() -> None:
    world, a, b, _ = three(give_up_s=60.0)

    async def main() -> None:
        errors = []
        for restart_after_s in (None, 20):
            await serve(b)
            transport, end = await a.connect(End, (b.address, 80))
            b.crash()
            transport.write(b"are you there?")
            if restart_after_s:
                await asyncio.sleep(restart_after_s)
                b.restart()
            errors.append(type((await end.done)[1]))
            if not b.is_up:
                b.restart()
        assert errors == [TimeoutError, ConnectionResetError]

    world.run(main())


def test_a_stopped_machine_says_goodbye_and_keeps_its_disk() -> None:
    world, a, b, _ = three()

    async def main() -> None:
        await serve(b)
        _, end = await a.connect(End, (b.address, 80))
        file = b.storage.open("file", "create")
        file.write(0, [b"kept"])
        b.stop()
        assert isinstance((await end.done)[1], ConnectionResetError)
        with pytest.raises(StorageError):
            b.storage.open("file", "read")
        b.restart()
        assert b.storage.open("file", "read").read(0, 100) == b"kept"
        with pytest.raises(StorageError):
            file.read(0, 1)
        assert b.lives == 2

    world.run(main())


def test_a_restarted_machine_has_its_address_and_free_ports() -> None:
    world, a, b, _ = three()

    async def program(ends: list[list[End]]) -> None:
        ends.append(await serve(b))
        await Ear(echo=True).open(b, 7)
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        ends: list[list[End]] = []
        for life in range(3):
            b.start(program(ends))
            await asyncio.sleep(0)
            await push(a, b, 1_000)
            ear = await Ear().open(a)
            ear.socket.send(b"x", (b.address, 7))
            assert (await ear.queue.get())[0] == b"re: x"
            await asyncio.sleep(1)
            assert ends[life][0].size == 1_000
            b.crash()
            ear.socket.send(b"x", (b.address, 7))
            with pytest.raises(ConnectError):
                await a.connect(End, (b.address, 80), timeout_s=2)
            assert len(ear.heard) == 1
            b.restart()

    world.run(main())


def test_a_machine_can_crash_itself() -> None:
    world, _a, b, _ = three()

    async def program() -> None:
        b.crash()
        await asyncio.sleep(1)
        pytest.fail("a dead machine went on")

    async def main() -> None:
        task = b.start(program())
        await asyncio.sleep(5)
        assert task.cancelled()

    world.run(main())
