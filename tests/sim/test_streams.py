"""Streams: fair shares of lines, windows, retransmission, ends; TLS."""

from __future__ import annotations

import asyncio

import pytest

from sim.worlds import Ear, End, push, serve
from spinney.errors import ConnectError
from spinney.sim import Constant, Link, SimHost, Uniform, World

MEGABYTE = 1_000_000


def transfers(
    world: World, pairs: list[tuple[SimHost, SimHost]], size: int = 4 * MEGABYTE
) -> list[float]:
    """Starts a transfer for each pair at once; the rates while all of them still run."""

    async def main() -> list[float]:
        targets = list(dict.fromkeys(target for _, target in pairs))
        for number, target in enumerate(targets):
            del number
            ends[target] = await serve(target)
        flows = []
        for source, target in pairs:
            transport, _ = await source.connect(End, (target.address, 80))
            transport.write(bytes(size))
            await asyncio.sleep(0)
            flows.append(ends[target][-1])
        await asyncio.sleep(1)
        before = [flow.size for flow in flows]
        await asyncio.sleep(2)
        return [(flow.size - size_then) / 2 for flow, size_then in zip(flows, before, strict=True)]

    ends: dict[SimHost, list[End]] = {}
    return world.run(main())


def hosts(world: World, **lines: Link) -> list[SimHost]:
    return [world.host(name, link=link) for name, link in lines.items()]


def test_a_single_stream_gets_the_whole_line() -> None:
    world = World(1)
    a, b = hosts(world, a=Link(up_bytes_per_s=MEGABYTE), b=Link())
    assert transfers(world, [(a, b)]) == pytest.approx([MEGABYTE], rel=0.02)


def test_streams_share_an_upload_evenly() -> None:
    world = World(1)
    a, *others = hosts(world, a=Link(up_bytes_per_s=MEGABYTE), b=Link(), c=Link(), d=Link())
    rates = transfers(world, [(a, other) for other in others])
    assert rates == pytest.approx([MEGABYTE / 3] * 3, rel=0.03)


def test_streams_share_a_download_evenly() -> None:
    world = World(1)
    *others, z = hosts(world, a=Link(), b=Link(), c=Link(), z=Link(down_bytes_per_s=MEGABYTE))
    rates = transfers(world, [(other, z) for other in others])
    assert rates == pytest.approx([MEGABYTE / 3] * 3, rel=0.03)


def test_what_one_cannot_use_the_others_get() -> None:
    # Max-min: b takes 0.1 of a's line, c and d share what is left.
    world = World(1, window_bytes=100_000)
    a, b, c, d = hosts(
        world,
        a=Link(up_bytes_per_s=MEGABYTE),
        b=Link(down_bytes_per_s=MEGABYTE / 10),
        c=Link(),
        d=Link(),
    )
    rates = transfers(world, [(a, b), (a, c), (a, d)])
    assert rates == pytest.approx([0.1 * MEGABYTE, 0.45 * MEGABYTE, 0.45 * MEGABYTE], rel=0.05)


def test_max_min_over_two_bottlenecks() -> None:
    # a sends to x and y; b sends to y.  y's line gives 0.3 each; a gives x the other 0.7.
    world = World(1, window_bytes=100_000)
    a, b, x, y = hosts(
        world,
        a=Link(up_bytes_per_s=MEGABYTE),
        b=Link(up_bytes_per_s=MEGABYTE),
        x=Link(),
        y=Link(down_bytes_per_s=0.6 * MEGABYTE),
    )
    rates = transfers(world, [(a, x), (a, y), (b, y)])
    wanted = [0.7 * MEGABYTE, 0.3 * MEGABYTE, 0.3 * MEGABYTE]
    assert rates == pytest.approx(wanted, rel=0.05)


def test_shares_change_when_a_stream_goes() -> None:
    world = World(1, link=Link())
    a, b, c = hosts(world, a=Link(up_bytes_per_s=MEGABYTE), b=Link(), c=Link())

    async def main() -> None:
        to_b, to_c = await serve(b), await serve(c)
        await push(a, b, MEGABYTE)
        await push(a, c, 2 * MEGABYTE)
        first, _ = await to_b[0].done
        last, _ = await to_c[0].done
        assert (first, last) == pytest.approx((2, 3), rel=0.02)

    world.run(main())


def test_datagrams_take_their_part_of_a_line_from_the_streams() -> None:
    world = World(1)
    a, b = hosts(world, a=Link(up_bytes_per_s=MEGABYTE), b=Link())

    async def main() -> None:
        ends = await serve(b)
        ear, sender = await Ear().open(b, 7), await Ear().open(a)
        transport, _ = await a.connect(End, (b.address, 80))
        transport.write(bytes(4 * MEGABYTE))
        for _ in range(300):
            sender.socket.send(bytes(2_972), (b.address, 7))
            await asyncio.sleep(0.01)
        assert len(ear.heard) == pytest.approx(300, abs=3)
        assert ends[0].size / a.time() == pytest.approx(0.7 * MEGABYTE, rel=0.05)

    world.run(main())


def test_a_window_bounds_a_stream_over_a_long_way() -> None:
    world = World(1, link=Link(latency=Constant(0.5)), window_bytes=100_000)
    a, b = hosts(world, a=Link(), b=Link())
    assert transfers(world, [(a, b)]) == pytest.approx([200_000], rel=0.01)


def test_a_receiver_that_does_not_read_stops_the_sender_and_loses_nothing() -> None:
    world = World(1, window_bytes=100_000)
    a, b = hosts(world, a=Link(), b=Link())

    async def main() -> None:
        ends = await serve(b)
        transport, end = await a.connect(End, (b.address, 80))
        ends[0].transport.pause_reading()
        transport.write(bytes(MEGABYTE))
        await asyncio.sleep(10)
        assert end.calls == ["pause"]
        assert ends[0].size <= 100_000
        assert transport.get_write_buffer_size() == MEGABYTE - 100_000
        transport.close()
        await asyncio.sleep(10)
        ends[0].transport.resume_reading()
        await ends[0].done
        assert ends[0].size == MEGABYTE

    world.run(main())


def test_loss_delays_a_stream_and_damages_nothing() -> None:
    times = []
    for loss in (0.0, 0.05):
        world = World(1, link=Link(latency=Uniform(0.01, 0.05), loss=loss))
        a, b = hosts(world, a=Link(up_bytes_per_s=MEGABYTE), b=Link())

        async def main(a: SimHost = a, b: SimHost = b) -> tuple[float, bytes]:
            got = bytearray()

            class Sink(End):
                def data_received(self, data: bytes) -> None:
                    got.extend(data)

            made: list[Sink] = []

            def factory() -> Sink:
                made.append(Sink())
                return made[-1]

            await b.listen(factory, ("0.0.0.0", 80))
            transport, _ = await a.connect(End, (b.address, 80))
            for number in range(5_000):
                transport.write(number.to_bytes(4, "big") * 10)
            transport.close()
            when, error = await made[0].done
            assert error is None
            return when, bytes(got)

        when, got = world.run(main())
        assert got == b"".join(number.to_bytes(4, "big") * 10 for number in range(5_000))
        times.append(when)
    assert times[1] > times[0] + 0.1


def test_half_close_and_the_order_of_calls() -> None:
    world = World(1)
    a, b = hosts(world, a=Link(), b=Link())

    class Answers(End):
        def eof_received(self) -> bool:
            self.transport.write(b"answer after the end")
            self.transport.close()
            return True

    async def main() -> None:
        await b.listen(Answers, ("0.0.0.0", 80))
        transport, end = await a.connect(End, (b.address, 80))
        transport.write(b"question")
        transport.write_eof()
        with pytest.raises(RuntimeError):
            transport.write(b"more")
        _, error = await end.done
        assert (error, end.size) == (None, len(b"answer after the end"))

    world.run(main())


def test_abort_resets_the_other_side() -> None:
    world = World(1)
    a, b = hosts(world, a=Link(), b=Link())

    async def main() -> None:
        ends = await serve(b)
        transport, end = await a.connect(End, (b.address, 80))
        transport.write(bytes(MEGABYTE))
        transport.abort()
        assert (await end.done)[1] is None
        assert isinstance((await ends[0].done)[1], ConnectionResetError)

    world.run(main())


def test_writing_to_a_side_that_has_closed_resets() -> None:
    world = World(1)
    a, b = hosts(world, a=Link(), b=Link())

    class Stays(End):
        def eof_received(self) -> bool:
            return True

    async def main() -> None:
        ends = await serve(b)
        transport, end = await a.connect(Stays, (b.address, 80))
        ends[0].transport.close()
        await asyncio.sleep(1)
        transport.write(b"nobody reads this")
        assert isinstance((await end.done)[1], ConnectionResetError)

    world.run(main())


def test_a_connection_attempt_survives_loss_and_has_its_time_limit() -> None:
    world = World(3, link=Link(latency=Constant(0.02), loss=0.5))
    a, b = hosts(world, a=Link(), b=Link())

    async def main() -> None:
        await serve(b)
        for _ in range(10):
            await a.connect(End, (b.address, 80), timeout_s=200)
        began = a.time()
        with pytest.raises(ConnectError):
            await a.connect(End, ("20.99.99.99", 80), timeout_s=5)
        assert a.time() - began == 5
        assert a._bound.keys() == {("tcp", port) for _, port in a._bound}

    world.run(main())


def test_a_hundred_streams_are_cheap() -> None:
    world = World(1)
    source = world.host("source", link=Link(up_bytes_per_s=10 * MEGABYTE))
    targets = [world.host(f"t{n}") for n in range(100)]

    async def main() -> None:
        ends = [await serve(target) for target in targets]
        for target in targets:
            await push(source, target, MEGABYTE)
        times = [(await end[0].done)[0] for end in ends]
        assert max(times) == pytest.approx(10, rel=0.5)
        assert sum(end[0].size for end in ends) == 100 * MEGABYTE

    world.run(main())
    assert world.loop.events < 30_000
