"""Every example is short, runs as written, and does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.processes import LOCAL, Running, environment, sharing
from project.tree import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MOST_LINES = 60


def run_example(name: str, *arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name, *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short_and_says_how_it_runs(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") < MOST_LINES
    assert f"python examples/{path.name}" in text


def test_every_example_is_run_here() -> None:
    here = Path(__file__).read_text()
    assert all(f'"{path.name}"' in here for path in EXAMPLES)


@pytest.mark.parametrize("name", ["get_file.py", "synchronous.py"])
def test_an_example_fetches_a_file(name: str, tmp_path: Path) -> None:
    data = os.urandom(500_000)
    (tmp_path / "thing.bin").write_bytes(data)
    with sharing(tmp_path / "thing.bin", cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        assert "thing.bin" in run_example(name, link, "copy", cwd=tmp_path)
    assert (tmp_path / "copy" / "thing.bin").read_bytes() == data


def test_an_example_shares_a_file(tmp_path: Path) -> None:
    data = os.urandom(500_000)
    (tmp_path / "thing.bin").write_bytes(data)
    child = subprocess.Popen(
        [sys.executable, ROOT / "examples" / "share_file.py", "thing.bin"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        link = child.stdout.readline().strip()
        with Running("get", link, "-o", "copy", *LOCAL, cwd=tmp_path) as getter:
            getter.until("done")
    finally:
        child.terminate()
        child.wait(20)
        assert child.stdout is not None
        child.stdout.close()
    assert (tmp_path / "copy" / "thing.bin").read_bytes() == data


def test_an_example_of_a_classroom(tmp_path: Path) -> None:
    data = os.urandom(500_000)
    (tmp_path / "thing.bin").write_bytes(data)
    child = subprocess.Popen(
        [sys.executable, ROOT / "examples" / "classroom.py", "thing.bin", "2", "--here"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        link = child.stdout.readline().strip()
        here = [*LOCAL, "--ttl", "0"]
        with (
            Running("get", link, "-o", "one", *here, cwd=tmp_path) as one,
            Running("get", link, "-o", "other", *here, cwd=tmp_path) as other,
        ):
            one.until("done", 60)
            other.until("done", 60)
            for each in (one, other):  # they say so before they leave
                assert each.wait() == 0, (each.events[-1], each.stderr())
        assert "2 have joined: sending" in child.stdout.read()
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
    assert (tmp_path / "other" / "thing.bin").read_bytes() == data


def test_two_peers_in_one_process(tmp_path: Path) -> None:
    assert "the same bytes" in run_example("two_peers_one_process.py", cwd=tmp_path)


def test_a_tracker_of_ones_own(tmp_path: Path) -> None:
    out = run_example("own_tracker.py", cwd=tmp_path)
    assert out.startswith("tracker http://127.0.0.1:")
    assert "secret.bin" in out
