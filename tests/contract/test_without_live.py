"""Taking `net.live` away leaves the simulated side of the contract passing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name == "spinney.net.live" or name.startswith("spinney.net.live."):
            raise ImportError(f"{name} is taken away")

sys.meta_path.insert(0, Forbidden())
import pytest
code = pytest.main(["-p", "no:cacheprovider", "-k", "[sim", sys.argv[1]])
assert not any(name.startswith("spinney.net.live") for name in sys.modules)
sys.exit(code)
"""


def test_the_simulated_side_needs_nothing_of_the_live_one() -> None:
    here = Path(__file__).parent
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(here)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=here.parents[1],
    )
    assert ended.returncode == 0, ended.stdout[-3_000:] + ended.stderr[-1_000:]
    assert "passed" in ended.stdout
