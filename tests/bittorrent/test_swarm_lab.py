"""The experiments run, their checks hold, and they show what they claim (small versions)."""

from __future__ import annotations

from typing import Any

from spinney.lab.experiment import Trial
from spinney.lab.registry import load


def perform(name: str, **parameters: Any) -> dict[str, Any]:
    result = Trial(load(name), 1, parameters).perform()
    assert not result.error, result.error
    return result.rows[0]


def test_the_swarm_comes_near_its_bound() -> None:
    row = perform("swarm", peers=20, size_kib=2048)
    assert 1 <= row["ratio"] < 1.5


def test_a_freeloader_waits_longer() -> None:
    """Some ten rounds of choking, peers' uploads scarce: they go to those that give."""
    scarce = {"up_kb_per_s": 30, "seed_up_kb_per_s": 120}
    row = perform("swarm", peers=20, freeloaders=0.2, **scarce)
    assert row["freeloaders_sent"] == 0
    assert row["penalty"] > 1.1


def test_when_the_seed_leaves_early_only_rationing_left_every_piece() -> None:
    small = {"peers": 12, "size_kib": 2048, "copies": 1.4}
    random = perform("rarest_first", choice="random", **small)
    rationed = perform("rarest_first", choice="rationed", **small)
    assert random["pieces_left"] < 1
    assert rationed["pieces_left"] == 1
    assert rationed["share"] == 1
