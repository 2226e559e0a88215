"""G1 to G9: the sentences of `groups/group.py`, on every implementation.

One docstring is enough here: each check's sentence is in `group.py`.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from groups.sides import Member, Side
from spinney.errors import NetworkError
from spinney.groups.group import MAX_PAYLOAD_BYTES
from spinney.net.host import Address


def test_g1_what_one_sends_all_others_receive(side: Side) -> None:
    async def check() -> None:
        async with side.joined() as (groups, members):
            rows = [[bytes([n, at]) * 40 for n in range(50)] for at in range(3)]
            for n in range(50):
                for at, group in enumerate(groups):
                    group.send(rows[at][n])
            for at, member in enumerate(members):
                heard = await member.until(100)
                for other in range(3):
                    mine = [each for each in heard if each[1] == other]
                    assert mine == ([] if other == at else rows[other])

    side.run(check())


def test_g1_senders_are_told_apart(side: Side) -> None:
    async def check() -> None:
        async with side.joined() as (groups, members):
            sources: set[tuple[bytes, Address]] = set()
            while len({sender for _, sender in sources}) < 2:  # once all are known to all
                members[2].heard.clear()
                groups[0].send(b"a")
                groups[1].send(b"b")
                await members[2].until(2)
                sources = set(members[2].heard)
                await asyncio.sleep(0.1)
            assert len(sources) == 2
            if side.kind == "fan":
                assert sources == {
                    (b"a", groups[0].local_address),
                    (b"b", groups[1].local_address),
                }

    side.run(check())


def test_g1_only_in_its_group(side: Side) -> None:
    async def check() -> None:
        async with side.three() as (one, other, _):
            first, second = one.candidate(side.hosts()[0].rng), one.candidate(side.hosts()[0].rng)
            assert first != second
            near, far = [Member(), Member()], [Member(), Member()]
            groups = [await one.join(a, m) for a, m in zip((first, second), near, strict=True)]
            groups += [await other.join(a, m) for a, m in zip((first, second), far, strict=True)]
            groups[0].send(b"to the first")
            groups[1].send(b"to the second")
            assert await far[0].until(1) == [b"to the first"]
            assert await far[1].until(1) == [b"to the second"]
            for group in groups:
                group.close()

    side.run(check())


def test_g2_not_itself_but_others_on_the_same_machine(side: Side) -> None:
    async def check() -> None:
        async with side.joined() as (groups, members):
            groups[0].send(b"from one program")
            assert await members[2].until(1) == [b"from one program"]
            groups[2].send(b"from the other")
            assert await members[0].until(1) == [b"from the other"]
            assert await members[1].until(2) == [b"from one program", b"from the other"]
            assert members[2].payloads == [b"from one program"]

    side.run(check())


def test_g3_send_never_blocks_and_counts_what_it_drops(slow_side: Side) -> None:
    side = slow_side

    async def check() -> None:
        async with side.joined() as (groups, _):
            began = time.monotonic()
            sent = 0
            while not groups[0].dropped and sent < 8_000:
                groups[0].send(bytes([sent % 256]) * 1_000)
                sent += 1
            assert groups[0].dropped >= 1, "8 MB went into a line of 2 MB/s at once"
            assert sent > 10
            assert time.monotonic() - began < 2.0

    side.run(check())


def test_g4_a_burst(side: Side) -> None:
    async def check() -> None:
        async with side.joined() as (groups, members):
            pattern = bytes(range(256)) * 100
            wanted: list[bytes] = []
            for sender in (0, 1):
                for size, segment in ((1, 100), (100, 100), (101, 100), (14_240, 1_424)):
                    data = memoryview(pattern)[:size]
                    pieces = [bytes(data[at : at + segment]) for at in range(0, size, segment)]
                    wanted += pieces
                    # Headers and payloads in buffers of their own: cuts fall where they may.
                    buffers = [data[:3], bytearray(data[3:50]), data[50:2_000], data[2_000:]]
                    assert groups[sender].send_burst(buffers, segment) == len(pieces)
                    assert groups[sender].send_burst([data[:0]], segment) == 0
                    await members[2].until(len(wanted))
            assert members[2].payloads == wanted
            half = len(wanted) // 2
            assert await members[1].until(half) == wanted[:half]
            assert await members[0].until(half) == wanted[half:]

    side.run(check())


def test_g4_it_tells_what_was_taken(slow_side: Side) -> None:
    side = slow_side

    async def check() -> None:
        async with side.joined() as (groups, members):
            data = memoryview(bytes(1_000) * 200)
            taken = [groups[0].send_burst([data], 1_000) for _ in range(40)]
            assert min(taken) < 200, "8 MB went into a line of 2 MB/s at once"
            assert all(0 <= each <= 200 for each in taken)
            heard = 0
            while len(members[1].heard) > heard or heard == 0:
                heard = len(members[1].heard)
                await asyncio.sleep(0.2)
            # What was taken and did not come had no room on the way to one of several.
            assert sum(taken) - groups[0].dropped <= len(members[1].heard) <= sum(taken)

    side.run(check())


def test_g5_writable(slow_side: Side) -> None:
    side = slow_side

    async def check() -> None:
        async with side.joined() as (groups, _):
            await asyncio.wait_for(groups[0].writable(), 1.0)
            data = memoryview(bytes(1_000) * 200)
            while groups[0].send_burst([data], 1_000) == 200:
                pass
            async with asyncio.timeout(5.0):
                await groups[0].writable()
            assert groups[0].send_burst([data[:1_000]], 1_000) == 1
            waiting = asyncio.ensure_future(groups[0].writable())
            groups[0].close()
            await asyncio.wait_for(waiting, 5.0)

    side.run(check())


def test_g6_after_close(side: Side) -> None:
    async def check() -> None:
        async with side.joined() as (groups, members):
            groups[1].close()
            groups[1].close()
            groups[1].send(b"from the grave")
            assert groups[1].send_burst([b"from", b"the grave"], 4) == 0
            await groups[1].writable()
            await groups[1].rejoin()
            groups[0].send(b"who is there")
            assert await members[2].until(1) == [b"who is there"]
            assert members[1].heard == []
            assert members[0].heard == []

    side.run(check())


def test_g7_whole_or_not_at_all(side: Side) -> None:
    async def check() -> None:
        async with side.joined() as (groups, members):
            rows = [b"", b"x", bytes(range(256)) * 5, b"y" * MAX_PAYLOAD_BYTES, b""]
            for sender in (0, 1):
                for row in rows:
                    groups[sender].send(row)
            assert await members[2].until(10) == rows + rows

    side.run(check())


def test_g8_send_only(side: Side) -> None:
    async def check() -> None:
        async with side.joined(send_only=1) as (groups, members):
            groups[1].send(b"I only speak")
            assert await members[0].until(1) == [b"I only speak"]
            assert await members[2].until(1) == [b"I only speak"]
            groups[0].send(b"and hear nothing")
            groups[0].send_burst([b"nothing" * 20], 7)
            await members[2].until(22)
            await asyncio.sleep(0.01)
            assert members[1].heard == []
            await groups[1].rejoin()
            groups[1].send(b"still")
            assert (await members[0].until(2))[-1] == b"still"

    side.run(check())


def test_g9_lost(side: Side) -> None:
    async def check() -> None:
        async with side.joined() as (groups, members):
            assert [group.lost for group in groups] == [0, 0, 0]
            sent = 2_000
            for _ in range(sent):  # 2 MB at once into buffers of 256 KiB; what the
                groups[0].send(bytes(1_000))  # system merged would be lost as one
            while len(members[1].heard) + groups[1].lost < sent:
                await asyncio.sleep(0.005)
            assert len(members[1].heard) + groups[1].lost == sent
            assert (groups[1].lost > 0) is side.live
            before = groups[1].lost
            groups[1].close()
            assert groups[1].lost >= before

    side.run(check())


def test_addresses_are_its_own(side: Side) -> None:
    async def check() -> None:
        async with side.three() as (one, _, _):
            rng = side.hosts()[0].rng
            made = [one.candidate(rng) for _ in range(50)]
            assert all(one.valid(each) and each.startswith(one.scheme + b":") for each in made)
            assert len(set(made)) > 40
            for wrong in (b"", b":", b"ip4:", b"ip6:", b"fan:", made[0] + b"0" * 99, made[0][:-1],
                          b"\xff" * 40, b"x" + made[0], made[0] + b" "):  # fmt: skip
                if one.valid(wrong):
                    assert wrong == made[0][:-1]  # a port cut short is a port
                    continue
                with pytest.raises(NetworkError):
                    await one.join(wrong, Member())

    side.run(check())
