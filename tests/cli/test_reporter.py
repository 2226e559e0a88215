"""What people and programs are told."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.processes import LOCAL, Running, environment
from spinney.cli import words
from spinney.cli.progress import details
from spinney.cli.reporter import ForPeople, JsonLines, how_fast
from spinney.events import Done, Progress, Ready, SourceBytes, Warning

READY = Ready(1.5, "ab", "magnet:?x", "ab", torrent="x.torrent", address="192.0.2.1", port=7)
PROGRESS = Progress(2.0, "ab", 5, 10, 1000.0, 0.0, 3, {"swarm": SourceBytes(5, 1, 0)})
DONE = Done(3.0, "ab", ("x",), 10, 2.0, sha256="cd")


class Flushed(io.StringIO):
    flushes = 0

    def flush(self) -> None:
        self.flushes += 1


def test_json_is_one_flushed_object_a_line() -> None:
    stream = Flushed()
    with JsonLines(stream) as reporter:
        for number, event in enumerate([READY, PROGRESS, DONE], 1):
            reporter.heard(event)
            assert stream.flushes == number
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [row["event"] for row in rows] == ["ready", "progress", "done"]
    assert all(row["transfer"] == "ab" and row["time"] > 0 for row in rows)
    assert rows[0]["link"] == "magnet:?x"
    assert rows[1]["sources"] == {"swarm": {"useful": 5, "duplicate": 1, "bad": 0}}
    assert {"have_bytes", "total_bytes", "down_bytes_per_s", "up_bytes_per_s", "peers"} <= set(
        rows[1]
    )
    assert rows[2]["paths"] == ["x"]
    assert rows[2]["sha256"] == "cd"


def test_a_pipe_gets_nothing_but_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    with ForPeople() as reporter:
        for event in (PROGRESS, DONE):
            reporter.heard(event)
    out, err = capsys.readouterr()
    assert out == "x\n"
    assert err == ""


def test_total_bytes_is_null_while_nobody_knows_it() -> None:
    stream = io.StringIO()
    JsonLines(stream).heard(Progress(2.0, "ab", 0, None, 0.0, 0.0, 0))
    assert json.loads(stream.getvalue())["total_bytes"] is None


def test_the_rate_counts_what_came_now() -> None:
    def told(useful: int) -> str:
        return how_fast(Done(3.0, "ab", ("x",), 9000, 2.0, sources={"swarm": SourceBytes(useful)}))

    assert told(9000) == "9.0 kB in 2.0 s, 4.5 kB/s"
    assert told(3000) == "9.0 kB, 3.0 kB of it now in 2.0 s, 1.5 kB/s"
    assert told(0) == "9.0 kB, nothing was missing"


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with ForPeople(quiet=True) as reporter:
        for event in (READY, PROGRESS, Warning(1, "ab", "tracker", "w"), DONE):
            reporter.heard(event)
    assert capsys.readouterr() == ("", "")


def test_a_sharer_is_told_link_torrent_and_where_it_announces(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ForPeople() as reporter:
        reporter.heard(READY)
    out = capsys.readouterr().out
    assert "magnet:?x" in out
    assert "x.torrent" in out
    assert "nowhere" in out
    assert "192.0.2.1:7" in out


def test_names_from_the_network_drive_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with ForPeople() as reporter:
        reporter.heard(Done(3.0, "ab", ("a\x1b[2Jb",), 10, 2.0))
        reporter.heard(Warning(1, "ab", "tracker", "bad\x1b]0;x\x07"))
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "\x07" not in out + err


def test_rich_is_imported_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "spinney.cli.progress", raising=False)
    with ForPeople(live=False) as reporter:
        reporter.heard(PROGRESS)
    assert "rich" not in sys.modules
    with ForPeople(live=True) as reporter:
        reporter.preparing(1, 2)
        reporter.heard(PROGRESS)
    assert "rich" in sys.modules


def test_the_progress_line_says_rate_peers_availability_and_time_left() -> None:
    row = Progress(2.0, "ab", 5, 10, 1.5e6, 2e3, 3, availability=2.5, seconds_left=62)
    assert details(row) == "down 1.5 MB/s · up 2.0 kB/s · 3 peers · 2.50 copies · 1:02 left"


def test_numbers_as_people_read_them() -> None:
    assert [words.size(n) for n in (0, 999, 1500, 67_108_864)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "67.1 MB",
    ]
    assert words.size(999_960) == "1.0 MB"
    assert [words.duration(n) for n in (4.2, 187, 7387, 352_800)] == [
        "4.2 s",
        "3:07",
        "2:03:07",
        "4 d 02 h",
    ]
    assert words.ranges([0, 1, 2, 3, 7, 9, 10]) == "0-3, 7, 9-10"
    assert words.ranges([0, 2, 4, 6], most=2) == "0, 2 and 2 more"
    assert words.binary_size(1 << 20) == "1 MiB"
    assert words.count(1, "copy", "copies") == "1 copy"


def test_a_terminal_shows_the_link_in_one_piece(tmp_path: Path) -> None:
    """As wide as it is: a link that is broken into lines cannot be copied."""
    (tmp_path / "x.bin").write_bytes(b"x" * 300_000)
    master, slave = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "spinney", "share", "x.bin", *LOCAL],
        cwd=tmp_path,
        env=dict(environment(), COLUMNS="60", TERM="xterm"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    try:
        while b"sharing" not in shown:
            shown += os.read(master, 10_000)
    finally:
        child.terminate()
        child.wait(20)
        os.close(master)
    (link,) = re.findall(rb"magnet:\S+", shown)
    assert b"xt=urn:btih:" in link
    assert b"x.pe=127.0.0.1:" in link
    assert b"Ctrl-C" in shown


def test_ctrl_c_at_a_terminal_says_how_much_is_there(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(os.urandom(3_000_000))
    with Running("share", "x.bin", *LOCAL, cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        master, slave = os.openpty()
        child = subprocess.Popen(
            [sys.executable, "-m", "spinney", "get", link, "-o", "out", "--down", "300k", *LOCAL],
            cwd=tmp_path,
            env=dict(environment(), COLUMNS="120", TERM="xterm"),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        shown = b""
        try:
            while not re.search(rb"[1-9]\d* ?%", shown):
                shown += os.read(master, 10_000)
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(OSError):  # the terminal's end is an error on Linux
                while part := os.read(master, 10_000):
                    shown += part
            assert child.wait(20) == 130
        finally:
            child.kill()
            child.wait(5)
            os.close(master)
    last = shown.decode().strip().splitlines()[-1]
    assert re.search(r"Stopped: .* of 3\.0 MB are here \(\d+ %\); the same command resumes\.", last)


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of that kind are of Unix")
def test_a_terminal_that_is_held_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-S, or `| less` that nobody reads: the view stops, the transfer does not.

    A terminal with little room left says that it can be written to, and blocks whoever writes
    more than that: each text here is longer than the last rest of room.
    """
    import os
    import pty

    monkeypatch.setattr("spinney.cli.lines.PATIENCE_S", 0.2)
    monkeypatch.setattr("spinney.cli.lines.LAST_WRITE_S", 0.2)
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()  # nobody reads `ours`: what fits into it is soon full
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(sys, "stdout", terminal)
        with ForPeople(live=True) as reporter:
            for number in range(50):
                reporter.heard(Progress(float(number), "ab", number, 50, 1.0, 1.0, 1, {}))
                reporter.complain("x" * 3000)
        shown = os.read(ours, 4096)
        assert b"\x1b[?25l" in shown or b"x" in shown
    os.close(ours)
