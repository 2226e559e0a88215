"""What clumsy fingers type: each is one clear sentence, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.processes import LOCAL, environment, here, run

NOT_TEXT = os.fsdecode(b"\xff\xfe")


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize("format", ["v1", "v2", "hybrid"])
def test_a_name_that_is_no_text_cannot_be_shared(format: str, tmp_path: Path) -> None:
    (tmp_path / NOT_TEXT).write_bytes(b"x")
    arguments = ("share", NOT_TEXT, "--seed-time", "0", "--format", format, *LOCAL)
    refused(here(*arguments, cwd=tmp_path), 2, "UTF-8")


def test_nor_a_comment_or_tracker_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    share = ("share", "x.bin", "--seed-time", "0", *LOCAL)
    refused(here(*share, "--comment", NOT_TEXT, cwd=tmp_path), 2, "comment", "UTF-8")
    refused(here(*share, "--tracker", f"http://h/{NOT_TEXT}", cwd=tmp_path), 2, "--tracker")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--tracker", "http://[::1/announce"),
        ("--tracker", "http://h:99999/announce"),
        ("--tracker", "http://:80/announce"),
        ("--peer", "192.0.2.1:0"),
        ("--seed-ratio", "nan"),
    ],
)
def test_values_that_make_no_sense(option: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    done = here("share", "x.bin", "--seed-time", "0", option, value, *LOCAL, cwd=tmp_path)
    refused(done, 2, option)


@pytest.mark.parametrize("url", ["http://[:1/x", "https://["])
def test_a_url_that_is_none(url: str, tmp_path: Path) -> None:
    refused(here("get", url, *LOCAL, cwd=tmp_path), 1, "URL")
    refused(here("show", url, cwd=tmp_path), 1, "URL")


def test_a_huge_file_in_place_of_the_torrent_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 40)
    share = ("share", "x.bin", "--seed-time", "0", "--torrent-out", "huge", *LOCAL)
    refused(here(*share, cwd=tmp_path), 1, "huge exists and is something else")


def with_streams(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`spinney` is the command; a shell opens and closes its streams."""
    script = f'spinney() {{ "{sys.executable}" -m spinney "$@"; }}\n{line}'
    return subprocess.run(
        ["bash", "-c", script],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_no_error_drives_the_terminal(tmp_path: Path) -> None:
    name = "\x1b]0;owned\x07\nspinney: all is well"
    done = run("get", name, *LOCAL, cwd=tmp_path)
    refused(done, 1, "owned")
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


ONCE = "share x.bin --seed-time 0 --interface lo --port 0 --no-lan"


@pytest.mark.parametrize("verb", ["verify x.bin.torrent", ONCE, f"{ONCE} --json"])
def test_closed_streams_are_no_obstacle(verb: str, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    refused(with_streams(f"spinney {ONCE}", tmp_path), 0)
    for closed in (">&-", "<&- >&- 2>&-"):
        refused(with_streams(f"spinney {verb} {closed}", tmp_path), 0)


def test_data_for_a_closed_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    refused(with_streams(f"spinney {ONCE}", tmp_path), 0)
    done = with_streams("spinney get x.bin.torrent -o - --give-up 1 >&-", tmp_path)
    refused(done, 2, "standard output", "closed")


@pytest.mark.parametrize(
    "verb",
    ["--help", "verify x.bin.torrent", ONCE, f"{ONCE} --json"],
)
def test_output_that_cannot_be_written_is_one_sentence(verb: str, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    refused(with_streams(f"spinney {ONCE}", tmp_path), 0)
    done = with_streams(f"spinney {verb} >/dev/full", tmp_path)
    refused(done, 1, "cannot write the output: No space left")
    assert len(done.stderr.splitlines()) == 1
    done = with_streams(f"spinney {verb} | true", tmp_path)
    refused(done, 0)
    assert done.stderr == ""


def test_a_full_log_file_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    done = with_streams(f"spinney {ONCE} --log-file /dev/full", tmp_path)
    refused(done, 0, "log file /dev/full")
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_of_json_that_stops_reading_holds_nothing_up(tmp_path: Path) -> None:
    """Its pipe is full from the start: the transfer runs, and ends when it is told to."""
    (tmp_path / "x.bin").write_bytes(os.urandom(100_000))
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    with subprocess.Popen(
        [sys.executable, "-m", "spinney", "share", "x.bin", *LOCAL, "--seed-time", "1", "--json"],
        cwd=tmp_path,
        env=environment(),
        stdout=writing,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            assert child.wait(20) == 0
        finally:
            child.send_signal(signal.SIGKILL)
            os.close(writing)
            os.close(reading)
