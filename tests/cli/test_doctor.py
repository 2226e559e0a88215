"""`spinney doctor` alone, in the simulator and as a process; on a LAN: tests/lan."""

from __future__ import annotations

import asyncio
import json

import pytest

from cli.processes import here, run
from spinney.cli.doctor import command
from spinney.errors import ResolveError
from spinney.peer import examine
from spinney.sim import Constant, Link, World


def test_two_machines_examine_themselves_and_each_other() -> None:
    world = World(2)
    lan = world.lan("lan", link=Link(latency=Constant(0.001)))
    hosts = [world.host(name, on=lan) for name in ("ann", "bob")]

    async def both() -> list[dict[str, object]]:
        tasks = [asyncio.ensure_future(examine(host=host)) for host in hosts]
        return [await task for task in tasks]

    for report, other in zip(world.run(both()), ("bob", "ann"), strict=True):
        assert report["works"] is True
        assert report["advice"] == []
        machines = report["machines"]
        assert isinstance(machines, list)
        assert [(row["name"], row["family"]) for row in machines] == [(other, 4), (other, 6)]
        assert all(row["there"]["loss"] == row["back"]["loss"] == 0 for row in machines)
        assert f"{other} (10.0.1." in "\n".join(report["text"])  # type: ignore[arg-type]
        json.dumps(report)
    world.close()


def test_alone_and_without_a_network() -> None:
    world = World(2)
    alone = world.host("alone", on=world.lan("lan"))
    report = world.run(examine(host=alone, wait_s=2.0))
    assert report["works"] is True
    assert "no other machine" in report["text"][-1]
    deaf = world.host("deaf", on=world.lan("deaf", multicast=False))
    report = world.run(examine(host=deaf, wait_s=2.0))
    assert report["works"] is False
    assert "No interface multicasts" in report["advice"][0]
    with pytest.raises(ResolveError):
        world.run(examine(host=alone, others=["nowhere.test"]))
    world.close()


def test_the_command_says_it_to_people_and_to_programs() -> None:
    done = run("doctor", "--wait", "0")
    assert done.returncode in (0, 1), done.stderr
    for word in ("this machine:", "receive buffer:", "IPv4 multicast within this machine:"):
        assert word in done.stdout
    done = run("doctor", "--wait", "0", "--json", "--interface", "nowhere9")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["works"] is False
    assert not any(card["four"] or card["six"] for card in report["interfaces"])
    assert "text" not in report


def test_wrong_machines_are_wrong_usage_or_one_sentence() -> None:
    done = here("doctor", "--wait", "1", "no such name")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("spinney: ")
    assert "Traceback" not in done.stderr
    assert here("doctor", "--wait", "soon").returncode == 2
    assert command.name == "doctor"
