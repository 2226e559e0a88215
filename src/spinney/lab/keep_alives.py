"""The interval between keep-alives: how long a group is without a leader, and what it costs.

A group whose members have everything; its leader is killed `kills` times.  Without a leader: from
the kill until another leads.  Traffic: control bytes a second that all members together send to
the LAN while a leader is there and nothing is transferred, directory included.  A leader that is
elected again after it was wrongly missed (`needless`) shows an interval too short for the loss.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from statistics import mean

from spinney.lab._rooms import Machine, leader_of
from spinney.lab._torrents import Torrent
from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.mcftp.settings import Settings
from spinney.sim import Link, Uniform

QUIET_S = 20.0
"""Measured for so long, and for ten intervals at least, before anybody is killed."""
LOOK_S = 0.01


def run(trial: Trial) -> Iterator[Row]:
    """One row for the group: seconds without a leader, control bytes a second."""
    world = trial.world()
    link = Link(latency=Uniform(0.0002, 0.002), loss=trial["loss"])
    lan = world.lan("room", link=link, isolated=True, prefix4="10.7.0.0/16")
    torrent = Torrent(64 << 10, 16 << 10, trial.rng("torrent"))
    interval = trial["keep_alive_s"]
    settings = Settings(keep_alive_s=interval)
    count = trial["members"] + trial["kills"]
    machines = [Machine(world.host(f"m{number}", on=lan)) for number in range(count)]

    async def until(ready: Callable[[], bool], limit_s: float) -> float:
        began = world.loop.time()
        async with asyncio.timeout(limit_s):
            while not ready():
                await asyncio.sleep(LOOK_S)
        return world.loop.time() - began

    async def launch(machine: Machine) -> None:
        await machine.start()
        await machine.node(await machine.transfer(torrent, full=True), settings)

    async def scenario() -> dict[str, float]:
        for machine in machines:
            await machine.host.start(launch(machine))
        alive = list(machines)

        def leads() -> bool:
            return leader_of([machine.nodes[0] for machine in alive]) is not None

        await until(leads, 60.0)
        await asyncio.sleep(12 * interval)  # electors are known to all
        terms = {machine.nodes[0].election.leader_term for machine in alive}
        said = [machine.groups.tally.control_bytes for machine in alive]
        quiet_s = max(QUIET_S, 10 * interval)
        await asyncio.sleep(quiet_s)
        rate = sum(m.groups.tally.control_bytes for m in alive) - sum(said)
        needless = max(m.nodes[0].election.leader_term for m in alive) - max(terms)
        without: list[float] = []
        for _ in range(trial["kills"]):
            leader = next(m for m in alive if m.nodes[0].leading is not None)
            alive.remove(leader)
            leader.host.crash()
            without.append(await until(leads, 60.0 * max(1.0, interval)))
            await asyncio.sleep(12 * interval)
        return {
            "without_mean_s": round(mean(without), 3),
            "without_most_s": round(max(without), 3),
            "intervals_mean": round(mean(without) / interval, 2),
            "control_bytes_per_s": round(rate / quiet_s, 1),
            "needless": needless,
        }

    yield {**world.run(scenario())}


def _in_time(rows: Sequence[Row]) -> bool:
    return all(float(row["intervals_mean"] or 0) < 12 for row in rows)


EXPERIMENT = Experiment(
    name="keep-alives",
    doc="Interval of keep-alives: time without a leader against traffic",
    parameters={"members": 8, "kills": 4, "keep_alive_s": 1.0, "loss": 0.0},
    grid={"keep_alive_s": (0.1, 0.25, 0.5, 1.0, 2.0, 5.0), "loss": (0.0, 0.05)},
    run=run,
    checks=(Check("another leads within a new reign's time", _in_time),),
    plot=Plot(
        x="keep_alive_s",
        y="without_mean_s",
        by="loss",
        title="Seconds without a leader / interval of keep-alives",
        log_x=True,
    ),
    source="MC-FTP paper, section III",
    seeds=5,
    bounds={
        "members": (2, 200),
        "kills": (1, 50),
        "keep_alive_s": (0.05, 60.0),
        "loss": (0.0, 0.9),
    },
)
