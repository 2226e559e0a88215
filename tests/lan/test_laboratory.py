"""The laboratory of multicast is checked before anything measured in it is believed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from needs import require_program, require_root

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "rig" / "lan_selftest.py"

pytestmark = [pytest.mark.needs_root, pytest.mark.timeout(120)]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("frames", id="members_get_a_groups_frames_and_strangers_do_not"),
        pytest.param("losses", id="what_two_lose_together_is_the_product_of_their_losses"),
        pytest.param("lasting", id="frames_still_come_fifteen_seconds_after_the_join"),
    ],
)
def test_the_laboratory(name: str) -> None:
    for program in ("ip", "tc", "nft", "ethtool", "bridge"):
        require_program(program)
    require_root()
    done = subprocess.run(
        [sys.executable, str(SCRIPT), name], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert f'"{name}"' in done.stdout
