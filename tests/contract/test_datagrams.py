"""D1 to D9 and D14 to D18: datagrams and bursts (multicast: test_multicast.py)."""

from __future__ import annotations

import asyncio
import os

import pytest

from contract.machines import Ear, Machines, closing
from spinney.net.host import Address, Buffer, DatagramOptions, DatagramReceiver, Datagrams

BOTH = pytest.mark.parametrize("family", [4, 6])


async def opened(
    machines: Machines, *, family: int = 4, options: DatagramOptions | None = None
) -> tuple[Datagrams, Datagrams, Ear, Ear]:
    """A socket of `a` and one of `b`, with the ears behind them."""
    near, far = machines.addresses(family)
    options = options or DatagramOptions()
    ears = Ear(), Ear()
    one = await machines.a.open_datagrams(ears[0], (near, 0), options)
    other = await machines.b.open_datagrams(ears[1], (far, 0), options)
    return one, other, *ears


def test_d1_send_never_blocks_and_counts_what_it_drops(slow_machines: Machines) -> None:
    machines = slow_machines

    async def check() -> None:
        one, other, _, ear = await opened(
            machines, options=DatagramOptions(send_buffer_bytes=1 << 16)
        )
        with closing(one, other):
            began = machines.a.time()
            sent = 0
            while not one.dropped and sent < 4_000:
                one.send(bytes([sent % 256]) * 1_000, other.local_address)
                sent += 1
            assert one.dropped == 1, "4 MB went into a line of 4 MB/s at once"
            assert machines.a.time() - began < 1.0
            await ear.until(sent - 1)
            assert ear.payloads == [bytes([n % 256]) * 1_000 for n in range(sent - 1)]

    machines.run(check())


def test_d2_send_many(machines: Machines) -> None:
    async def check() -> None:
        one, other, _, ear = await opened(machines)
        third_ear = Ear()
        third = await machines.b.open_datagrams(third_ear, (machines.four[1], 0))
        with closing(one, other, third):
            some: list[Buffer] = [b"0", bytearray(b"11"), memoryview(b"222")]
            rows = some * 10
            to: list[Address] = [other.local_address, other.local_address, third.local_address]
            assert one.send_many(list(zip(rows, to * 10, strict=True))) == 30
            assert await ear.until(20) == [b"0", b"11"] * 10
            assert await third_ear.until(10) == [b"222"] * 10
            assert one.send_many([]) == 0

    machines.run(check())


def test_d2_it_stops_where_there_is_no_room(slow_machines: Machines) -> None:
    machines = slow_machines

    async def check() -> None:
        one, other, _, ear = await opened(
            machines, options=DatagramOptions(send_buffer_bytes=1 << 16)
        )
        with closing(one, other):
            rows = [(n.to_bytes(2, "big") * 500, other.local_address) for n in range(2_000)]
            taken = one.send_many(rows)
            assert 0 < taken < 2_000
            assert one.dropped == 0
            await ear.until(taken)
            await one.writable()
            assert one.send_many(rows[taken : taken + 5]) == 5
            await ear.until(taken + 5)
            assert ear.payloads == [data for data, _ in rows[: taken + 5]]

    machines.run(check())


@BOTH
def test_d3_a_burst_is_cut_into_segments(machines: Machines, family: int) -> None:
    async def check() -> None:
        for bursts in (False, True):
            one, other, _, ear = await opened(
                machines, family=family, options=DatagramOptions(bursts=bursts)
            )
            to = other.local_address
            pattern = bytes(range(256)) * 400
            with closing(one, other):
                for size, segment in [
                    (0, 100), (1, 100), (100, 100), (101, 100), (55_000, 1_400),
                    (102_400, 1_200), (3_000, 65_507), (102_400, 40_000),
                ]:  # fmt: skip
                    data = memoryview(pattern)[:size]
                    # Headers and payloads of any length: cuts fall where they may.
                    buffers: list[Buffer] = [
                        data[:3],
                        bytearray(data[3:50]),
                        data[50:2_000],
                        data[2_000:],
                    ]
                    pieces = [bytes(data[at : at + segment]) for at in range(0, size, segment)]
                    already = len(ear.heard)
                    assert one.send_burst(buffers, segment, to) == len(pieces)
                    await ear.until(already + len(pieces))
                    assert ear.payloads[already:] == pieces
                many = [bytes([n]) * 10 for n in range(250)] * 5
                assert one.send_burst(many, 10, to) == 1_250
                await ear.until(already + len(pieces) + 1_250)
                assert ear.payloads[-1_250:] == many
                assert {remote for _, remote, _ in ear.heard} == {one.local_address}

    machines.run(check())


def test_d4_a_burst_tells_how_much_was_taken(slow_machines: Machines) -> None:
    machines = slow_machines

    async def check() -> None:
        one, other, _, ear = await opened(
            machines, options=DatagramOptions(send_buffer_bytes=1 << 16)
        )
        with closing(one, other):
            data = b"".join(n.to_bytes(2, "big") * 500 for n in range(1_000)) + b"short"
            done, calls = 0, 0
            while done < 1_001:
                taken = one.send_burst([data[done * 1_000 :]], 1_000, other.local_address)
                assert 0 <= taken <= 1_001 - done
                done, calls = done + taken, calls + 1
                if done < 1_001:
                    await one.writable()
            assert calls > 1
            assert b"".join(await ear.until(1_001)) == data
            assert one.dropped == 0

    machines.run(check())


def test_d5_writable(slow_machines: Machines) -> None:
    machines = slow_machines

    async def check() -> None:
        one, other, _, _ = await opened(
            machines, options=DatagramOptions(send_buffer_bytes=1 << 16)
        )
        with closing(one, other):
            await asyncio.wait_for(one.writable(), 1.0)
            row = (b"x" * 1_000, other.local_address)
            while one.send_many([row] * 100) == 100:
                pass
            waits = [asyncio.ensure_future(one.writable()) for _ in range(3)]
            cancelled = asyncio.ensure_future(one.writable())
            await asyncio.sleep(0)
            assert not any(wait.done() for wait in waits)
            cancelled.cancel()
            await asyncio.wait_for(asyncio.gather(*waits), 5.0)
            assert one.send_many([row]) == 1
            while one.send_many([row] * 100) == 100:
                pass
            waiting = asyncio.ensure_future(one.writable())
            await asyncio.sleep(0)
            one.close()
            await asyncio.wait_for(waiting, 1.0)

    machines.run(check())


def test_d6_batches_in_order(machines: Machines) -> None:
    async def check() -> None:
        one, other, _, ear = await opened(machines)
        with closing(one, other):
            rows = [n.to_bytes(2, "big") for n in range(600)]
            for row in rows:
                one.send(row, other.local_address)
            assert await ear.until(600) == rows
            assert all(batch for batch in ear.batches)
            assert {remote for _, remote, _ in ear.heard} == {one.local_address}

    machines.run(check())


@BOTH
def test_d7_an_empty_datagram(machines: Machines, family: int) -> None:
    async def check() -> None:
        for info in (False, True):
            one, other, _, ear = await opened(
                machines, family=family, options=DatagramOptions(packet_info=info, bursts=info)
            )
            with closing(one, other):
                for row in (b"", b"x", b""):
                    one.send(row, other.local_address)
                assert await ear.until(3) == [b"", b"x", b""]

    machines.run(check())


def test_d8_the_largest_datagram(machines: Machines) -> None:
    async def check() -> None:
        one, other, _, ear = await opened(machines)
        with closing(one, other):
            whole = bytes(range(251)) * 261
            for size in (1_473, 9_000, 65_506, 65_507):
                one.send(whole[:size], other.local_address)
            one.send(whole[:65_508], other.local_address)
            one.send(b"end", other.local_address)
            rows = await ear.until_heard(b"end")
            assert rows == [*(whole[:size] for size in (1_473, 9_000, 65_506, 65_507)), b"end"]

    machines.run(check())


@BOTH
def test_d9_local_address(machines: Machines, family: int) -> None:
    async def check() -> None:
        host = machines.addresses(family)[0]
        one = await machines.a.open_datagrams(Ear(), (host, 0))
        assert one.local_address[0] == host
        assert 0 < one.local_address[1] < 65_536
        assert type(one.local_address) is tuple
        wild = await machines.a.open_datagrams(Ear(), ("0.0.0.0" if family == 4 else "::", 0))
        assert wild.local_address[0] == ("0.0.0.0" if family == 4 else "::")
        assert wild.local_address[1] not in (0, one.local_address[1])
        one.close()
        wild.close()
        await asyncio.sleep(0)  # asyncio's own endpoint closes its socket a turn later
        again = await machines.a.open_datagrams(Ear(), one.local_address)
        assert again.local_address == one.local_address
        again.close()

    machines.run(check())


def test_d14_after_close(machines: Machines) -> None:
    async def check() -> None:
        one, other, ear, far_ear = await opened(machines)
        there = other.local_address
        other.send(b"too late", one.local_address)
        one.close()
        one.close()
        one.send(b"x", there)
        assert one.send_many([(b"x", there)]) in (0, 1)
        assert one.send_burst([b"x" * 10], 5, there) in (0, 2)
        await asyncio.wait_for(one.writable(), 1.0)
        probe = await machines.a.open_datagrams(Ear(), (machines.four[0], 0))
        probe.send(b"end", there)
        assert await far_ear.until_heard(b"end") == [b"end"]
        assert ear.heard == []
        assert ear.errors == []
        probe.close()
        other.close()

    machines.run(check())


def test_d14_closed_by_its_own_callback(machines: Machines) -> None:
    async def check() -> None:
        calls: list[int] = []
        done = asyncio.Event()

        class Closing(DatagramReceiver):
            def datagrams_received(self, batch: list[tuple[bytes, Address, int]]) -> None:
                calls.append(len(batch))
                target.close()
                done.set()

        options = DatagramOptions(bursts=True)
        target = await machines.b.open_datagrams(Closing(), (machines.four[1], 0), options)
        mouth = await machines.a.open_datagrams(Ear(), (machines.four[0], 0))
        for size in (1, 2, 3):
            mouth.send_burst([b"x" * 1_000 * size], 1_000, target.local_address)
            mouth.send(b"y", target.local_address)
        await done.wait()
        await asyncio.sleep(0.02)
        assert len(calls) == 1
        mouth.close()

    machines.run(check())


def test_d15_sending_to_nobody(machines: Machines) -> None:
    async def check() -> None:
        one, other, ear, far_ear = await opened(machines)
        gone = await machines.b.open_datagrams(Ear(), (machines.four[1], 0))
        nobody = gone.local_address
        gone.close()
        wrong: list[Address] = [
            nobody,
            (machines.four[1], 0),
            (machines.four[1], 70_000),
            ("no address", 1),
            ("fe80::1%nowhere9", 1),
            (machines.six[1], 1),
            ("255.255.255.255", 9),
        ]
        with closing(one, other):
            for address in wrong:
                one.send(b"x", address)
                one.send_many([(b"x", address)])
                one.send_burst([b"x" * 300], 100, address)
                assert ear.errors == [], "an error was told from within send"
                await asyncio.sleep(0.001)
                ear.errors.clear()
            one.send(b"end", other.local_address)
            assert await far_ear.until_heard(b"end") == [b"end"]

    machines.run(check())


@BOTH
def test_d16_packet_info(machines: Machines, family: int) -> None:
    async def check() -> None:
        options = DatagramOptions(packet_info=True)
        index = {row.name: row.index for row in machines.b.interfaces()}[machines.interface]
        far = machines.addresses(family)[1]
        for local in (far, "0.0.0.0" if family == 4 else "::"):
            ear = Ear()
            mouth = await machines.a.open_datagrams(Ear(), (machines.addresses(family)[0], 0))
            other = await machines.b.open_datagrams(ear, (local, 0), options)
            with closing(mouth, other):
                mouth.send(b"x", (far, other.local_address[1]))
                await ear.until(1)
                plain = machines.side != "sim" and os.environ.get("SPINNEY_PLAIN_IO") == "1"
                known = not (plain or machines.side == "plain") or local == far
                assert ear.heard[0][2] == (index if known else 0)
                assert ear.heard[0][1] == mouth.local_address

    machines.run(check())


@BOTH
def test_d17_path_mtu(machines: Machines, family: int) -> None:
    async def check() -> None:
        one, other, _, ear = await opened(machines, family=family)
        with closing(one, other):
            mtu = one.path_mtu(other.local_address)
            link = {row.name: row.mtu for row in machines.a.interfaces()}[machines.interface]
            assert mtu == min(link - (28 if family == 4 else 48), 65_507)
            one.send(b"x" * mtu, other.local_address)
            assert [len(row) for row in await ear.until(1)] == [mtu]
            assert one.path_mtu(("no address", 1)) > 500

    machines.run(check())


def test_d18_what_the_receive_buffer_had_no_room_for_is_counted(machines: Machines) -> None:
    async def check() -> None:
        one, other, _, ear = await opened(
            machines, options=DatagramOptions(receive_buffer_bytes=4_096)
        )
        with closing(one, other):
            for number in range(100):  # without a turn of the loop: nobody takes them out
                one.send(bytes([number]) * 1_000, other.local_address)
            await asyncio.sleep(0.05)
            one.send(b"last", other.local_address)
            heard = await ear.until_heard(b"last")
            assert other.overflowed + one.dropped + len(heard) == 101
            assert other.overflowed > 0 or len(heard) == 101
            before = other.overflowed
        assert other.overflowed == before
        assert one.overflowed == 0

    machines.run(check())
