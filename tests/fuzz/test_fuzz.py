"""Every target for a moment here, for long at night; what was ever found is tried first.

    SPINNEY_FUZZ_SECONDS=600 pytest tests/fuzz         each target for ten minutes

An input that breaks something is printed; keep it as `found/TARGET-what-was-wrong.bin`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fuzz.plain import Found, fuzz
from tests.fuzz.targets import every_target

from needs import CI

ROOT = Path(__file__).parents[2]
FOUND = Path(__file__).parent / "found"
SECONDS = float(os.environ.get("SPINNEY_FUZZ_SECONDS", "2"))
NIGHT_S = 60.0
NAMES = sorted(every_target().keys() - {"canary"})
MEMORY_MB = 512


def has_atheris() -> bool:
    try:
        import atheris  # noqa: F401
    except ImportError:
        return False
    return True


def guided(name: str, seconds: float, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs atheris in a process of its own: it never returns."""
    seeds = folder / "seeds"
    seeds.mkdir()
    for number, seed in enumerate(every_target()[name].seeds):
        (seeds / str(number)).write_bytes(seed)
    options = [
        f"-max_total_time={int(seconds)}",
        "-timeout=5",
        f"-rss_limit_mb={MEMORY_MB}",
        "-max_len=4096",
        "-seed=1",
        "-print_final_stats=1",
        f"-artifact_prefix={folder}/",
    ]
    # Through a shell that forks: a process begins with its parent's peak of memory, and this
    # parent may have had large tests before.
    forked = ["/bin/sh", "-c", '"$@"; exit $?', "sh"]
    return subprocess.run(
        [*forked, sys.executable, "-m", "tests.fuzz.guided", name, *options, str(seeds)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=seconds + 90,
    )


def run(name: str, seconds: float, folder: Path) -> None:
    """By atheris where it is installed, else by the plain fuzzer."""
    if not has_atheris():
        fuzz(every_target()[name], seconds)
        return
    done = guided(name, seconds, folder)
    broken = [path.read_bytes() for path in folder.iterdir() if path.is_file()]
    assert done.returncode == 0, f"{broken!r}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    tried = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert tried is not None
    assert int(tried[1]) > 100


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.bin")), ids=lambda path: path.stem)
def test_what_was_found_once(path: Path) -> None:
    names = [name for name in every_target() if path.stem.startswith(name + "-")]
    every_target()[max(names, key=len)].run(path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_every_target_for_a_moment(name: str, tmp_path: Path) -> None:
    run(name, SECONDS, tmp_path)


@pytest.mark.parametrize("name", ["bencode", "torrent"])
def test_the_plain_fuzzer_runs_too(name: str) -> None:
    assert fuzz(every_target()[name], 1.0) > 50


@pytest.mark.night
@pytest.mark.timeout(NIGHT_S * 3 + 120)
@pytest.mark.parametrize("name", NAMES)
def test_every_target_for_long(name: str, tmp_path: Path) -> None:
    run(name, max(SECONDS, NIGHT_S), tmp_path)


def test_the_canary_is_found_by_the_plain_fuzzer() -> None:
    with pytest.raises(Found, match="IndexError"):
        fuzz(every_target()["canary"], 90.0)  # ends when it is found; a busy machine is slow


def test_the_canary_is_found_by_atheris(tmp_path: Path) -> None:
    if not has_atheris():
        if CI and sys.version_info < (3, 14):
            pytest.fail("CI has to install atheris")
        pytest.skip("not on this system: atheris is not installed; the plain fuzzer stands in")
    done = guided("canary", 30, tmp_path)
    assert done.returncode != 0
    assert "IndexError" in done.stderr + done.stdout
    assert list(tmp_path.glob("crash-*"))
