"""The wheel: built, installed into an empty folder's fresh environment, and run there."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from project.tree import ROOT

pytestmark = pytest.mark.timeout(300)  # one worker has all of them: tests/scheduling.py


def run(command: list[str | Path], **options: object) -> str:
    """What a program prints; its failure is ours, with what it said."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=240,
        **options,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT])
    (made,) = folder.glob("spinney-*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `spinney` of a fresh environment; nothing of this tree is on its path."""
    folder = tmp_path_factory.mktemp("empty")
    run([sys.executable, "-m", "venv", "--without-pip", folder / "env"])
    pip = [sys.executable, "-m", "pip", "--python", folder / "env" / "bin" / "python"]
    run([*pip, "install", "--quiet", "--disable-pip-version-check", wheel])
    return folder / "env" / "bin" / "spinney"


def clean_environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"spinney"}
    assert "spinney/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_version_and_help_run(installed: Path, tmp_path: Path) -> None:
    environment = clean_environment()
    assert run([installed, "--version"], cwd=tmp_path, env=environment).startswith("spinney")
    assert "share" in run([installed, "--help"], cwd=tmp_path, env=environment)


def test_a_file_goes_from_one_process_to_another(installed: Path, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "thing.bin").write_bytes(data)
    environment = clean_environment()
    sharer = subprocess.Popen(
        [installed, "share", "thing.bin", "--json", "--interface", "lo", "--no-lan", "--port", "0"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert sharer.stdout is not None
        ready = json.loads(sharer.stdout.readline())
        assert ready["event"] == "ready"
        assert ready["sha256"] == hashlib.sha256(data).hexdigest()
        run(
            [installed, "get", ready["link"], "-o", "out", "--no-lan"],
            cwd=tmp_path,
            env=environment,
        )
        assert (tmp_path / "out" / "thing.bin").read_bytes() == data
    finally:
        sharer.terminate()
        assert sharer.wait(30) == 0
