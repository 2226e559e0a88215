"""Strangers and liars on the link: each is a machine of its own that sends what it likes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from tests.mcftp.stage import GROUP, Notes, PlainKeys, Stage, complete, counted, lan, sender_stream

from content.moving import Content
from spinney.errors import WireError
from spinney.groups.group import GroupReceiver, Sent
from spinney.mcftp import packets as p
from spinney.sim import SimHost, World

MIB = 1 << 20
RATE = 4_000_000


def play(world: World, main: Coroutine[Any, Any, None]) -> None:
    with world:
        world.run(main)


class Ear(GroupReceiver):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def group_received(self, batch: list[Sent]) -> None:
        self.heard += [data for data, _ in batch]


async def stranger(stage: Stage, host: SimHost) -> tuple[Any, Ear]:
    ear = Ear()
    return await stage.groups_of(host).join(GROUP, ear), ear


def test_what_makes_no_sense_is_counted_and_never_stored() -> None:
    """Even from the sender's own address."""
    content = Content([2 * MIB], MIB)
    world, hosts = lan(2)

    async def main() -> None:
        stage = Stage(content)
        stream = sender_stream(stage.layout, RATE)
        receiving = await stage.receiving(hosts[1], stream)
        sending = await stage.sending(hosts[0], stream)
        await asyncio.sleep(0.02)
        following = receiving.following[0]
        address = next(iter(following._confirmed))
        other = p.tag_of(b"other file", b"reign")
        ours = p.prefix_of(p.DATA, 0, stage.tag)
        before = {each.block: each.missing for each in receiving.buffers}
        for prefix, block, symbol, length, row in (
            (p.prefix_of(p.DATA, 0, other), 0, 500, 1408, "foreign"),
            (p.prefix_of(p.DATA, 9, stage.tag), 0, 500, 1408, "foreign"),
            (ours, 2, 0, 1408, "malformed"),
            (ours, 2**32 - 1, 0, 1408, "malformed"),
            (ours, 0, 500, 1407, "malformed"),
            (ours, 0, 500, 0, "malformed"),
            (ours, 0, 744, 1408, "malformed"),
            (ours, 0, 745 + 1, 1408, "malformed"),
            (ours, 0, 745, 10, "malformed"),
        ):
            count = getattr(following, row)
            data = p.HEADER.pack(prefix, block, symbol) + bytes(length)
            following.group_received([(data, address)])
            assert getattr(following, row) == count + 1, (block, symbol, length)
            following.group_burst(memoryview(data * 3), len(data), address)
        for junk in (b"", b"\xd1", stage.tag, b"x" * 1400, p.prefix_of(p.MARK, 0, stage.tag)):
            following.group_received([(junk, address)])
            following.group_burst(memoryview(junk), max(1, len(junk)), address)
        assert {each.block: each.missing for each in receiving.buffers} == before
        assert not any(each.repairs for each in receiving.buffers)
        await complete(receiving, 10)
        assert counted(receiving).bad == 0
        await sending.close()

    play(world, main())


def test_a_burst_is_taken_as_its_datagrams_one_by_one() -> None:
    """Whatever is in it: doubles, repair, another block, other numbers, a stranger's."""
    content = Content([2 * MIB], MIB)
    world, hosts = lan(3)

    async def main() -> None:
        stage = Stage(content)
        stream = sender_stream(stage.layout, RATE)
        receivings = [await stage.receiving(host, stream) for host in hosts[1:]]
        sending = await stage.sending(hosts[0], stream)
        await asyncio.sleep(0.02)
        await sending.close()
        await asyncio.sleep(0.1)
        ours, body = p.prefix_of(p.DATA, 0, stage.tag), bytes(range(256)) * 5 + bytes(128)
        foreign = p.prefix_of(p.DATA, 0, p.tag_of(b"other file", b"reign"))
        usual = [(ours, 0, symbol) for symbol in (300, 301, 303, 303, 302)]
        odd = [(ours, 0, 745), (ours, 0, 745 + 256), (ours, 0, 745), (ours, 0, 746), (ours, 0, 744)]
        more = [(ours, 1, 9), (ours, 1, 10), (ours, 2, 0), (ours, 0, 310), (ours, 1, 9)]
        for number, rows in enumerate([usual, odd, more, [*usual[:2], (foreign, 0, 320), *more]]):
            sent = [p.HEADER.pack(*row) + body for row in rows]
            short = [p.HEADER.pack(ours, 0, 330 + number) + body[:-1]] * (number % 2)
            one, other = (receiving.following[0] for receiving in receivings)
            address = next(iter(one._confirmed))
            one.group_received([(data, address) for data in [*sent, *short]])
            other.group_burst(memoryview(b"".join([*sent, *short])), 1424, address)
        states = [
            [(each.block, each.missing, bytes(each.seen), each.repairs, bytes(each.data[:MIB]))
             for each in receiving.buffers]
            for receiving in receivings
        ]  # fmt: skip
        assert states[0] == states[1]
        assert [row[0] for row in states[0]] == [0, 1]
        assert states[0][0][3].keys() == {745, 745 + 256}
        rows = ("heard", "duplicates", "unwanted", "foreign", "malformed")
        counts = [[getattr(r.following[0], row) for row in rows] for r in receivings]
        assert counts[0] == counts[1]
        assert all(counts[0][at] for at in (0, 1, 3, 4))

    play(world, main())


def test_forged_symbols_from_elsewhere_are_dropped_once_a_mark_was_heard() -> None:
    content = Content([4 * MIB], MIB)
    world, hosts = lan(3)

    async def main() -> None:
        stage = Stage(content)
        stream = sender_stream(stage.layout, RATE)
        receiving = await stage.receiving(hosts[1], stream)
        sending = await stage.sending(hosts[0], stream)
        group, _ = await stranger(stage, hosts[2])
        prefix = p.prefix_of(p.DATA, 0, stage.tag)
        done = asyncio.ensure_future(complete(receiving, 20))
        number = 0
        while not done.done():
            for block in range(4):
                group.send(p.HEADER.pack(prefix, block, number % 745) + bytes(1408))
            number += 1
            await asyncio.sleep(0.002)
        done.result()
        assert receiving.streams[0].foreign > 500
        assert counted(receiving).bad == 0
        assert sending.sent_bytes < 1.01 * len(content.space)
        await sending.close()

    play(world, main())


def test_a_sender_with_two_addresses_one_of_them_stolen_is_heard_by_the_other() -> None:
    """Two origins in one block: it is solved again from the likelier alone, and verifies."""
    content = Content([2 * MIB], MIB)
    world, hosts = lan(2)

    async def main() -> None:
        stage = Stage(content)
        stream = sender_stream(stage.layout, RATE)
        notes = Notes()
        receiving = await stage.receiving(hosts[1], stream, watcher=notes)
        sending = await stage.sending(hosts[0], stream)
        await asyncio.sleep(0.05)
        following = receiving.following[0]
        other = ("10.77.9.9", 5555)
        following._confirmed[other] = None
        prefix = p.prefix_of(p.DATA, 0, stage.tag)
        for symbol in range(700, 720):
            data = p.HEADER.pack(prefix, 0, symbol) + bytes(1408)
            following.group_received([(data, other)])
        await complete(receiving, 10)
        assert receiving.solving.blocks >= 1  # not sent again as a whole
        assert sending.sent_bytes < 1.05 * len(content.space)
        assert receiving.feed.bad_bytes == MIB
        assert notes.rows == [("spoiled", 0)]
        following.group_received([(p.HEADER.pack(prefix, 1, 0) + bytes(1408), other)])
        assert receiving.streams[0].foreign == 1
        await sending.close()

    play(world, main())


def test_a_polluter_under_the_senders_own_address_costs_a_share_and_no_wrong_byte() -> None:
    """Nothing tells its datagrams from the sender's: a block that fails comes again."""
    content = Content([3 * MIB], MIB)
    world, hosts = lan(2)

    async def main() -> None:
        stage = Stage(content)
        stream = sender_stream(stage.layout, RATE)
        notes = Notes()
        receiving = await stage.receiving(hosts[1], stream, watcher=notes)
        sending = await stage.sending(hosts[0], stream)
        prefix = p.prefix_of(p.DATA, 0, stage.tag)
        await asyncio.sleep(0.05)
        following = receiving.following[0]
        address = next(iter(following._confirmed))
        forged = p.HEADER.pack(prefix, 1, 700) + bytes(1408)
        following.group_received([(forged, address)])
        await complete(receiving, 10)
        assert receiving.feed.bad_bytes == MIB
        assert sending.sent_bytes < 4.1 * MIB
        assert notes.rows == []
        await sending.close()

    play(world, main())


def test_a_mark_of_somebody_else_or_played_again_moves_nothing() -> None:
    content = Content([3 * MIB], MIB)
    world, hosts = lan(3)

    async def main() -> None:
        stage = Stage(content)
        stream = sender_stream(stage.layout, RATE)
        receiving = await stage.receiving(hosts[1], stream)
        group, ear = await stranger(stage, hosts[2])
        prefix = p.prefix_of(p.MARK, 0, stage.tag)
        end = p.Mark(10**9, 10**9, p.order_of(stream.blocks), 3, 0, 0, 1)
        group.send(p.encode_mark(prefix, end, PlainKeys("stranger")))
        forged = bytearray(p.encode_mark(prefix, end, PlainKeys("sender")))
        forged[-1] ^= 1
        group.send(forged)
        await asyncio.sleep(0.05)
        assert receiving.streams[0].marks == 0
        assert receiving.streams[0].position == 0
        sending = await stage.sending(hosts[0], stream)
        await asyncio.sleep(0.3)
        heard = receiving.streams[0].marks
        old = next(data for data in ear.heard if data[:8] == prefix)
        for _ in range(20):
            group.send(old)
        await asyncio.sleep(0.01)
        assert receiving.streams[0].marks <= heard + 1
        assert len(receiving.following[0]._confirmed) == 1
        await complete(receiving, 10)
        await sending.close()

    play(world, main())


def test_a_stream_of_blocks_beyond_the_file_is_refused() -> None:
    content = Content([MIB], MIB)
    world, hosts = lan(2)

    async def main() -> None:
        stage = Stage(content)
        receiving = await stage.receiving(hosts[1])
        for runs in (((0, 2),), ((1, 1),), ((0, 2**32),)):
            with pytest.raises(WireError):
                await receiving.follow(
                    sender_stream(stage.layout, RATE, blocks=runs), stage.groups_of(hosts[1])
                )
        assert receiving.streams == []
        await receiving.close()

    play(world, main())


def test_liars_who_ask_for_more_cost_bounded_repair() -> None:
    content = Content([4 * MIB], MIB)
    world, hosts = lan(4)

    async def main() -> None:
        stage = Stage(content)
        stream = sender_stream(stage.layout, RATE)
        receiving = await stage.receiving(hosts[1], stream)
        sending = await stage.sending(hosts[0], stream)
        group, _ = await stranger(stage, hosts[2])
        prefix = p.prefix_of(p.NEED, 0, stage.tag)
        done = asyncio.ensure_future(complete(receiving, 20))
        start, repairs = world.loop.time(), 0
        while not done.done():
            repairs += 300
            lacks = tuple(p.Lack(block, 1, repairs, 250) for block in range(4))
            group.send(p.encode_need(prefix, p.Need(0, 0, 0, 0, lacks), PlainKeys("liar")))
            await asyncio.sleep(0.02)
        done.result()
        assert world.loop.time() - start < 2.2 * len(content.space) / RATE
        assert PlainKeys("liar").peer in sending.hopeless()
        await sending.close()

    play(world, main())


def test_needs_without_a_right_signature_and_floods_of_them_are_dropped() -> None:
    content = Content([1 * MIB], MIB)
    world, hosts = lan(2)

    async def main() -> None:
        stage = Stage(content)
        sending = await stage.sending(hosts[0], sender_stream(stage.layout, RATE))
        group, _ = await stranger(stage, hosts[1])
        prefix = p.prefix_of(p.NEED, 0, stage.tag)
        need = p.Need(0, 0, 0, 0, (p.Lack(0, 1, 0, 5),))
        bad = bytearray(p.encode_need(prefix, need, PlainKeys("liar")))
        bad[-1] ^= 1
        await asyncio.sleep(0.5)
        for _ in range(2000):
            group.send(bad)
        await asyncio.sleep(0.1)
        assert sending.malformed <= stage.settings.needs_per_s + 100
        assert sending.progress.repair_symbols == 0
        await sending.close()

    play(world, main())
