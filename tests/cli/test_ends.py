"""What a group can be fed from and poured into: pipes, block devices, folders of many files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from cli.processes import Running, environment
from cli.test_multicast import HERE, digest
from needs import require_program, require_root

SIZE = 3_000_000
ONLY = (*HERE, "--multicast-only")


def sharing(*words: str | Path, cwd: Path) -> Running:
    return Running("share", *words, *ONLY, "--rate", "3M", cwd=cwd)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Callable[[bytes, int], str]]:
    """Makes loop devices with such content, of such a size."""
    require_root()
    require_program("losetup")
    made: list[str] = []

    def attach(content: bytes, size: int) -> str:
        path = tmp_path / f"disk{len(made)}"
        path.write_bytes(content.ljust(size, b"\xff"))
        done = subprocess.run(
            ["losetup", "--find", "--show", str(path)], capture_output=True, text=True, timeout=20
        )
        if done.returncode:
            pytest.skip(f"not on this system: no loop device ({done.stderr.strip()})")
        made.append(done.stdout.strip())
        return made[-1]

    yield attach
    for each in made:
        subprocess.run(["losetup", "--detach", each], check=False, timeout=20)


def test_a_disk_is_copied_to_disks(device: Callable[[bytes, int], str], tmp_path: Path) -> None:
    """A device as the source, devices as outputs: in place, nothing beyond what was shared."""
    content = os.urandom(SIZE - SIZE % 512)
    source = device(content, len(content))
    targets = [device(b"", len(content) + 1_048_576) for _ in range(2)]
    with sharing(source, "--wait-for", "2", cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        gets = [Running("get", link, "-o", target, *ONLY, cwd=tmp_path) for target in targets]
        try:
            for get in gets:
                done = get.until("done", 60)
                assert list(done["sources"]) == ["multicast"]
                assert get.wait() == 0
        finally:
            for get in gets:
                get.__exit__()
    for target in targets:
        read = Path(target).read_bytes()
        assert read[: len(content)] == content
        assert set(read[len(content) :]) == {0xFF}
    names = {each.name for each in tmp_path.iterdir()}
    assert not [name for name in names if name.endswith(".part")], "no scratch copy"


def test_from_a_pipe_into_a_pipe(tmp_path: Path) -> None:
    """`share -` keeps what came as long as it shares it; `get -o -` has the bytes in order."""
    content = os.urandom(SIZE)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (tmp_path / "in").write_bytes(content)
    reading, writing = os.pipe()
    feeding = subprocess.Popen(["cat", str(tmp_path / "in")], stdout=writing)
    os.close(writing)
    words = [sys.executable, "-m", "spinney", "share", "-", "--name", "data.bin", *ONLY]
    out: IO[bytes]
    with (tmp_path / "events").open("wb") as out:
        sharer = subprocess.Popen(
            [*words, "--json", "--rate", "3M", "--torrent-out", "it.torrent"],
            cwd=tmp_path,
            env={**environment(), "TMPDIR": str(scratch)},
            stdin=reading,
            stdout=out,
        )
    os.close(reading)
    try:
        feeding.wait(20)
        command = [sys.executable, "-m", "spinney", "get", "it.torrent", "-o", "-", "--quiet"]
        wait_for(tmp_path / "it.torrent")
        done = subprocess.run(
            [*command, *ONLY], cwd=tmp_path, env=environment(), capture_output=True, timeout=60
        )
        assert done.stdout == content, done.stderr
        assert [path.name for path in scratch.rglob("*") if path.is_file()] == ["data.bin"]
    finally:
        sharer.terminate()
        assert sharer.wait(20) == 0
    assert not list(scratch.iterdir()), "what was kept is gone"


def wait_for(path: Path) -> None:
    ends = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_folder_of_many_files(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for number in range(60):
        place = folder / f"day {number % 7}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.jpg").write_bytes(os.urandom(number * 997))
    with sharing("photos", "--format", "hybrid", cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        with Running("get", link, "-o", "out", *ONLY, cwd=tmp_path) as get:
            done = get.until("done", 60)
            assert get.wait() == 0
    assert list(done["sources"]) == ["multicast"]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 60
    for path in files:
        assert digest(tmp_path / "out" / path.relative_to(tmp_path)) == digest(path)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["-"], 2, "nothing came"),
        (["-", "--name", "a/b"], 2, "no name of a file"),
        (["-", "--name", ""], 2, "no name of a file"),
        (["x", "--name", "y"], 2, "standard input"),
    ],
    ids=["empty", "path", "nothing", "no pipe"],
)
def test_what_cannot_be_shared_is_told_in_a_sentence(
    words: list[str], code: int, told: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spinney", "share", *words, *ONLY],
        cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=30,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
