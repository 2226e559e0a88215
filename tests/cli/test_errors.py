"""What goes wrong is one clear sentence on stderr that says what to do, and an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.processes import LOCAL, Running, environment, here, run, sharing
from needs import require_root
from spinney.cli.running import _with_port_option

HASH = "magnet:?xt=urn:btih:" + "ab" * 20


def failed(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    if code == 1:
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_no_such_file_to_share(tmp_path: Path) -> None:
    failed(run("share", "nothing.bin", *LOCAL, cwd=tmp_path), 1, "no file or folder nothing.bin")


def test_no_such_torrent(tmp_path: Path) -> None:
    failed(here("get", "no.torrent", *LOCAL, cwd=tmp_path), 1, "no file no.torrent", "magnet link")
    failed(here("show", "no.torrent", cwd=tmp_path), 1, "no file no.torrent")
    failed(here("verify", "no.torrent", cwd=tmp_path), 1, "no file no.torrent")


@pytest.mark.parametrize("data", [b"", b"hello", b"d4:infod4:name1:xee", b"\x00" * 100])
def test_not_a_descriptor(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.torrent").write_bytes(data)
    failed(here("get", "bad.torrent", *LOCAL, cwd=tmp_path), 1, "bad.torrent is no torrent")


def test_not_a_magnet_link(tmp_path: Path) -> None:
    failed(here("get", "magnet:?xt=urn:btih:short", *LOCAL, cwd=tmp_path), 1)


def test_port_taken_says_which_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x" * 1000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        local = ("--interface", "127.0.0.1", "--no-lan", "--port", str(port))
        failed(here("share", "x.bin", *local, cwd=tmp_path), 1, f"port {port}", "--port")
        track = ("tracker", "--interface", "127.0.0.1", "--port", str(port))
        failed(here(*track, cwd=tmp_path), 1, str(port), "--port")


def test_a_list_of_allowed_torrents_that_cannot_be_used(tmp_path: Path) -> None:
    track = ("tracker", "--port", "0", "--interface", "127.0.0.1", "--allowed")
    failed(here(*track, "none.txt", cwd=tmp_path), 1, "none.txt")
    (tmp_path / "bad.txt").write_text("# ours\nnonsense\n")
    failed(here(*track, "bad.txt", cwd=tmp_path), 1, "bad.txt", "line 2", "40 digits")


def test_what_cannot_be_fetched_or_asked(tmp_path: Path) -> None:
    failed(here("get", "ftp://example.org/x", *LOCAL, cwd=tmp_path), 2, "ftp://", "http://")
    failed(here("get", "", *LOCAL, cwd=tmp_path), 2, "empty", "magnet link")
    failed(here("share", "http://example.org/x", *LOCAL, cwd=tmp_path), 2, "file or folder")
    failed(here("get", HASH, "--tracker", "nonsense", *LOCAL, cwd=tmp_path), 2, "--tracker")
    failed(here("get", HASH, "--seed-ratio", "-1", *LOCAL, cwd=tmp_path), 2, "--seed-ratio")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"http://127.0.0.1:{port}/x.torrent"
    failed(here("get", url, *LOCAL, cwd=tmp_path), 1, "cannot fetch", url, "right")


def test_a_taken_port_is_told_with_one_remedy() -> None:
    beneath = "port 7 is taken: stop the program that has it or choose another port"
    assert _with_port_option(beneath).count("another") == 1
    assert "--port" in _with_port_option(beneath)
    assert "--port" in _with_port_option("port 7 is taken")


def test_an_error_is_the_last_event(tmp_path: Path) -> None:
    done = run("get", HASH, "--json", "--give-up", "1", *LOCAL, cwd=tmp_path)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [row["event"] for row in rows][0 :: len(rows) - 1] == ["ready", "error"]
    assert rows[0]["address"] == "127.0.0.1"
    assert rows[0]["port"] > 0


def test_no_such_interface(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x" * 1000)
    done = here("share", "x.bin", "--interface", "nope7", "--no-lan", cwd=tmp_path)
    failed(done, 2, "no interface or address nope7", "lo")


def test_no_peers_says_what_was_tried_and_gives_up_when_asked(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{silent.getsockname()[1]}"
        tracker = f"http://{closed}/announce"
        more = ("--peer", closed, "--tracker", tracker, "--give-up", "1", *LOCAL)
        with Running("get", HASH, *more, cwd=tmp_path) as getter:
            error = getter.until("error")
            assert getter.wait() == 1
        assert error["kind"] == "no-peers"
        assert error["transfer"] == "ab" * 20
        for word in ("no peers", "Tried", closed, "1 given address", "--peer", "--tracker"):
            assert word in error["message"]


def test_an_error_before_the_transfer_is_an_event_too(tmp_path: Path) -> None:
    done = here("get", "no.torrent", "--json", *LOCAL, cwd=tmp_path)
    assert done.returncode == 1
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert row["event"] == "error"
    assert row["kind"] == "not-found"
    assert row["message"] in done.stderr


def test_a_private_torrent_needs_a_tracker(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x" * 1000)
    failed(here("share", "x.bin", "--private", *LOCAL, cwd=tmp_path), 2, "--tracker")


def test_a_different_file_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(os.urandom(1000))
    (tmp_path / "x.bin.torrent").write_text("precious")
    failed(here("share", "x.bin", *LOCAL, cwd=tmp_path), 1, "something else", "--torrent-out")
    assert (tmp_path / "x.bin.torrent").read_text() == "precious"
    (tmp_path / "x.bin.torrent").unlink()
    with sharing(tmp_path / "x.bin", cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "x.bin").write_text("precious")
        done = here("get", link, "-o", "out", *LOCAL, cwd=tmp_path)
        failed(done, 1, "something else", "-o")
        assert (tmp_path / "out" / "x.bin").read_text() == "precious"
    # the same content shared once more is no different file
    with sharing(tmp_path / "x.bin", cwd=tmp_path) as sharer:
        sharer.until("ready")


def test_a_pipe_takes_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    for name in "ab":
        (folder / name).write_bytes(b"x" * 1000)
    with sharing(folder, cwd=tmp_path) as sharer:
        sharer.until("ready")
        failed(here("get", "two.torrent", "-o", "-", *LOCAL, cwd=tmp_path), 2, "--select")
        done = here("get", "two.torrent", "--select", "zzz", *LOCAL, cwd=tmp_path)
        failed(done, 2, "no file is called zzz", "spinney show")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB; needs the right to mount one."""
    require_root()
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place])
    if mounted.returncode:
        pytest.skip("not on this system: a container that may not mount")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_one_clear_error(small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(os.urandom(4_000_000))
    with sharing(tmp_path / "x.bin", cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        failed(run("get", link, "-o", small_disk, *LOCAL, cwd=tmp_path), 1, "free", "-o")


def test_a_torrent_that_does_not_fit_leaves_nothing_behind(
    small_disk: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    with contextlib.suppress(OSError), open(small_disk / "fill", "wb", buffering=0) as fill:
        while True:
            fill.write(bytes(4096))
    out = ("--torrent-out", small_disk / "x.torrent")
    failed(run("share", "x.bin", *out, *LOCAL, cwd=tmp_path), 1, "no room", "free")
    assert os.listdir(small_disk) == ["fill"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(os.urandom(1000))
    with sharing(tmp_path / "x.bin", cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        failed(here("get", link, "-o", "/proc/spinney", *LOCAL, cwd=tmp_path), 1, "-o")


def test_a_log_file_that_cannot_be_written(tmp_path: Path) -> None:
    done = here("get", HASH, "--log-file", "no/such/folder/log", *LOCAL, cwd=tmp_path)
    failed(done, 1, "log file")


def test_standard_output_on_a_full_disk_is_no_reader_that_went_away(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(os.urandom(100_000))
    with sharing(tmp_path / "x.bin", cwd=tmp_path) as sharer, open("/dev/full", "wb") as full:
        link = sharer.until("ready")["link"]
        done = subprocess.run(
            [sys.executable, "-m", "spinney", "get", link, "-o", "-", *LOCAL],
            env=environment(),
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
        failed(done, 1, "the disk is full", "run the same command again")
        assert "kept" not in done.stderr
