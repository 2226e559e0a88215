"""Accounting exact to the byte, blame by range: random sources against a simple model."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

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


async def test_pushed_pulled_and_lying_on_the_same_pieces() -> None:
    """One source pushes 1,400-byte ranges, one is pulled, one lies: only the liar is blamed."""
    for seed in range(12):
        content = Content([600_000, 1, 77_777], 64 * KIB, seed=seed, padded=bool(seed % 2))
        transfer = await in_memory(content, seed)
        rng = random.Random(seed)
        pusher = Script("group", "multicast")
        puller = Script("honest")
        liar = Script("liar")
        push, pull, lying = (transfer.attach(each) for each in (pusher, puller, liar))
        pull.saw_bitfield(everything(content))
        lying.saw_bitfield(everything(content))
        pushes = list(range(0, len(content.space), 1400))
        rng.shuffle(pushes)
        for _ in range(5000):
            if transfer.complete:
                break
            for at in pushes[-7:]:
                push.deliver(at, content.space[at : at + 1400])
            del pushes[-7:]
            give(content, pull, pull.request(48 * KIB))
            give(content, lying, lying.request(32 * KIB), lie=True)
            if rng.random() < 0.3:
                at = rng.randrange(len(content.space))
                lying.deliver(at, wrong(content, at, min(1400, len(content.space) - at)))
            await settle(transfer)
            assert_accounts(transfer, [push, pull, lying])
        assert transfer.complete
        assert bytes(transfer.sink.space) == content.space  # type: ignore[attr-defined]
        assert not pusher.blames
        assert not puller.blames
        assert liar.blames
        assert push.bad_bytes == pull.bad_bytes == 0
        assert lying.useful_bytes == 0
        assert lying.bad_bytes > 0
        assert push.useful_bytes + pull.useful_bytes == content.descriptor.total_bytes
        assert_accounts(transfer, [push, pull, lying])


class Model:
    """Random sources on one transfer; checks every sentence that can be checked from outside."""

    def __init__(self, transfer: Transfer, content: Content, rng: random.Random) -> None:
        self.transfer, self.content, self.rng = transfer, content, rng
        self.feeds: list[TransferFeed] = []
        self.scripts: list[Script] = []
        self.liars: set[str] = set()
        self.asked: dict[TransferFeed, list[tuple[int, int]]] = {}
        self.delivered: dict[TransferFeed, int] = {}
        self.seen_cancels: dict[TransferFeed, int] = {}

    def join(self) -> None:
        number = len(self.feeds)
        script = Script(f"peer{number}", self.rng.choice(["swarm", "web", "multicast"]))
        if self.rng.random() < 0.3:
            self.liars.add(script.label)
        feed = self.transfer.attach(script)
        self.feeds.append(feed)
        self.scripts.append(script)
        self.asked[feed] = []
        self.delivered[feed] = 0
        self.seen_cancels[feed] = 0
        has = everything(self.content)
        for piece in range(has.size):
            if self.rng.random() < 0.2:
                has.discard(piece)
        feed.saw_bitfield(has)

    def some_feed(self) -> TransferFeed | None:
        present = [feed for feed in self.feeds if not feed.left]
        return self.rng.choice(present) if present else None

    def bytes_of(self, feed: TransferFeed, at: int, length: int) -> bytes:
        lies = feed.source.label in self.liars and self.rng.random() < 0.5
        return wrong(self.content, at, length) if lies else self.content.space[at : at + length]

    def bring(self, feed: TransferFeed, at: int, data: bytes) -> None:
        feed.deliver(at, data)
        self.delivered[feed] += len(data)

    def request(self, feed: TransferFeed) -> None:
        for piece, begin, length in feed.request(self.rng.choice([1, 20_000, 70_000])):
            assert piece in feed.has
            assert piece not in self.transfer.have
            assert 0 < length <= 16 * KIB
            self.asked[feed].append((piece * self.content.piece_length + begin, length))

    def answer(self, feed: TransferFeed) -> None:
        if not self.asked[feed]:
            return
        at, length = self.asked[feed].pop(self.rng.randrange(len(self.asked[feed])))
        if self.rng.random() < 0.2:  # in two parts
            cut = self.rng.randrange(1, length) if length > 1 else length
            self.bring(feed, at, self.bytes_of(feed, at, cut))
            at, length = at + cut, length - cut
        if length and not feed.left:
            self.bring(feed, at, self.bytes_of(feed, at, length))

    def push(self, feed: TransferFeed) -> None:
        at = self.rng.randrange(len(self.content.space))
        length = min(self.rng.choice([1, 1400, 40_000]), len(self.content.space) - at)
        self.bring(feed, at, self.bytes_of(feed, at, length))

    def give_back(self, feed: TransferFeed) -> None:
        if self.asked[feed] and self.rng.random() < 0.5:
            at, length = self.asked[feed].pop()
            feed.give_back(at, length)
        else:
            feed.give_back_all()
            self.asked[feed].clear()

    def lease(self, feed: TransferFeed) -> None:
        pieces = [self.rng.randrange(feed.has.size) for _ in range(3)]
        got = feed.lease(pieces, 5)
        assert set(got) <= set(pieces)
        if self.rng.random() < 0.5:
            feed.give_lease_back(got)

    def leave(self, feed: TransferFeed) -> None:
        feed.leave()
        self.asked[feed].clear()

    async def step(self, number: int) -> None:
        feed = self.some_feed()
        if feed is None or number == 0:
            if len(self.feeds) < 30:
                self.join()
            return
        actions = [self.request, self.answer, self.answer, self.push, self.give_back, self.lease]
        if number == 19:
            self.leave(feed)
        else:
            actions[number % len(actions)](feed)
        if number % 3 == 0:
            await settle(self.transfer)
        self.check()

    def check(self) -> None:
        transfer = self.transfer
        assert_accounts(transfer, self.feeds)
        for feed, script in zip(self.feeds, self.scripts, strict=True):
            assert self.delivered[feed] == feed.delivered_bytes
            assert feed.pending_bytes >= 0
            if script.label not in self.liars:
                assert not script.blames, "an innocent was blamed"
                assert feed.bad_bytes == 0
            if not feed.left:
                wanted = sum(1 for piece in feed.has if piece in transfer.needed)
                assert feed.missing == wanted
        for opened in transfer.open_pieces.values():
            assert opened.free == opened.state.count(0)
            assert opened.held == sum(opened.block_held)
            for block in range(opened.blocks):
                size = opened.block_end(block) - block * 16 * KIB
                assert (opened.state[block] == 3) == (opened.block_held[block] == size)
                if opened.state[block] != 3:
                    assert opened.state[block] == len(opened.askers[block]) <= 2
        pending = dict.fromkeys(self.feeds, 0)
        for feed in self.feeds:
            for _begin, length in feed._asked.values():
                pending[feed] += length
            assert pending[feed] == feed.pending_bytes

    async def finish(self) -> None:
        """An honest source that has everything ends it."""
        for feed in self.feeds:
            if not feed.left:
                self.leave(feed)
        await settle(self.transfer)
        script = Script("rescue")
        feed = self.transfer.attach(script)
        self.feeds.append(feed)
        self.scripts.append(script)
        self.asked[feed], self.delivered[feed] = [], 0
        feed.saw_bitfield(everything(self.content))
        for _ in range(2000):
            if self.transfer.complete:
                break
            self.request(feed)
            while self.asked[feed]:
                self.answer(feed)
            await settle(self.transfer)
            self.check()
        assert self.transfer.complete
        assert bytes(self.transfer.sink.space) == self.content.space  # type: ignore[attr-defined]
        useful = sum(feed.useful_bytes for feed in self.feeds)
        assert useful == self.content.descriptor.total_bytes


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=some.integers(0, 2**32),
    steps=some.lists(some.integers(0, 23), max_size=120),
    padded=some.booleans(),
    sequential=some.booleans(),
)
def test_any_sources_in_any_order(
    seed: int, steps: list[int], padded: bool, sequential: bool
) -> None:
    async def run() -> None:
        content = Content([150_000, 3, 40_000], 40_000, seed=seed % 5, padded=padded)
        transfer = await in_memory(content, seed, Settings(in_order=sequential))
        model = Model(transfer, content, random.Random(seed))
        for number in steps:
            await model.step(number)
        await model.finish()

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(25))
async def test_long_mixed_runs(seed: int) -> None:
    rng = random.Random(seed)
    content = Content([400_000, 20_000], 48 * KIB, seed=seed, padded=seed % 2 == 0)
    transfer = await in_memory(content, seed)
    model = Model(transfer, content, rng)
    for _ in range(400):
        await model.step(rng.randrange(24))
    await model.finish()
