"""One peer offers many files: how many groups it joins, and how long the last one waits.

The paper's question: how many files should a peer offer, and how would it cycle through many of
them?  `files` files, each wanted by one machine from the first second on; the offerer's line is
shared by what it offers at a time.  `at_once`: files whose management group it leads at a time (0:
all of them).  It offers the next one when a file was served, or, if nobody came, after `frame_s`.
A machine whose file is not offered yet finds no group and looks again with the usual back-off.
`wanted`: so large a part of the files has a machine that waits; the others only take up time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from statistics import median

from spinney.content.transfer import Transfer
from spinney.lab._rooms import Machine
from spinney.lab._torrents import Torrent
from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.mcftp.settings import Settings
from spinney.sim import Constant, Link

LIMIT_S = 7_200.0
LOOK_S = 0.1


async def offer(machine: Machine, transfer: Transfer, settings: Settings, frame_s: float) -> None:
    """One file's turn: until it was served, or nobody came for so long."""
    node = await machine.node(transfer, settings)
    began = machine.host.time()
    while True:
        await asyncio.sleep(LOOK_S)
        members = node.leading.leader.members if node.leading is not None else None
        if members is not None and members.joined():
            if all(member.complete for member in members.receivers):
                break
        elif machine.host.time() - began > frame_s:
            break
    await node.close()
    machine.nodes.remove(node)


def run(trial: Trial) -> Iterator[Row]:
    """One row: seconds until the first, the median and the last has its file, groups, traffic."""
    world = trial.world()
    lan = world.lan(
        "room", link=Link(latency=Constant(0.0003)), isolated=True, prefix4="10.7.0.0/16"
    )
    rng = trial.rng("files")
    files, size = trial["files"], trial["size_kib"] << 10
    torrents = [Torrent(size, 16 << 10, rng) for _ in range(files)]
    at_once = trial["at_once"] or files
    rate = round(trial["rate_kb_per_s"] * 1e3)
    ours = Settings(
        rate_bytes_per_s=max(1, rate // min(at_once, files)), send_only=True, interested=False
    )
    offerer = Machine(world.host("offerer", on=lan), leaderships=max(20, at_once))
    wanted = rng.sample(range(files), max(1, round(files * trial["wanted"])))
    getters = [(Machine(world.host(f"m{number}", on=lan)), number) for number in sorted(wanted)]

    async def offering(transfers: list[Transfer]) -> None:
        """For ever: who came too late for its file's turn has it in the next round."""
        turns = asyncio.Queue[Transfer]()
        for transfer in transfers:
            turns.put_nowait(transfer)

        async def worker() -> None:
            while True:
                transfer = await turns.get()
                await offer(offerer, transfer, ours, trial["frame_s"])
                turns.put_nowait(transfer)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, files)):
                group.create_task(worker())

    async def scenario() -> list[float]:
        await offerer.start()
        transfers = [await offerer.transfer(torrent, full=True) for torrent in torrents]
        for machine, _ in getters:
            await machine.start()
        began = world.loop.time()
        task = asyncio.ensure_future(offering(transfers))
        for machine, number in getters:
            await machine.node(await machine.transfer(torrents[number]), Settings())
        async with asyncio.timeout(LIMIT_S):
            while not all(machine.done_at_s for machine, _ in getters):
                await asyncio.sleep(LOOK_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return sorted(next(iter(m.done_at_s.values())) - began for m, _ in getters)

    waits = world.run(scenario())
    tally = offerer.groups.tally
    yield {
        "wanted_files": len(getters),
        "bound_s": round(len(getters) * size / rate, 3),
        "first_s": round(waits[0], 3),
        "median_s": round(median(waits), 3),
        "last_s": round(waits[-1], 3),
        "groups_offerer": tally.most_groups,
        "groups_getter": max(machine.groups.tally.most_groups for machine, _ in getters),
        "control_bytes_per_s": round(tally.control_bytes / waits[-1], 1),
    }


def _few_groups(rows: Sequence[Row]) -> bool:
    return all(int(row["groups_getter"] or 0) <= 4 for row in rows)


EXPERIMENT = Experiment(
    name="offered-files",
    doc="Many offered files: groups that a peer joins, waiting time of the last",
    parameters={
        "files": 40,
        "size_kib": 256,
        "rate_kb_per_s": 1_000,
        "at_once": 5,
        "frame_s": 5.0,
        "wanted": 1.0,
    },
    grid={"files": (5, 10, 20, 40), "at_once": (1, 5, 20, 0), "wanted": (1.0, 0.25)},
    run=run,
    checks=(Check("who wants one file joins few groups", _few_groups),),
    plot=Plot(
        x="files", y="last_s", by="at_once", title="Seconds until the last has its file / files"
    ),
    source="MC-FTP paper, section IV",
    seeds=3,
    bounds={
        "files": (1, 1_000),
        "size_kib": (1, 1 << 16),
        "rate_kb_per_s": (1, 1_000_000),
        "at_once": (0, 1_000),
        "frame_s": (0.5, 3_600.0),
        "wanted": (0.0, 1.0),
    },
)
