"""Whole pieces that are not copied: a source lends the memory in which they came."""

from __future__ import annotations

import asyncio

from content.moving import Content, Script, in_memory
from spinney.content.feed import TransferFeed
from spinney.content.transfer import Settings, Transfer

KIB = 1024
CONTENT = Content([300 * KIB + 5], 64 * KIB)
LAST = 4
"""The number of the short last piece."""


def filled(feed: TransferFeed, piece: int) -> bytearray:
    room = feed.room()
    data = CONTENT.piece(piece)
    room[: len(data)] = data
    return room


async def settled(transfer: Transfer) -> None:
    await transfer.intake.drain()
    await asyncio.sleep(0)


async def test_a_lent_piece_is_verified_and_served_where_it_lies() -> None:
    transfer = await in_memory(CONTENT)
    source = Script()
    feed = transfer.attach(source)
    for piece in (0, LAST):
        room = filled(feed, piece)
        assert len(room) == CONTENT.piece_length
        assert feed.deliver_piece(piece, room)
        await settled(transfer)
        view = transfer.cached(piece * CONTENT.piece_length, 1000 if piece == 0 else 5)
        assert view is not None
        assert view.obj is room
    assert source.verified == [0, LAST]
    assert transfer.sink.space[: 64 * KIB] == CONTENT.piece(0)  # type: ignore[attr-defined]
    held = len(CONTENT.piece(0)) + len(CONTENT.piece(LAST))
    assert (feed.useful_bytes, feed.delivered_bytes) == (held, held)
    await transfer.close()


async def test_lent_memory_is_used_again_when_nobody_looks_at_it() -> None:
    transfer = await in_memory(CONTENT, settings=Settings(idle_bytes=0))
    feed = transfer.attach(Script())
    room = filled(feed, 1)
    ours = memoryview(room)
    assert feed.deliver_piece(1, room)
    await settled(transfer)
    assert all(feed.room() is not room for _ in range(20))
    assert ours[:10] == CONTENT.piece(1)[:10]
    ours.release()
    assert feed.room() is room
    await transfer.close()


async def test_what_is_not_welcome_as_a_whole_is_left_to_deliver() -> None:
    transfer = await in_memory(CONTENT, settings=Settings(waiting_bytes=0))
    feed, other = transfer.attach(Script()), transfer.attach(Script("other"))
    other.deliver(0, CONTENT.piece(0)[: 16 * KIB])  # some of it is here
    assert not feed.deliver_piece(0, filled(feed, 0))
    assert feed.deliver_piece(1, filled(feed, 1))
    assert not feed.deliver_piece(1, filled(feed, 1))  # waits to be verified
    assert not feed.deliver_piece(2, filled(feed, 2))  # more waits than may
    await settled(transfer)
    assert not feed.deliver_piece(1, filled(feed, 1))  # is verified
    feed.asked_only = True
    assert not feed.deliver_piece(2, filled(feed, 2))
    feed.asked_only = False
    feed.leave()
    assert not feed.deliver_piece(2, filled(feed, 2))
    assert (feed.useful_bytes, feed.delivered_bytes) == (64 * KIB, 64 * KIB)
    assert feed.duplicate_bytes == feed.refused_bytes == 0
    await transfer.close()


async def test_a_wrong_piece_is_blamed_and_may_be_mended_where_it_lies() -> None:
    transfer = await in_memory(CONTENT)
    source = Script()
    feed = transfer.attach(source)
    feed.forgiving = True
    room = filled(feed, 3)
    ours = memoryview(room)
    ours[77] ^= 1
    assert feed.deliver_piece(3, room)
    await settled(transfer)
    assert source.blames == [(3, 3 * 64 * KIB, 64 * KIB)]
    ours[77] ^= 1
    other = transfer.attach(Script("other"))
    other.deliver(0, CONTENT.piece(0))  # takes another buffer meanwhile
    assert feed.deliver_piece(3, room)
    await settled(transfer)
    assert source.verified == [0, 3] or source.verified == [3, 0]
    assert (feed.bad_bytes, feed.useful_bytes) == (64 * KIB, 64 * KIB)
    await transfer.close()


async def test_who_is_asked_for_a_lent_piece_need_not_bring_it() -> None:
    transfer = await in_memory(CONTENT)
    asked = Script("asked")
    slow, feed = transfer.attach(asked), transfer.attach(Script())
    for piece in range(transfer.descriptor.piece_count):
        slow.saw_have(piece)
    rows = slow.request(64 * KIB)
    piece = rows[0][0]
    assert feed.deliver_piece(piece, filled(feed, piece))
    assert sorted(asked.cancels) == sorted(
        (each * CONTENT.piece_length + begin, length) for each, begin, length in rows
    )
    assert slow.pending_bytes == 0
    await transfer.close()
