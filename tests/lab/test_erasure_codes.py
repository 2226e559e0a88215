"""The table of erasure codes: what each is for shows in its rows."""

from __future__ import annotations

import platform
import sys
from typing import Any

import pytest

from needs import require_module
from spinney import lab
from spinney.lab.erasure_codes import losses
from spinney.lab.experiment import Trial

SMALL = {"chunks": 20, "symbols": 60, "symbol_bytes": 16}


def row(**parameters: Any) -> dict[str, Any]:
    result = lab.replay("erasure-codes", 0, {**SMALL, **parameters})
    assert not result.error
    return dict(result.rows[0])


def test_redundancy_mends_random_losses_and_parity_the_least() -> None:
    given = {"pattern": "random", "loss": 0.03, "redundancy": 0.2}
    shares = {
        code: row(code=code, **given)["recovered"]
        for code in ("none", "parity", "reed-solomon", "fountain", "across")
    }
    assert shares["none"] < 0.98
    assert shares["none"] < shares["parity"] < shares["reed-solomon"] == 1
    assert shares["fountain"] == 1


def test_only_a_code_across_chunks_makes_chunks_that_never_came() -> None:
    given = {"pattern": "absent", "loss": 0.1, "redundancy": 0.2}
    assert row(code="across", **given)["whole_file"]
    for code in ("none", "parity", "reed-solomon", "fountain"):
        assert row(code=code, **given)["whole_chunks"] <= 0.95


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="not on this system: raptorq has wheels for Linux on x86-64",
)
def test_raptorq_is_a_row_like_the_others() -> None:
    require_module("raptorq")
    given = {"pattern": "random", "loss": 0.03, "redundancy": 0.2, "code": "raptorq"}
    assert row(**given)["recovered"] == 1


@pytest.mark.parametrize("pattern", ["random", "bursts", "absent"])
def test_a_pattern_loses_its_share(pattern: str) -> None:
    from random import Random

    shares = [len(losses(pattern, 2000, 0.1, 40, Random(seed))) / 2000 for seed in range(40)]
    assert 0.08 < sum(shares) / 40 < 0.12


def test_pairs_can_check_little_of_a_partial_download() -> None:
    def share(name: str, **parameters: float) -> float:
        results = [lab.replay("circular-checksums", seed, parameters) for seed in range(5)]
        assert not any(result.error for result in results)
        return sum(float(result.rows[0][name] or 0) for result in results) / 5

    assert 0.15 < share("checkable", received=0.1) < 0.23
    assert 0.7 < share("checkable", received=0.5) < 0.8
    assert share("checkable", received=1.0) == 1
    assert share("bad_named", bad=0.01) > 0.98
    assert 0.35 < share("bad_named", bad=0.5) < 0.52


def test_names_that_do_not_exist_are_said() -> None:
    from spinney.lab.erasure_codes import EXPERIMENT

    assert "no code" in Trial(EXPERIMENT, 0, {**SMALL, "code": "magic"}).perform().error
    assert "no pattern" in Trial(EXPERIMENT, 0, {**SMALL, "pattern": "magic"}).perform().error
