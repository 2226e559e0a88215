"""What is marked done is done: power cuts in the simulator, kills of a real process."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from content.killed import KILLED
from content.moving import Content, Script, everything
from spinney.content.resume import decode_record
from spinney.content.store import FolderStore
from spinney.content.transfer import Transfer
from spinney.errors import SpinneyError
from spinney.net.live.host import LiveHost
from spinney.sim.host import SimHost
from spinney.sim.world import World

KIB = 1024
FOLDER = "down/here"


def some_content(seed: int) -> Content:
    sizes = [[700_000], [300_000, 5, 0, 120_000, 16 * KIB], [90_000] * 5][seed % 3]
    return Content(sizes, 16 * KIB, seed=seed, padded=seed % 2 == 0)


async def getting(host: SimHost, content: Content, rng: random.Random, checks: list[int]) -> None:
    """One life of a getter: takes over what is there, which must be right, and goes on."""
    store = FolderStore(host.storage, content.descriptor, FOLDER)
    transfer = Transfer(host, content.descriptor, store)
    data = store.load() if host.storage.info(FOLDER) else None
    record = decode_record(data, transfer.infohash, transfer.needed.size) if data else None
    await transfer.start()
    handles = store.handles()
    for piece in transfer.have:
        found = bytearray(content.descriptor.piece_bytes(piece))
        store.read_into(piece * content.piece_length, memoryview(found), handles)
        assert bytes(found) == content.piece(piece), f"piece {piece} is marked done and is wrong"
        checks.append(piece)
    if record is not None and record.fits(store.stamps(range(len(content.files)))):
        assert set(record.pieces) <= set(transfer.have), "a piece that was marked is lost"
    handles.close()
    feed = transfer.attach(Script())
    feed.saw_bitfield(everything(content))
    while not transfer.complete:
        for piece, begin, length in feed.request(rng.choice([16, 32, 64]) * KIB):
            at = piece * content.piece_length + begin
            feed.deliver(at, content.space[at : at + length])
        await asyncio.sleep(rng.choice([0.0, 1.0, 4.0]))
        if transfer.failure is not None:
            raise transfer.failure
    await transfer.close()


def survive(seed: int) -> tuple[int, int]:
    """Crashes at seeded points until it is through; (lives, pieces found right)."""
    rng = random.Random(seed)
    content = some_content(seed)
    checks: list[int] = []
    with World(seed) as world:
        host = world.host("getter")
        for life in range(1, 20):
            if life < 5:
                host.disk.crash_at(rng.randrange(1, rng.choice([20, 60, 120])))
            task = host.start(getting(host, content, rng, checks))

            async def ended(task: asyncio.Task[None] = task) -> BaseException | None:
                await asyncio.wait([task])
                return None if task.cancelled() else task.exception()

            error = world.run(ended())
            if host.is_up:
                host.disk.crash_operation = None
                assert error is None, error
                for entry, data in zip(content.files, content.data, strict=True):
                    path = f"{FOLDER}/{'/'.join(entry.path)}"
                    file = host.storage.open(path, "read")
                    assert file.read(0, file.size()) == data
                    file.close()
                assert host.storage.list_folder(FOLDER) == [content.files[0].path[0]]
                return life, len(checks)
            assert error is None or isinstance(error, SpinneyError), error
            host.restart()
    raise AssertionError("never through")


@pytest.mark.parametrize("block", range(10))
def test_two_hundred_power_cuts_with_torn_writes(block: int) -> None:
    lives = checked = 0
    for seed in range(block * 20, block * 20 + 20):
        some, right = survive(seed)
        lives += some - 1
        checked += right
    assert lives >= 20, "a seed for each crash"
    assert checked > 20, "the record is of use"


ROOT = Path(__file__).parents[2]
WRITER = """
import asyncio, sys
sys.path[:0] = [{src!r}, {tests!r}]
from content import killed
asyncio.run(killed.write(sys.argv[1], int(sys.argv[2])))
"""


async def test_twenty_kills_of_a_real_process(tmp_path: Path) -> None:
    script = WRITER.format(src=str(ROOT / "src"), tests=str(ROOT / "tests"))
    rng = random.Random(5)
    kept = 0
    for kill in range(20):
        folder = tmp_path / f"out{kill // 4}"
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder), str(kill)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        time.sleep(rng.uniform(0.0, 0.08))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
        host = LiveHost(seed=kill)
        store = FolderStore(host.storage, KILLED.descriptor, str(folder))
        data = store.load()
        assert data is not None
        transfer = Transfer(host, KILLED.descriptor, store)
        record = decode_record(data, transfer.infohash, transfer.needed.size)
        assert record is not None
        await transfer.start()
        assert set(record.pieces) <= set(transfer.have)
        for piece in transfer.have:
            offset, length = piece * KILLED.piece_length, KILLED.descriptor.piece_bytes(piece)
            assert bytes(await transfer.read(offset, length)) == KILLED.piece(piece)
        kept += record.pieces.count
        await transfer.close()
        host.close()
    assert kept > 20, "the kills came after something was marked"
