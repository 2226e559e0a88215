"""The same seed gives the same run: in one process, in others, whatever the hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCENARIO = Path(__file__).with_name("scenario.py")
SOURCE = Path(__file__).parents[2] / "src"


def digest_elsewhere(seed: int, hash_seed: str) -> str:
    environment = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "PYTHONPATH": f"{SOURCE}{os.pathsep}{SCENARIO.parents[1]}",
    }
    command = [sys.executable, str(SCENARIO), str(seed)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_digest_in_every_process_and_for_every_hash_seed(seed: int) -> None:
    from sim.scenario import digest

    own = digest(seed)
    assert digest(seed) == own, "twice in one process"
    assert {digest_elsewhere(seed, hash_seed) for hash_seed in ("0", "1", "31337")} == {own}


def test_another_seed_gives_another_digest() -> None:
    from sim.scenario import digest

    assert len({digest(seed) for seed in range(6)}) == 6
