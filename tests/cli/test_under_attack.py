"""`spinney share` and `get` as processes of their own, with adversaries on both while they move a
file: it arrives whole, nothing is said on stderr, memory is bounded, progress never stands still.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from tests.bittorrent.adversaries import ADVERSARIES, Attack

from cli.processes import LOCAL, Running, sharing
from spinney.errors import NetworkError
from spinney.net.live.host import LiveHost

SIZE = 6_000_000
PIECE = 65_536
GROWN_KIB = 32 << 10
"""Of one process, at its height; a flood that is kept would be hundreds of mebibytes."""
STILL_S = 4.0
"""Progress is told twice a second; the machine is shared with other tests."""

GROUPS = {
    "liars": ("wrong bitfields", "bad pieces", "bad pieces now and then", "promises only"),
    "floods": (
        "endless messages",
        "oversized messages",
        "flood of requests",
        "flood of metadata requests",
        "haves and interest",
        "data that nobody asked for",
    ),
    "crowds": ("a hundred connections", "slow trickle", "exchange of garbage"),
}


def test_no_adversary_is_left_out() -> None:
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(ADVERSARIES)


def kib(process: Running, field: str) -> int:
    for line in Path(f"/proc/{process.child.pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise AssertionError(field)


async def attacked(names: Sequence[str], ports: Sequence[int], infohash: bytes) -> list[Attack]:
    """All adversaries at once on every port, each from a loopback address of its own."""
    host = LiveHost()
    attacks: list[Attack] = []

    async def one(name: str, attack: Attack) -> None:
        with contextlib.suppress(NetworkError):
            await ADVERSARIES[name](attack)

    try:
        running = []
        for number, name in enumerate(names):
            for port in ports:
                here = (f"127.0.0.{20 + number}", 0)
                victim = ("127.0.0.1", port)
                attack = Attack(host, victim, infohash, -(-SIZE // PIECE), Random(number), here)
                attacks.append(attack)
                running.append(asyncio.create_task(one(name, attack)))
        await asyncio.wait(running, timeout=12)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for attack in attacks:
            attack.close()
    finally:
        host.close()
    return attacks


@pytest.mark.parametrize("group", GROUPS)
def test_a_file_arrives_under_attack(group: str, tmp_path: Path) -> None:
    original = tmp_path / "original.bin"
    original.write_bytes(os.urandom(SIZE))
    slow = ("--up", "600k", "--piece-length", "64k")
    with sharing(original, *slow, cwd=tmp_path) as sharer:
        ready = sharer.until("ready")
        get = ("get", ready["link"], "-o", "out", *LOCAL, "--seed-time", "5m")
        with Running(*get, cwd=tmp_path) as getter:
            port = getter.until("ready")["port"]
            getter.until_some_bytes()
            before = kib(sharer, "VmRSS"), kib(getter, "VmRSS")
            attacks = asyncio.run(
                attacked(GROUPS[group], (port, ready["port"]), bytes.fromhex(ready["infohash"]))
            )
            done = getter.until("done", timeout=60)
            grown = kib(sharer, "VmHWM") - before[0], kib(getter, "VmHWM") - before[1]
            getter.stop()
            assert "Traceback" not in (said := getter.stderr()), said
        assert sharer.stop() == 0
        assert "Traceback" not in (said := sharer.stderr()), said
    assert done["sha256"] == hashlib.sha256(original.read_bytes()).hexdigest()
    assert sum(len(attack.strangers) for attack in attacks) >= 2 * len(GROUPS[group])
    assert max(grown) < GROWN_KIB, grown
    for process in (sharer, getter):
        times = [row["time"] for row in process.events if row["event"] == "progress"]
        assert max(b - a for a, b in itertools.pairwise(times)) < STILL_S
