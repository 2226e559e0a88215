"""Every target for a moment here, for long at night; what was ever found is tried first.

    SPINNEY_FUZZ_SECONDS=600 pytest tests/fuzz         each target for ten minutes

An input that breaks something is printed; keep it as `found/TARGET-what-was-wrong.bin`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.fuzz.plain import Found, fuzz
from tests.fuzz.targets import every_target

from needs import CI

ROOT = Path(__file__).parents[2]
FOUND = Path(__file__).parent / "found"
SECONDS = float(os.environ.get("SPINNEY_FUZZ_SECONDS", "1"))
NIGHT_S = 60.0
NAMES = sorted(every_target().keys() - {"canary"})
MEMORY_MB = 512


def has_atheris() -> bool:
    try:
        import atheris  # noqa: F401
    except ImportError:
        return False
    return True


def guided(names: Sequence[str], seconds: float, folder: Path) -> dict[str, int]:
    """Runs atheris on each: exit codes; `folder / name` has what it said and found."""
    for name in names:
        seeds = folder / name / "seeds"
        seeds.mkdir(parents=True)
        for number, seed in enumerate(every_target()[name].seeds):
            (seeds / str(number)).write_bytes(seed)
    options = [
        f"-max_total_time={int(seconds)}",
        "-timeout=5",
        f"-rss_limit_mb={MEMORY_MB}",
        "-max_len=4096",
        "-seed=1",
        "-print_final_stats=1",
    ]
    # Through a shell that forks: a process begins with its parent's peak of memory, and this
    # parent may have had large tests before.
    forked = ["/bin/sh", "-c", '"$@"; exit $?', "sh"]
    done = subprocess.run(
        [*forked, sys.executable, "-m", "tests.fuzz.guided", folder, *names, "--", *options],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=len(names) * (seconds + 10) + 90,
    )
    return {name: int(code) for name, code in map(str.split, done.stdout.splitlines())}


def nothing_found(name: str, code: int, folder: Path) -> None:
    """Or fails with the input that broke it."""
    said = (folder / name / "said").read_text(errors="replace")
    broken = [
        path.read_bytes()
        for path in (folder / name).iterdir()
        if path.is_file() and path.name != "said"
    ]
    assert code == 0, f"{broken!r}\n{said[-5000:]}"
    tried = re.search(r"number_of_executed_units: (\d+)", said)
    assert tried is not None
    assert int(tried[1]) > 100


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.bin")), ids=lambda path: path.stem)
def test_what_was_found_once(path: Path) -> None:
    names = [name for name in every_target() if path.stem.startswith(name + "-")]
    every_target()[max(names, key=len)].run(path.read_bytes())


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, int], Path]:
    """All targets one after the other, each for `SECONDS`, in one program."""
    folder = tmp_path_factory.mktemp("moments")
    return guided(NAMES, SECONDS, folder), folder


@pytest.mark.timeout(len(NAMES) * (SECONDS + 10) + 120)
@pytest.mark.parametrize("name", NAMES)
def test_every_target_for_a_moment(name: str, request: pytest.FixtureRequest) -> None:
    """By atheris where it is installed, else by the plain fuzzer."""
    if has_atheris():
        codes, folder = request.getfixturevalue("moments")
        nothing_found(name, codes[name], folder)
    else:
        fuzz(every_target()[name], SECONDS)


@pytest.mark.parametrize("name", ["bencode", "torrent"])
def test_the_plain_fuzzer_runs_too(name: str) -> None:
    assert fuzz(every_target()[name], 1.0) > 50


@pytest.mark.night
@pytest.mark.timeout(NIGHT_S * 3 + 120)
@pytest.mark.parametrize("name", NAMES)
def test_every_target_for_long(name: str, tmp_path: Path) -> None:
    seconds = max(SECONDS, NIGHT_S)
    if has_atheris():
        nothing_found(name, guided([name], seconds, tmp_path)[name], tmp_path)
    else:
        fuzz(every_target()[name], seconds)


def test_the_canary_is_found_by_the_plain_fuzzer() -> None:
    with pytest.raises(Found, match="IndexError"):
        fuzz(every_target()["canary"], 90.0)  # ends when it is found; a busy machine is slow


def test_the_canary_is_found_by_atheris(tmp_path: Path) -> None:
    if not has_atheris():
        if CI and sys.version_info < (3, 14):
            pytest.fail("CI has to install atheris")
        pytest.skip("not on this system: atheris is not installed; the plain fuzzer stands in")
    assert guided(["canary"], 30, tmp_path)["canary"] != 0
    assert "IndexError" in (tmp_path / "canary" / "said").read_text(errors="replace")
    assert list((tmp_path / "canary").glob("crash-*"))
