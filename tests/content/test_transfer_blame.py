"""Who is blamed for wrong bytes, and how verified bytes are served from memory."""

from __future__ import annotations

import asyncio
import random

import pytest

from content.moving import (
    Content,
    Script,
    assert_accounts,
    everything,
    give,
    in_memory,
    settle,
    wrong,
)
from spinney.content.feed import TransferFeed
from spinney.content.transfer import Settings, Transfer

KIB = 1024


def joined(transfer: Transfer, content: Content, label: str) -> TransferFeed:
    feed = transfer.attach(Script(label))
    feed.saw_bitfield(everything(content))
    return feed


def script(feed: TransferFeed) -> Script:
    assert isinstance(feed.source, Script)
    return feed.source


# --- blame


async def test_one_sender_is_proven_at_once() -> None:
    content = Content([256 * KIB], 64 * KIB)
    transfer = await in_memory(content)
    liar = joined(transfer, content, "liar")
    rows = liar.request(80 * KIB)
    give(content, liar, rows[:4], lie=True)
    await settle(transfer)
    piece = rows[0][0]
    assert script(liar).blames == [(piece, piece * 64 * KIB, 64 * KIB)]
    assert liar.bad_bytes == 64 * KIB
    assert liar.pending_bytes == 0
    assert liar.request(1 << 20) == []
    assert not liar.interesting()
    liar.deliver(0, content.space[:10])
    assert liar.refused_bytes == 10
    assert transfer.is_blamed("liar")
    again = joined(transfer, content, "liar")  # the same address once more
    assert again.request(1 << 20) == []
    assert transfer.totals()["swarm"].bad == 64 * KIB


async def test_suspects_get_whole_pieces_alone_until_ranges_name_the_liar() -> None:
    content = Content([512 * KIB], 64 * KIB)
    for order in (0, 1):
        transfer = await in_memory(content, order)
        honest, liar = joined(transfer, content, "honest"), joined(transfer, content, "liar")
        first = honest.request(16 * KIB)[0][0]
        base = first * 64 * KIB
        liar.deliver(base + 20_000, wrong(content, base + 20_000, 1400))
        give(content, honest, [(first, 0, 16 * KIB)])
        while first in transfer.open_pieces:
            give(content, honest, honest.request(16 * KIB))
        await settle(transfer)
        assert first not in transfer.have
        assert not script(honest).blames
        assert not script(liar).blames
        assert honest.suspected
        assert liar.suspected
        mine, theirs = honest.request(16 * KIB), liar.request(16 * KIB)
        assert mine[0][0] != theirs[0][0]
        for opened in transfer.open_pieces.values():
            assert opened.solo
        liar.give_back_all()
        while first not in transfer.have:
            give(content, honest, mine)
            mine = honest.request(64 * KIB)
            await settle(transfer)
        assert [blame[0] for blame in script(liar).blames] == [first]
        assert script(liar).blames[0][1:] == (base + 20_000, 1400)
        assert not script(honest).blames
        assert not honest.suspected
        assert liar.bad_bytes == 1400
        assert honest.bad_bytes == 0
        assert_accounts(transfer, [honest, liar])


async def test_nobody_joins_a_suspect_and_a_suspect_joins_nobody() -> None:
    content = Content([256 * KIB], 64 * KIB)
    transfer = await in_memory(content)
    one, two = joined(transfer, content, "one"), joined(transfer, content, "two")
    first = one.request(64 * KIB)[0][0]
    base = first * 64 * KIB
    two.deliver(base, wrong(content, base, 1400))
    one.deliver(base + 1400, content.space[base + 1400 : base + 64 * KIB])
    await settle(transfer)
    assert one.suspected
    other = joined(transfer, content, "other")
    alone = one.request(16 * KIB)[0][0]
    shared = other.request(16 * KIB)[0][0]
    rows = [*other.request(1 << 20), *other.request(1 << 20)]
    assert alone not in {row[0] for row in rows}
    assert shared not in {row[0] for row in one.request(1 << 20)}
    before = two.refused_bytes
    two.deliver(shared * 64 * KIB + 20_000, bytes(1000))
    two.deliver(alone * 64 * KIB + 20_000, bytes(1000))
    assert two.refused_bytes == before + 2000


async def test_two_connections_of_one_address_are_one_sender() -> None:
    content = Content([64 * KIB], 64 * KIB)
    transfer = await in_memory(content)
    one = transfer.attach(Script("one", key="198.18.0.1"))
    two = transfer.attach(Script("two", key="198.18.0.1"))
    one.deliver(0, wrong(content, 0, 30_000))
    two.deliver(30_000, wrong(content, 30_000, 64 * KIB - 30_000))
    await settle(transfer)
    assert script(one).blames
    assert script(two).blames
    assert not one.live
    assert not two.live


# --- serving from memory


async def test_verified_pieces_are_served_from_memory_and_views_stay_valid() -> None:
    content = Content([1 << 20], 64 * KIB)
    transfer = await in_memory(content, settings=Settings(cache_bytes=128 * KIB))
    feed = joined(transfer, content, "one")
    views: list[tuple[int, memoryview]] = []
    while not transfer.complete:
        rows = feed.request(64 * KIB)
        give(content, feed, rows)
        await settle(transfer)
        offset = rows[0][0] * 64 * KIB
        view = transfer.cached(offset + 5, 1000)
        assert view is not None
        assert view.readonly
        views.append((offset + 5, view))
    for offset, view in views:  # though their buffers left the cache long ago
        assert bytes(view) == content.space[offset : offset + 1000]
    assert transfer.cache.held_bytes <= 128 * KIB
    whole = await asyncio.gather(*(transfer.read(at, 5000) for at in range(0, 1 << 20, 50_000)))
    for at, view in zip(range(0, 1 << 20, 50_000), whole, strict=True):
        assert bytes(view) == content.space[at : at + 5000]


@pytest.mark.parametrize("seed", range(4))
async def test_buffers_are_used_again_only_when_nobody_looks(seed: int) -> None:
    content = Content([600_000], 16 * KIB, seed=seed)
    rng = random.Random(seed)
    transfer = await in_memory(content, seed, Settings(cache_bytes=40_000))
    feed = joined(transfer, content, "one")
    kept: list[tuple[int, memoryview]] = []
    while not transfer.complete:
        give(content, feed, feed.request(32 * KIB))
        await settle(transfer)
        for piece in transfer.have:
            view = transfer.cached(piece * 16 * KIB, 100)
            if view is not None and rng.random() < 0.5:
                kept.append((piece * 16 * KIB, view))
    assert any(bytes(view) for _, view in kept)
    assert all(bytes(view) == content.space[at : at + 100] for at, view in kept)
