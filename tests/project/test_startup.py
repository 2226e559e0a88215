"""`spinney --version` answers at once, because almost nothing is imported for it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from project.tree import PACKAGE

PROBE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from spinney.cli import run
code = run(json.loads(sys.argv[2]))
print("\\n" + json.dumps([code, sorted(sys.modules)]))
"""

HEAVY = ["asyncio", "ssl", "socket", "rich", "h11", "http", "email", "logging", "hashlib"]
HEAVY += ["concurrent", "multiprocessing", "cryptography", "aiohttp", "numpy"]
ROOMS = ["net", "wire", "content", "bittorrent", "sim", "lab", "peer", "events"]


def loaded_by(arguments: list[str]) -> tuple[int, set[str]]:
    """The exit code, and the modules that stand in `sys.modules` at the end."""
    command = [sys.executable, "-c", PROBE, str(PACKAGE.parent), json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, set(modules)


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], ["share", "--help"], ["get", "--help"], ["completion", "bash"]],
    ids=" ".join,
)
def test_nothing_heavy_is_loaded(arguments: list[str]) -> None:
    code, modules = loaded_by(arguments)
    assert code == 0
    assert not modules & set(HEAVY)
    assert not modules & {f"spinney.{room}" for room in ROOMS}


def test_version_loads_no_verb() -> None:
    _, modules = loaded_by(["--version"])
    assert {name for name in modules if name.startswith("spinney")} == {
        "spinney",
        "spinney.cli",
        "spinney.errors",
    }


def test_importing_the_package_loads_no_room() -> None:
    """`import spinney` is lazy: names come when they are used."""
    probe = "import sys, spinney; print(sorted(m for m in sys.modules if m.startswith('spinney')))"
    done = subprocess.run(
        [sys.executable, "-c", probe],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    assert done.stdout.strip() == "['spinney']", done.stderr


def test_python_m_spinney_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spinney", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    assert done.returncode == 0
    assert done.stdout.startswith("spinney, version ")


def test_a_download_loads_no_tracker_no_registry_and_no_http() -> None:
    """What only other commands need is imported by those: each module is paid at each start."""
    probe = "import json, sys, spinney; spinney.Peer; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", probe],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(PACKAGE.parent)},
    )
    modules = json.loads(done.stdout)
    assert "spinney.bittorrent.swarm" in modules
    others = ("h11", "numpy", "spinney.p2pcast", "spinney.bittorrent.tracker.client")
    assert not [name for name in modules if name.startswith(others)]
