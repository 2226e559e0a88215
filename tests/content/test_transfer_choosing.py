"""What is asked of whom: started pieces, sharing, endgame, leases, order, room, selection."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from content.moving import (
    Content,
    Script,
    assert_accounts,
    everything,
    give,
    in_memory,
    settle,
)
from spinney.content.feed import TransferFeed
from spinney.content.pieces import Bitfield
from spinney.content.source import Source
from spinney.content.transfer import Settings, Transfer
from spinney.sim.world import World

KIB = 1024
Rows = list[tuple[int, int, int]]


def joined(transfer: Transfer, content: Content, label: str, way: str = "swarm") -> TransferFeed:
    feed = transfer.attach(Script(label, way))
    feed.saw_bitfield(everything(content))
    return feed


def script(feed: TransferFeed) -> Script:
    assert isinstance(feed.source, Script)
    return feed.source


async def test_a_started_piece_is_finished_first() -> None:
    content = Content([2_000_000], 64 * KIB)
    transfer = await in_memory(content)
    one, two = joined(transfer, content, "one"), joined(transfer, content, "two")
    first = one.request(16 * KIB)[0][0]
    assert {row[0] for row in one.request(48 * KIB)} == {first}
    other = two.request(16 * KIB)[0][0]
    assert other != first  # a piece of its own
    two.give_back_all()
    one.give_back(first * 64 * KIB + 48 * KIB, 16 * KIB)
    assert one.request(16 * KIB) == [(first, 48 * KIB, 16 * KIB)]


async def test_what_nobody_fetches_any_more_is_taken_up_before_a_new_piece() -> None:
    content = Content([2_000_000], 64 * KIB)
    transfer = await in_memory(content)
    one, two = joined(transfer, content, "one"), joined(transfer, content, "two")
    rows = one.request(64 * KIB)
    give(content, one, rows[:1])
    one.leave()
    assert [row[:2] for row in two.request(48 * KIB)] == [row[:2] for row in rows[1:]]


async def test_a_fast_source_with_nothing_else_joins_a_slow_ones_piece() -> None:
    content = Content([256 * KIB], 256 * KIB)
    transfer = await in_memory(content)
    slow, fast = joined(transfer, content, "slow"), joined(transfer, content, "fast")
    assert len(slow.request(32 * KIB)) == 2
    rows = fast.request(1 << 20)
    assert len(rows) == 14 + 2  # the free blocks, then the endgame's second copies
    assert len({row[1] for row in rows}) == 16


async def test_sharing_ends_a_young_swarm_sooner() -> None:
    """A pure count of rounds: one source is eight times slower than the other."""
    for seed in range(5):
        content = Content([1 << 20], 512 * KIB, seed=seed)
        transfer = await in_memory(content, seed)
        slow, fast = joined(transfer, content, "slow"), joined(transfer, content, "fast")
        rounds, waiting = 0, {slow: list[Any](), fast: list[Any]()}
        while not transfer.complete:
            rounds += 1
            for feed, pace in ((slow, 1), (fast, 8)):
                waiting[feed] += feed.request(pace * 16 * KIB - feed.pending_bytes)
                give(content, feed, waiting[feed][:pace])
                del waiting[feed][:pace]
            await settle(transfer)
        assert rounds <= 64 / 9 + 3, "the slow one's piece alone would take 32 rounds"


async def test_the_endgame_asks_for_two_copies_at_most_and_cancels_the_late_one() -> None:
    content = Content([128 * KIB], 64 * KIB)
    transfer = await in_memory(content)
    feeds = [joined(transfer, content, f"peer{number}") for number in range(3)]
    first = feeds[0].request(1 << 20)
    assert len(first) == 8  # every block is asked for: now the endgame is on
    second = feeds[1].request(1 << 20)
    assert sorted(second) == sorted(first)
    assert feeds[2].request(1 << 20) == []
    assert feeds[1].request(1 << 20) == []
    give(content, feeds[1], second[:1])
    piece, begin, length = second[0]
    assert script(feeds[0]).cancels == [(piece * 64 * KIB + begin, length)]
    assert feeds[0].pending_bytes == 7 * 16 * KIB
    give(content, feeds[0], [second[0]])  # it was on its way already
    assert feeds[0].duplicate_bytes == 16 * KIB
    give(content, feeds[1], second[1:])
    await settle(transfer)
    assert transfer.complete
    assert feeds[0].pending_bytes == 0
    assert_accounts(transfer, feeds)


async def test_no_endgame_while_a_block_is_not_asked_for() -> None:
    content = Content([192 * KIB], 64 * KIB)
    transfer = await in_memory(content)
    one = joined(transfer, content, "one")
    poor = transfer.attach(Script("poor"))
    rows = one.request(64 * KIB)
    field = Bitfield(3)
    field.add(rows[0][0])
    poor.saw_bitfield(field)
    assert poor.request(1 << 20) == []
    one.request(1 << 20)
    assert len(poor.request(1 << 20)) == 4


def test_the_endgame_takes_from_the_slowest_first() -> None:
    content = Content([512 * KIB], 64 * KIB)
    with World(1) as world:

        async def main() -> None:
            transfer = await in_memory(content)
            slow, fast = joined(transfer, content, "slow"), joined(transfer, content, "fast")
            helper = joined(transfer, content, "helper")
            for _ in range(4):
                now = transfer.host.time()
                for feed in (slow, fast, helper):
                    feed.rate(now)
                give(content, slow, slow.request(16 * KIB))
                give(content, fast, fast.request(64 * KIB))
                await asyncio.sleep(1.0)
            fast.request(512 * KIB - 4 * 80 * KIB - 48 * KIB)
            mine = slow.request(48 * KIB)  # the rest: nothing twice yet
            rows = helper.request(16 * KIB)
            assert rows
            assert rows[0] in mine

        world.run(main())


async def test_the_late_are_few_in_a_whole_run() -> None:
    """Duplicates of four equal sources stay within two blocks each."""
    content = Content([2 << 20], 128 * KIB)
    for seed in range(4):
        transfer = await in_memory(content, seed)
        feeds = [joined(transfer, content, f"peer{number}") for number in range(4)]
        waiting: dict[TransferFeed, Rows] = {feed: [] for feed in feeds}
        while not transfer.complete:
            for feed in feeds:
                room = 8 * 16 * KIB - feed.pending_bytes
                waiting[feed] += feed.request(room)
                late = [offset for offset, _ in script(feed).cancels]
                rows = [row for row in waiting[feed] if row[0] * 128 * KIB + row[1] not in late]
                give(content, feed, rows[:2])
                waiting[feed] = rows[2:]
            await settle(transfer)
        assert sum(feed.duplicate_bytes for feed in feeds) <= 8 * 16 * KIB


# --- leases


def test_a_lease_is_exclusive_renewable_and_ends() -> None:
    content = Content([256 * KIB], 64 * KIB)
    with World(1) as world:

        async def main() -> None:
            transfer = await in_memory(content)
            group = transfer.attach(Script("group", "multicast"))
            peer = joined(transfer, content, "peer")
            assert group.lease([0, 1, 2, 99], 600.0) == [0, 1, 2]
            assert peer.lease([0], 5.0) == []
            assert {row[0] for row in peer.request(64 * KIB)} == {3}
            await asyncio.sleep(15)
            assert group.lease([0], 20.0) == [0]
            await asyncio.sleep(6)  # 20 s at most: 1 and 2 have run out, 0 was renewed
            assert transfer.leases.holder(1) is None
            assert transfer.leases.holder(0) is group
            assert {1, 2} <= set(transfer.picker.candidates)
            got = peer.lease([1], 1.0)
            assert got == [1]
            group.give_lease_back([0, 1])
            assert transfer.leases.holder(0) is None
            assert transfer.leases.holder(1) is peer
            group.lease([2], 10)
            group.leave()
            assert len(transfer.leases) == 1

        world.run(main())


async def test_only_the_endgame_breaks_a_lease_and_for_one_copy() -> None:
    content = Content([128 * KIB], 64 * KIB)
    transfer = await in_memory(content)
    group = transfer.attach(Script("group", "multicast"))
    one, two = joined(transfer, content, "one"), joined(transfer, content, "two")
    assert group.lease([0], 20.0) == [0]
    rows = one.request(16 * KIB)
    assert rows[0][0] == 1
    assert {row[0] for row in one.request(48 * KIB)} == {1}
    broken = one.request(64 * KIB)  # everything is asked for or promised
    assert broken == [(0, begin, 16 * KIB) for begin in range(0, 64 * KIB, 16 * KIB)]
    assert {row[0] for row in two.request(1 << 20)} == {1}  # no third copy of what is promised
    group.deliver(0, content.space[: 64 * KIB])
    assert one.pending_bytes == 64 * KIB
    assert len(script(one).cancels) == 4
    await settle(transfer)
    assert 0 in transfer.have
    assert len(transfer.leases) == 0


async def test_what_a_steady_source_leased_is_left_to_it_in_the_endgame_too() -> None:
    content = Content([128 * KIB], 64 * KIB)
    transfer = await in_memory(content)
    group, peer = transfer.attach(Script("group")), transfer.attach(Script("peer"))
    peer.saw_bitfield(everything(content))
    assert group.lease([0, 1], 20.0) == [0, 1]
    group.steady = True
    group.deliver(0, content.space[: 16 * KIB])
    assert peer.request(1 << 20) == []
    group.steady = False  # nothing comes any more
    transfer.changed()
    assert {row[0] for row in peer.request(1 << 20)} == {0, 1}


async def test_a_lease_on_what_another_source_fetches_is_refused() -> None:
    content = Content([256 * KIB], 64 * KIB)
    transfer = await in_memory(content)
    peer = joined(transfer, content, "peer")
    piece = peer.request(1)[0][0]
    group = transfer.attach(Script("group", "multicast"))
    assert group.lease(range(4), 10.0) == [each for each in range(4) if each != piece]


# --- order and selection


async def test_in_order_for_players() -> None:
    content = Content([1 << 20], 64 * KIB)
    transfer = await in_memory(content, settings=Settings(in_order=True, window_bytes=512 * KIB))
    one, two = joined(transfer, content, "one"), joined(transfer, content, "two")
    mine, theirs = one.request(32 * KIB), two.request(64 * KIB)
    assert {row[0] for row in mine} == {0}
    assert {row[0] for row in theirs} == {0, 1}  # shared: the next to be played
    give(content, one, mine)
    give(content, two, theirs)
    order = [0]
    while not transfer.complete:
        for feed in (one, two):
            rows = feed.request(64 * KIB)
            give(content, feed, rows)
            for row in rows:
                if row[0] != order[-1]:
                    order.append(row[0])
        await settle(transfer)
    assert order == list(range(16))


async def test_unwanted_files_are_skipped_and_their_bytes_refused() -> None:
    content = Content([200_000, 200_000, 200_000], 64 * KIB)
    transfer = await in_memory(content)
    transfer.select({0: 0, 2: 0})
    feed = joined(transfer, content, "one")
    pieces = set(transfer.sink.layout.pieces_of(1))
    assert set(transfer.needed) == pieces
    feed.deliver(0, content.space[:1000])
    assert feed.refused_bytes == 1000
    while not transfer.complete:
        rows = feed.request(1 << 20)
        assert {row[0] for row in rows} <= pieces
        give(content, feed, rows)
        await settle(transfer)
    assert transfer.left_bytes == 0
    assert transfer.sink.finished == [1]  # type: ignore[attr-defined]
    transfer.select({2: 4})
    assert not transfer.complete
    assert feed.interesting()
    opened = feed.request(32 * KIB)
    give(content, feed, opened[:1])
    transfer.select({2: 0})
    assert transfer.complete
    assert feed.pending_bytes == 0
    assert len(script(feed).cancels) == len(opened) - 1 > 0
    assert_accounts(transfer, [feed])


class OnlyOdd:
    asked = 0

    def may_request(self, source: Source, piece: int) -> bool:
        self.asked += 1
        return source.label != "odd" or piece % 2 == 1

    def may_request_any(self, source: Source) -> bool:
        return source.label != "nobody"


async def test_the_policy_decides_for_everybody() -> None:
    content = Content([512 * KIB], 64 * KIB)
    transfer = await in_memory(content, policy=OnlyOdd())
    odd = joined(transfer, content, "odd")
    rows = odd.request(1 << 20)
    assert {row[0] for row in rows} == {1, 3, 5, 7}
    other = joined(transfer, content, "other")
    assert {row[0] for row in other.request(256 * KIB)} == {0, 2, 4, 6}
    other.give_back_all()
    assert odd.request(1 << 20) == []


async def test_who_may_ask_for_nothing_costs_one_look() -> None:
    content = Content([512 * KIB], 64 * KIB)
    policy = OnlyOdd()
    transfer = await in_memory(content, policy=policy)
    nobody = joined(transfer, content, "nobody")
    assert nobody.request(1 << 20) == []
    assert policy.asked == 0


# --- room


async def test_back_pressure_stops_requests_and_wakes_when_it_ends() -> None:
    content = Content([1 << 20], 64 * KIB)
    transfer = await in_memory(content, settings=Settings(waiting_bytes=100_000))
    transfer.host.gate.clear()  # type: ignore[attr-defined]  # the disk stands still
    feed = joined(transfer, content, "one")
    group = transfer.attach(Script("group", "multicast"))
    give(content, feed, feed.request(128 * KIB))
    await asyncio.sleep(0)
    assert transfer.congested
    assert feed.request(64 * KIB) == []
    free = next(iter(transfer.picker.candidates))
    group.deliver(free * 64 * KIB, content.space[:1400])
    assert group.refused_bytes == 1400
    assert free not in transfer.open_pieces
    assert script(feed).woken == 0
    transfer.host.gate.set()  # type: ignore[attr-defined]
    await settle(transfer)
    await asyncio.sleep(0)
    assert script(feed).woken == 1
    assert feed.request(64 * KIB)


async def test_open_pieces_are_bounded() -> None:
    content = Content([2 << 20], 64 * KIB)
    transfer = await in_memory(content, settings=Settings(open_bytes=0))
    group = transfer.attach(Script("group", "multicast"))
    for piece in range(32):
        group.deliver(piece * 64 * KIB, content.space[piece * 64 * KIB :][:1400])
    assert len(transfer.open_pieces) == 8
    assert group.refused_bytes == 24 * 1400
    feed = joined(transfer, content, "one")
    assert {row[0] for row in feed.request(1 << 21)} == set(range(8))


async def test_single_bytes_with_holes_are_bounded() -> None:
    content = Content([1 << 20], 1 << 20)
    transfer = await in_memory(content)
    group = transfer.attach(Script("group", "multicast"))
    began = time.process_time()
    for at in range(0, 20_000, 2):
        group.deliver(at, content.space[at : at + 1])
    assert time.process_time() - began < 1.5, "each refused one walks over all that is held"
    assert len(transfer.open_pieces[0].starts) <= 4097
    assert group.refused_bytes > 5_000
    feed = joined(transfer, content, "one")
    give(content, feed, feed.request(2 << 20))
    await settle(transfer)
    assert transfer.complete
    assert feed.duplicate_bytes == 10_000 - group.refused_bytes - 1  # byte 0 is not asked for
    assert_accounts(transfer, [group, feed])


async def test_beyond_the_end_and_padding() -> None:
    content = Content([100_000, 10], 64 * KIB, padded=True)
    transfer = await in_memory(content)
    feed = joined(transfer, content, "one")
    size = len(content.space)
    feed.deliver(size - 10, content.space[-10:] + b"beyond")
    assert feed.refused_bytes == 6
    feed.deliver(size + 64 * KIB, b"far")
    assert feed.refused_bytes == 9
    feed.deliver(100_000, b"\1" * 5)  # padding is known to be zeros
    assert feed.duplicate_bytes == 5
    rows = feed.request(1 << 20)
    assert sum(row[2] for row in rows) == 100_000
    give(content, feed, rows)
    await settle(transfer)
    assert transfer.complete


async def test_a_choice_from_some_pieces_says_nothing_of_the_others() -> None:
    """While choked only a few may be asked for; unchoked, all: nothing else has to change."""
    content = Content([640_000], 64 * KIB)
    transfer = await in_memory(content)
    one = joined(transfer, content, "one")
    allowed = Bitfield(content.descriptor.piece_count)
    allowed.add(3)
    rows = one.request(1 << 20, pieces=allowed)
    assert {row[0] for row in rows} == {3}
    assert one.request(1 << 20, pieces=allowed) == []
    assert one.request(64 * KIB), "no news are needed for what was not looked at"


async def test_what_was_never_asked_for_is_refused_where_that_is_the_rule() -> None:
    content = Content([640_000], 64 * KIB)
    transfer = await in_memory(content)
    one, two = joined(transfer, content, "one"), joined(transfer, content, "two")
    one.asked_only = True
    rows = two.request(64 * KIB)
    give(content, one, rows)
    assert one.refused_bytes == 64 * KIB
    assert two.pending_bytes == 64 * KIB, "they are still to come from whom they were asked of"
    late = one.request(64 * KIB)
    one.give_back_all()
    give(content, one, late)
    await settle(transfer)
    assert one.useful_bytes == 64 * KIB, "what comes late is welcome"
