"""Multicast by the command: processes on this machine's loopback, TTL 0."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.processes import LOCAL, Running, environment, here, run

SIZE = 3_000_000
HERE = [*LOCAL, "--ttl", "0"]


@pytest.fixture
def original(tmp_path: Path) -> Path:
    path = tmp_path / "image.iso"
    path.write_bytes(os.urandom(SIZE))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sharing(path: Path, *more: str, cwd: Path) -> Running:
    return Running("share", path, *HERE, "--rate", "3M", *more, cwd=cwd)


def getting(link: str, out: str, *more: str, cwd: Path) -> Running:
    return Running("get", link, "-o", out, *HERE, *more, cwd=cwd)


def by(row: dict, way: str) -> int:  # type: ignore[type-arg]
    return row["sources"].get(way, {}).get("useful", 0)


def test_a_room_gets_it_for_one_copy_and_everything_is_told(original: Path, tmp_path: Path) -> None:
    ends = ("--wait-for", "3", "--until-complete", "3")
    with sharing(original, *ends, cwd=tmp_path) as sharer:
        ready = sharer.until("ready")
        assert ready["multicast"] == {
            "interfaces": ["lo"],
            "ttl": 0,
            "rate_bytes_per_s": 3_000_000,
        }
        gets = [getting(ready["link"], f"out{n}", cwd=tmp_path) for n in range(3)]
        try:
            assert sharer.until("started")["receivers"] == 3
            dones = [get.until("done", 60) for get in gets]
            assert all(get.wait() == 0 for get in gets)
        finally:
            for get in gets:
                get.__exit__()
        for number, done in enumerate(dones):
            assert done["sha256"] == digest(tmp_path / f"out{number}" / "image.iso")
            assert by(done, "multicast") + by(done, "swarm") == SIZE
            assert by(done, "multicast") > 0.9 * SIZE
            assert done["sources"]["multicast"]["bad"] == 0
        assert sharer.wait() == 0, "three have it: it ends by itself"
        rows = [row for row in sharer.events if row["event"] == "progress"]
        assert rows[-1]["sent_bytes"] <= 1.6 * SIZE
        assert max(len(row.get("receivers", [])) for row in rows) == 3
        seen = next(row for row in rows if row.get("receivers"))["receivers"][0]
        assert set(seen) == {
            "peer", "have_bytes", "complete", "loss", "rate_bytes_per_s", "silent_s"
        }  # fmt: skip
        assert rows[-1]["group"]["leading"]
        assert rows[-1]["group"]["complete"] == 3, "counted as `--until-complete` counts"


def test_only_by_multicast_from_a_bare_link_and_into_a_pipe(original: Path, tmp_path: Path) -> None:
    with sharing(original, "--multicast-only", cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        with getting(link, "out", "--multicast-only", cwd=tmp_path) as get:
            done = get.until("done", 60)
            assert get.wait() == 0
        assert list(done["sources"]) == ["multicast"]
        assert digest(tmp_path / "out" / "image.iso") == digest(original)
        command = [sys.executable, "-m", "spinney", "get", "image.iso.torrent", "-o", "-"]
        piped = subprocess.run(
            [*command, "--multicast-only", "--quiet", *HERE],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            timeout=60,
        )
        assert piped.stdout == original.read_bytes(), piped.stderr


@pytest.mark.parametrize("ended", [False, True], ids=["a line", "its end"])
def test_a_line_on_standard_input_begins_and_its_end_does_not(
    ended: bool, original: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "spinney", "share", str(original), *HERE, "--json"]
    child = subprocess.Popen(
        [*command, "--wait-for", "9"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        assert '"ready"' in child.stdout.readline()
        if ended:
            child.stdin.close()
        with getting("image.iso.torrent", "out", "--multicast-only", cwd=tmp_path) as get:
            row = get.until("progress", 30)
            while not row.get("group", {}).get("leader"):
                row = get.until("progress", 30)
            for _ in range(4):
                row = get.until("progress", 30)
            assert row["have_bytes"] == 0
            assert not row["group"]["started"]
            if not ended:
                child.stdin.write("\n")
                child.stdin.flush()
                get.until("done", 60)
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        child.stdin.close()


def test_one_that_does_not_come_blocks_nobody(original: Path, tmp_path: Path) -> None:
    ends = ("--wait-for", "9", "--wait-at-most", "2")
    with sharing(original, *ends, "--multicast-only", cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        with getting(link, "out", "--multicast-only", cwd=tmp_path) as get:
            get.until("done", 60)
        assert sharer.until("started")["waited_s"] >= 1.9


def test_a_sharer_that_is_killed(original: Path, tmp_path: Path) -> None:
    """Those that have all of it send on to one that comes later."""
    with sharing(original, cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        with getting(link, "first", "--seed-time", "100", cwd=tmp_path) as first:
            first.until("done", 60)
            sharer.stop(signal.SIGKILL)
            with getting("image.iso.torrent", "late", "--multicast-only", cwd=tmp_path) as late:
                late.until("done", 80)
        assert digest(tmp_path / "late" / "image.iso") == digest(original)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--no-multicast", "--multicast-only"], "exclude each other"),
        (["--no-multicast", "--wait-for", "2"], "exclude each other"),
        (["--wait-at-most", "5"], "--wait-for"),
        (["--wait-for", "0"], "--wait-for"),
        (["--group", "10.0.0.1"], "--group"),
        (["--group", "239.255.1.1:70000"], "--group"),
        (["--rate", "0"], "no rate to send at"),
        (["--rate", "none"], "no rate to send at"),
        (["--rate", "fast"], "no rate"),
        (["--ttl", "256"], "--ttl"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_wrong_arguments_are_told_in_a_sentence(
    wrong: list[str], words: str, original: Path, tmp_path: Path
) -> None:
    done = here("share", original, *HERE, *wrong, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_loopback_alone_is_not_multicast_on_by_surprise(original: Path, tmp_path: Path) -> None:
    with Running("share", original, *LOCAL, cwd=tmp_path) as sharer:
        assert "interfaces" not in sharer.until("ready")["multicast"]
    asked = run("share", original, *LOCAL, "--multicast-only", cwd=tmp_path)
    assert asked.returncode == 2
    assert "--ttl 0" in asked.stderr
