"""`spinney doctor` on two machines of a LAN."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from bench.rig.lan import Lan

pytestmark = pytest.mark.needs_root


def doctors(lan: Lan, *options: str) -> list[dict[str, Any]]:
    """The reports of hosts 0 and 1, run at the same time."""
    command = [sys.executable, "-m", "spinney", "doctor", "--json", "--interface", "eth0"]
    children = [
        lan.start(host, [*command, *options], stdout=subprocess.PIPE, text=True) for host in (0, 1)
    ]
    return [json.loads(child.communicate(timeout=40)[0]) for child in children]


def test_two_machines_measure_a_lan() -> None:
    with Lan(2, offloads="merge", rate_mbit=200, loss=0.1) as lan:  # lost on the way to host 1
        near, far = doctors(lan)
        for report in (near, far):
            assert report["works"], report
            assert [row["family"] for row in report["machines"]] == [4, 6]
            for row in report["machines"]:
                assert 0 < row["round_trip_s"] < 0.5
                for way in ("there", "back"):
                    assert row[way]["sent"] == 10_000_000 // 1_424
                    assert row[way]["rate_bytes_per_s"] > 5e6
        for row, other in zip(near["machines"], far["machines"], strict=True):
            assert 0.06 < row["there"]["loss"] == other["back"]["loss"] < 0.14
            assert row["back"]["loss"] == other["there"]["loss"] < 0.03
        assert any("lower --rate" in line for line in near["advice"])


def test_a_filter_and_machines_that_are_named() -> None:
    with Lan(2) as lan:
        lan.no_multicast(0)
        lan.no_multicast(1)
        for report in doctors(lan, Lan.address(0), Lan.address(1)):
            assert not report["works"]
            assert [(row["heard"], row["hears_us"]) for row in report["machines"]] == [
                (False, False)
            ]
            assert any("querier" in line for line in report["advice"])
