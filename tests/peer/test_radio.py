"""Machines on a radio, where multicast is slow and lossy and unicast is neither."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from tests.peer.test_multicast import got
from tests.peer.test_peer_simulated import read, write

from spinney.events import Event, Warning
from spinney.peer import Peer
from spinney.sim import Constant, Link, Radio, World

DATA = Random(8).randbytes(24_000_000)
RADIO = Radio(750_000, 0.1)
"""A basic rate of 6 Mbit/s; one frame in ten is not heard."""
STATION = Link(latency=Constant(0.002), up_bytes_per_s=5e6, down_bytes_per_s=5e6)
STATIONS = 3


def fetched(
    seed: int, radio: Radio | None, data: bytes = DATA, **options: Any
) -> tuple[float, float, list[str], list[dict[str, tuple[int, int]]]]:
    """Seconds until the last of three has it, copies that the sharer sent by multicast, what users
    were told, and what came by which way."""
    heard: list[Event] = []

    async def scenario() -> tuple[float, float, list[dict[str, tuple[int, int]]]]:
        write(hosts[0], "image.iso", data)
        async with Peer(hosts[0]) as sharer:
            multicast = options.get("multicast", True)
            sharing = await sharer.share(
                "image.iso", wait_for=STATIONS if multicast else None, **options
            )
            peers = [Peer(host) for host in hosts[1:]]
            loop = asyncio.get_running_loop()
            began = loop.time()
            gettings = [
                await peer.get(sharing.link, "out", on_event=heard.append, **options)
                for peer in peers
            ]
            rows = await asyncio.gather(*(got(getting) for getting in gettings))
            took = loop.time() - began
            sent = sharing.sent_bytes / len(data)
            for peer in peers:
                await peer.close()
        return took, sent, rows

    with World(seed) as world:
        lan = world.lan("radio", radio=radio)
        hosts = [world.host(f"m{n}", on=lan, link=STATION) for n in range(STATIONS + 1)]
        took, sent, rows = world.run(scenario())
        assert all(read(host, "out/image.iso") == data for host in hosts[1:])
    lines = [event.message for event in heard if isinstance(event, Warning)]
    return took, sent, lines, rows


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_swarm_brings_what_a_radio_does_not(seed: int) -> None:
    """Noticed within seconds: little longer than without any multicast, and one line for each."""
    alone, _, _, _ = fetched(seed, RADIO, multicast=False)
    took, _, lines, rows = fetched(seed, RADIO)
    assert took < 1.5 * alone + 6.0  # multicast alone: 35 s
    assert all(row["swarm"][0] > 0.7 * len(DATA) for row in rows)
    assert sorted(lines) == ["multicast brings little here: the swarm helps"] * STATIONS


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_the_swarm_the_rate_of_a_radio_is_found(seed: int) -> None:
    """Although nobody can report while its queue is full."""
    data = DATA[:6_000_000]
    took, sent, lines, _ = fetched(seed, RADIO, data, multicast_only=True)
    floor_s = len(data) / (RADIO.multicast_bytes_per_s * 0.9)
    assert took < 2.5 * floor_s
    assert sent < 3.0
    assert not [line for line in lines if line.startswith("nothing came")]


def test_a_good_lan_is_left_alone() -> None:
    took, sent, lines, rows = fetched(1, None)
    assert took < 1.5 * len(DATA) / 5e6
    assert sent < 1.05
    assert all(row.get("swarm", (0, 0))[0] == 0 for row in rows)
    assert not lines
