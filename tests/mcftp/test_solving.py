"""Lost symbols are computed at once where that is quick, else in a worker, each block once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import pytest
from tests.mcftp.stage import Stage, complete, lan, sender_stream
from tests.mcftp.test_layout import MIB, one_file

from content.moving import Content
from spinney.coding.fountain import FOUNTAIN
from spinney.mcftp import packets
from spinney.mcftp.blocks import BlockBuffer
from spinney.mcftp.layout import SYMBOL_BYTES, BlockLayout
from spinney.mcftp.receiving import Receiving
from spinney.mcftp.solving import AT_ONCE, Solving
from spinney.net.host import Host

LAYOUT = BlockLayout(one_file(MIB, MIB))
COUNT = LAYOUT.source_symbols(0)
CONTENT = Content([MIB], MIB)
DATA = b"".join(at.to_bytes(8, "big") for at in range(MIB // 8))


class Worker:
    """The part of a host that works, when it is let."""

    def __init__(self) -> None:
        self.calls = 0
        self.open = asyncio.Event()
        self.open.set()

    def time(self) -> float:
        return asyncio.get_running_loop().time()

    async def work(self, function: Callable[..., object], *words: object) -> object:
        self.calls += 1
        await self.open.wait()
        return function(*words)


def lacking(lost: int, spare: int = 6) -> BlockBuffer:
    """A block that lacks its first symbols, with so many repair symbols more than those."""
    buffer = BlockBuffer(LAYOUT, 0, memoryview(bytearray(MIB)))
    for symbol in range(lost, COUNT):
        buffer.fill(symbol, DATA[symbol * SYMBOL_BYTES : (symbol + 1) * SYMBOL_BYTES])
    encoder = FOUNTAIN.encoder(DATA, SYMBOL_BYTES)
    for number in range(COUNT, COUNT + lost + spare):
        buffer.add_repair(number, encoder.repair(number), 0)
    return buffer


async def stage(*, prepared: bool = True) -> tuple[Solving, Worker, list[BlockBuffer]]:
    done: list[BlockBuffer] = []
    worker = Worker()
    solving = Solving(cast(Host, cast(Any, worker)), FOUNTAIN, SYMBOL_BYTES, done.append)
    if prepared:
        solving.prepare()
        solving.prepare()
        await turns()
        assert worker.calls == 1
        worker.calls = 0
    return solving, worker, done


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("lost", [1, AT_ONCE])
def test_few_lost_symbols_are_computed_at_once(lost: int) -> None:
    async def main() -> None:
        solving, worker, done = await stage()
        buffer = lacking(lost)
        solving.add(buffer)
        assert done == [buffer]
        assert not buffer.missing
        assert bytes(buffer.data) == DATA
        assert worker.calls == 0
        await solving.close()

    asyncio.run(main())


@pytest.mark.parametrize(("lost", "prepared"), [(AT_ONCE + 1, True), (1, False)])
def test_many_or_with_a_code_that_is_not_ready_are_computed_elsewhere(
    lost: int, prepared: bool
) -> None:
    async def main() -> None:
        solving, worker, done = await stage(prepared=prepared)
        buffer = lacking(lost)
        worker.open.clear()
        solving.add(buffer)
        await turns()
        assert buffer.busy
        solving.add(buffer)
        assert not done
        worker.open.set()
        await turns()
        assert done == [buffer]
        assert bytes(buffer.data) == DATA
        assert solving.blocks == 1
        await solving.close()

    asyncio.run(main())


def test_what_is_delivered_or_lacks_more_is_left_alone() -> None:
    async def main() -> None:
        solving, worker, done = await stage()
        delivered = lacking(3)
        delivered.delivered = True
        poor = lacking(3)
        poor.repairs.popitem()
        poor.extra = 6
        for buffer in (delivered, poor):
            solving.add(buffer)
            solving.add_later(buffer)
            await turns()
        assert not done
        assert solving.blocks == worker.calls == 0
        await solving.close()

    asyncio.run(main())


def test_a_block_that_could_not_be_solved_says_how_many_more_it_takes() -> None:
    async def main() -> None:
        solving, _, done = await stage()
        buffer = lacking(3, spare=0)
        two = list(buffer.repairs)[:2]
        buffer.repairs = {two[0]: buffer.repairs[two[0]], two[1]: buffer.repairs[two[1]], 5: b""}
        solving.add(buffer)
        assert done == [buffer]
        assert solving.failures == 1
        assert buffer.missing == 3
        assert buffer.lack == 1
        await solving.close()

    asyncio.run(main())


class Heard:
    """One that receives, as far as its sender is one address whose first mark was heard, and its
    worker (with which it solves) is ours."""

    def __init__(self, receiving: Receiving, tag: bytes, *, bursts: bool) -> None:
        self.receiving, self.worker, self._bursts = receiving, Worker(), bursts
        receiving.solving._host = cast(Host, cast(Any, self.worker))
        self._following, self._address = receiving.following[0], ("10.77.9.9", 5555)
        self._following._confirmed[self._address] = None
        self._prefix = packets.prefix_of(packets.DATA, 0, tag)
        self._encoder = FOUNTAIN.encoder(CONTENT.space, SYMBOL_BYTES)

    def come(self, *symbols: int) -> None:
        """These symbols come at once, those of one length as a burst if there are any."""
        self.come_as((symbol, self._right(symbol)) for symbol in symbols)

    def come_as(self, symbols: Iterable[tuple[int, bytes]]) -> None:
        rows = [packets.HEADER.pack(self._prefix, 0, number) + body for number, body in symbols]
        if self._bursts and len(set(map(len, rows))) == 1:
            self._following.group_burst(memoryview(b"".join(rows)), len(rows[0]), self._address)
        else:
            self._following.group_received([(row, self._address) for row in rows])

    def _right(self, symbol: int) -> bytes:
        if symbol >= COUNT:
            return self._encoder.repair(symbol)
        return bytes(CONTENT.space[symbol * SYMBOL_BYTES : (symbol + 1) * SYMBOL_BYTES])

    @property
    def block(self) -> BlockBuffer:
        buffer = self.receiving.buffers.get(0)
        assert buffer is not None
        return buffer


def play(part: Callable[[Heard], Awaitable[None]], *, bursts: bool) -> None:
    """On a machine that hears one stream, until all is there."""
    world, hosts = lan(1)

    async def main() -> None:
        stage = Stage(CONTENT)
        receiving = await stage.receiving(hosts[0], sender_stream(stage.layout, MIB))
        await part(Heard(receiving, stage.tag, bursts=bursts))
        await complete(receiving, 10)
        await receiving.close()

    with world:
        world.run(main())


@pytest.mark.parametrize("burst", [False, True])
def test_nothing_is_written_into_a_block_that_is_whole(burst: bool) -> None:
    """Its memory is the transfer's by then: a late symbol, or a forged one, comes to nothing."""
    lost = AT_ONCE + 1

    async def part(heard: Heard) -> None:
        transfer_worker = Worker()
        transfer_worker.open.clear()  # what was handed over is neither hashed nor written yet
        heard.receiving.transfer.host = cast(Any, transfer_worker)  # type: ignore[attr-defined]
        heard.come(COUNT - 1)
        heard.come(*range(lost, COUNT - 1))
        heard.come(*range(COUNT, COUNT + 256 * (lost + 6), 256))
        await turns()
        assert heard.block.lent
        heard.come_as([(0, bytes(SYMBOL_BYTES)), (1, bytes(SYMBOL_BYTES))])
        assert bytes(heard.block.data) == CONTENT.space
        assert heard.block.missing == 0
        assert heard.receiving.streams[0].unwanted == 2
        transfer_worker.open.set()

    play(part, bursts=burst)


@pytest.mark.parametrize("burst", [False, True])
def test_nothing_is_written_into_a_block_that_is_being_solved(burst: bool) -> None:
    """What is solved takes the lost symbols for zeros until it is done."""
    lost = AT_ONCE + 1

    async def part(heard: Heard) -> None:
        heard.worker.open.clear()
        heard.come(*range(lost, COUNT))
        heard.come(*range(COUNT, COUNT + 256 * (lost + 6), 256))
        await turns()
        assert heard.block.busy
        heard.come(0, 1)
        assert heard.block.missing == lost
        assert not any(heard.block.data[: 2 * SYMBOL_BYTES])
        assert heard.receiving.streams[0].unwanted == 2
        heard.worker.open.set()

    play(part, bursts=burst)


@pytest.mark.parametrize(
    ("loss", "waits_s", "prepared"), [(0.0, 0.0, 0), (0.0, 1.0, 1), (0.05, 0.0, 1)]
)
def test_who_waits_or_lacks_something_gets_ready_to_mend(
    loss: float, waits_s: float, prepared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where data comes at once and nothing is lost, nothing is loaded for mending."""
    content = Content([2 * MIB], MIB)
    world, hosts = lan(2, loss=loss)
    calls: list[None] = []
    monkeypatch.setattr(type(FOUNTAIN), "prepare", lambda code: calls.append(None))

    async def main() -> None:
        stage = Stage(content)
        stream = sender_stream(stage.layout, MIB)
        receiving = await stage.receiving(hosts[1], stream)
        await asyncio.sleep(waits_s)
        before = len(calls)
        sending = await stage.sending(hosts[0], stream)
        await complete(receiving, 20)
        assert len(calls) - before == 1 + (prepared if loss else 0)  # the sender is always ready
        assert before == (prepared if waits_s else 0)
        await sending.close()
        await receiving.close()

    with world:
        world.run(main())
