"""The Makefile and the test run itself: clear words, no silent skips, seeds that are told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from needs import require_program
from project.tree import ROOT

CASES = """
import pytest
from needs import require_module, require_program, require_root

def test_program():
    require_program("no-such-program-here")

def test_module():
    require_module("no_such_module_here")

def test_plain_skip():
    pytest.skip("for no good reason")

def test_platform():
    pytest.skip("not on this system: another one")

def test_expected():
    pytest.xfail("known")

def test_with_seed(seed):
    assert seed == 7, "chance"
"""


def run_pytest(folder: Path, *more: str, ci: bool) -> str:
    for name in ("conftest.py", "needs.py", "scheduling.py"):
        shutil.copy(ROOT / "tests" / name, folder)
    (folder / "test_cases.py").write_text(CASES)
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    environment = {**os.environ, "CI": "true" if ci else ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", *more],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def test_a_missing_program_is_a_skip_here_and_a_failure_in_ci(tmp_path: Path) -> None:
    here = run_pytest(tmp_path, "--seed", "7", ci=False)
    assert "1 passed, 4 skipped, 1 xfailed" in here
    there = run_pytest(tmp_path, "--seed", "7", ci=True)
    assert "3 failed, 1 passed, 1 skipped, 1 xfailed" in there
    assert "no-such-program-here is not installed" in there
    assert "skipped under CI=true: " in there


def test_a_failing_seed_is_told(tmp_path: Path) -> None:
    out = run_pytest(tmp_path, "-k", "seed", "--seed", "3", ci=False)
    assert "again: pytest test_cases.py::test_with_seed --seed 3" in out


@pytest.fixture
def make() -> str:
    return require_program("make")


def test_an_old_python_is_told_what_to_do(make: str, tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.8.1" && exit 0\nexit 1\n')
    old.chmod(0o755)
    for python, words in ((old, "3.11 or newer; "), ("no-such-python", "No 'no-such-python'")):
        done = subprocess.run(
            [make, "-C", ROOT, "test", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode != 0
        assert words in done.stdout + done.stderr
        assert "make PYTHON=python3.12" in done.stdout + done.stderr


def test_what_is_set_up_is_not_set_up_again(make: str, tmp_path: Path) -> None:
    """Stamps: `make demo` asks pip for nothing the second time, nor after `make test`."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").touch()
    for stamp in ("stamp-develop", "stamp-run"):
        (venv / stamp).touch()
    for target in ("demo", "test", "lint", "bench", "mutants"):
        done = subprocess.run(
            [make, "-n", "-C", ROOT, target, f"VENV={venv}"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert " pip install " not in done.stdout
    os.utime(venv / "stamp-run", (0, 0))
    done = subprocess.run(
        [make, "-n", "-C", ROOT, "demo", f"VENV={venv}"], capture_output=True, text=True, timeout=60
    )
    assert "pip install --quiet --editable ." in done.stdout
    assert "[" not in done.stdout.split("pip install")[1].splitlines()[0], "runtime alone"


def test_ci_is_a_script_that_parses() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True, timeout=20)
