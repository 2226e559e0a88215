"""`make demo`, smaller: it verifies every copy, sums up, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.processes import environment
from project.tree import ROOT

DEMO = [sys.executable, str(ROOT / "demo" / "demo.py"), "--plain"]


def test_the_demo_verifies_and_sums_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--size", "4", "--getters", "3"],
        env=dict(environment(), TMPDIR=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 of 6 copies read back from disk are right" in done.stdout
    for words in (
        "lower bound",
        "the sharer sent",
        "3 separate copies",
        "magnet:?",
        "multicast, beside the swarm",
        "the swarm alone",
    ):
        assert words in done.stdout
    assert not list(tmp_path.iterdir()), "the demo cleans up its files"


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_demo(end: int, tmp_path: Path) -> None:
    if end == signal.SIGKILL and sys.platform != "linux":
        pytest.skip("not on this system: only Linux tells children that their parent died")
    child = subprocess.Popen(
        [*DEMO, "--size", "64", "--getters", "2", "--up", "500k"],
        env=dict(environment(), TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        if "the sharer sent" in line:
            break
    children = processes_under(tmp_path)
    assert len(children) >= 3
    child.send_signal(end)
    child.wait(20)
    child.stdout.close()
    deadline = time.monotonic() + 15
    while processes_under(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes_under(tmp_path)


def processes_under(folder: Path) -> list[int]:
    """Those that name `folder` on their command line."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                line = Path("/proc", entry, "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in line:
                found.append(int(entry))
    return found
