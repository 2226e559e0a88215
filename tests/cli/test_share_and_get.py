"""`spinney share` and `get` as a user runs them: processes, signals, files, exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from cli.processes import LOCAL, Running, environment, run, sharing

SIZE = 3_000_000


@pytest.fixture
def original(tmp_path: Path) -> Path:
    path = tmp_path / "original.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_arrives_and_every_event_is_as_documented(original: Path, tmp_path: Path) -> None:
    with sharing(original, cwd=tmp_path) as sharer:
        ready = sharer.until("ready")
        assert ready["sha256"] == digest(original)
        assert ready["torrent"] == "original.bin.torrent"
        assert (tmp_path / "original.bin.torrent").is_file()
        assert ready["infohash"] == ready["transfer"]
        assert ready["infohash"] in ready["link"]
        assert ready["address"] == "127.0.0.1"
        assert 0 < ready["port"] < 65536
        with Running("get", ready["link"], "-o", "out", *LOCAL, cwd=tmp_path) as getter:
            done = getter.until("done")
            assert getter.wait() == 0
        assert done["paths"] == ["out/original.bin"]
        assert done["bytes"] == SIZE
        assert done["sha256"] == digest(original) == digest(tmp_path / "out" / "original.bin")
        rows = getter.events
        assert [row["event"] for row in rows if row["event"] != "progress"] == ["ready", "done"]
        for row in rows:
            assert row["transfer"] == ready["infohash"]
            assert abs(row["time"] - time.time()) < 120
        last = [row for row in rows if row["event"] == "progress"][-1]
        assert last["have_bytes"] == last["total_bytes"] == SIZE
        assert last["sources"]["swarm"]["useful"] == SIZE
        assert last["sources"]["swarm"]["bad"] == 0
        assert sharer.stop() == 0, "a share that was ready and is stopped has done its job"
        assert sharer.events[-1]["sent_bytes"] >= SIZE


def test_a_folder_arrives_by_its_torrent_with_only_what_is_selected(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "raw").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "raw/c.raw"):
        (folder / name).write_bytes(os.urandom(200_000))
    (folder / "empty").write_bytes(b"")
    with sharing(folder, cwd=tmp_path) as sharer:
        ready = sharer.until("ready")
        assert "sha256" not in ready
        peer = f"127.0.0.1:{ready['port']}"
        get = ("get", "photos.torrent", "-o", "out", "--select", "*.jpg", "--peer", peer, *LOCAL)
        with Running(*get, cwd=tmp_path) as getter:
            done = getter.until("done")
            assert getter.wait() == 0
        assert sorted(done["paths"]) == ["out/photos/a.jpg", "out/photos/b.jpg"]
        assert done["bytes"] == 400_000
        assert not (tmp_path / "out/photos/raw/c.raw").exists()
        whole = run("get", ready["link"], "-o", tmp_path / "all", *LOCAL, cwd=tmp_path)
        assert whole.returncode == 0, whole.stderr
        for name in ("a.jpg", "b.jpg", "raw/c.raw", "empty"):
            copy = tmp_path / "all" / "photos" / name
            assert copy.read_bytes() == (folder / name).read_bytes()


def test_a_pipe_gets_the_bytes_in_order_and_events_go_to_stderr(
    original: Path, tmp_path: Path
) -> None:
    with sharing(original, cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        done = subprocess.run(
            [sys.executable, "-m", "spinney", "get", link, "-o", "-", "--json", *LOCAL],
            env=environment(),
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout == original.read_bytes()
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert events[0] == "ready"
    assert "done" in events


def test_a_reader_that_goes_away_is_one_clear_error(original: Path, tmp_path: Path) -> None:
    with sharing(original, cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        child = subprocess.Popen(
            [sys.executable, "-m", "spinney", "get", link, "-o", "-", *LOCAL],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert child.stdout is not None
        child.stdout.read(1000)
        child.stdout.close()
        assert child.stderr is not None
        words = child.stderr.read().decode()
        assert child.wait(30) == 1
        assert "Traceback" not in words
        assert "went away" in words


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_same_command_resumes_after(end: int, original: Path, tmp_path: Path) -> None:
    original.write_bytes(os.urandom(8_000_000))
    with sharing(original, "--piece-length", "64k", cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        get = ("get", link, "-o", "out", *LOCAL)
        with Running(*get, "--down", "2M", cwd=tmp_path) as getter:
            getter.until_some_bytes(3_000_000)
            code = getter.stop(end)
        assert code == {signal.SIGKILL: -9}.get(end, 130)
        assert not (tmp_path / "out" / "original.bin").exists()
        with Running(*get, cwd=tmp_path) as getter:
            done = getter.until("done")
            assert getter.wait() == 0
        assert digest(tmp_path / "out" / "original.bin") == digest(original)
        assert done["sources"]["swarm"]["useful"] <= 8_000_000 - 2_000_000


@pytest.mark.parametrize("lived_s", [1.0, 2.0])
def test_a_kill_costs_less_than_a_second(lived_s: float, original: Path, tmp_path: Path) -> None:
    """Long before anything was synced, so that the resume record names no piece."""
    rate, total = 1_000_000, 8_000_000
    original.write_bytes(os.urandom(total))
    with sharing(original, "--piece-length", "64k", cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        get = ("get", link, "-o", "out", *LOCAL)
        with Running(*get, "--down", "1M", cwd=tmp_path) as getter:
            getter.until_some_bytes()
            time.sleep(lived_s)
            assert getter.stop(signal.SIGKILL) == -9
            before = [row for row in getter.events if row["event"] == "progress"][-1]["have_bytes"]
        assert before > rate * lived_s / 2, "there was something to lose"
        with Running(*get, cwd=tmp_path) as getter:
            done = getter.until("done")
            assert getter.wait() == 0
        assert digest(tmp_path / "out" / "original.bin") == digest(original)
        assert done["sources"]["swarm"]["useful"] + before <= total + 0.8 * rate
        assert os.listdir(tmp_path / "out") == ["original.bin"]


def test_a_second_interrupt_ends_at_once(original: Path, tmp_path: Path) -> None:
    """The first one says goodbye to a tracker that does not answer any more."""
    with (
        sharing(original, "--format", "v1", cwd=tmp_path) as sharer,  # one announce
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        link = sharer.until("ready")["link"]
        server.settimeout(20)
        tracker = f"http://127.0.0.1:{server.getsockname()[1]}/announce"
        more = ("--down", "50k", "--tracker", tracker, *LOCAL)
        with Running("get", link, "-o", "out", *more, cwd=tmp_path) as getter:
            asked, _ = server.accept()
            body = b"d8:intervali1800e5:peers0:e"
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
            asked.recv(10_000)
            asked.sendall(head + body)
            asked.close()
            getter.until_some_bytes()
            getter.child.send_signal(signal.SIGINT)
            goodbye, _ = server.accept()
            began = time.monotonic()
            assert b"event=stopped" in goodbye.recv(10_000)
            with pytest.raises(subprocess.TimeoutExpired):
                getter.child.wait(0.3)
            getter.child.send_signal(signal.SIGINT)
            assert getter.child.wait(5) == 130
            assert time.monotonic() - began < 2.5, "a goodbye has three seconds"
            goodbye.close()


def test_share_until_complete_ends_by_itself(original: Path, tmp_path: Path) -> None:
    with sharing(original, "--until-complete", "2", cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        for number in (1, 2):
            done = run("get", link, "-o", f"out{number}", *LOCAL, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert done.stdout == f"out{number}/original.bin\n"
        assert sharer.wait(20) == 0


def test_get_seeds_only_as_long_as_asked(original: Path, tmp_path: Path) -> None:
    with sharing(original, cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        with Running("get", link, "-o", "one", "--seed-ratio", "1", *LOCAL, cwd=tmp_path) as first:
            first.until("done")
            peer = first.events[0]["port"]
            sharer.stop()
            torrent = "original.bin.torrent"
            get = ("get", torrent, "-o", "two", "--peer", f"127.0.0.1:{peer}", *LOCAL)
            done = run(*get, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert first.wait(20) == 0
    assert digest(tmp_path / "two" / "original.bin") == digest(original)


def test_the_output_may_be_the_file_itself(original: Path, tmp_path: Path) -> None:
    with sharing(original, cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        done = run("get", link, "-o", tmp_path / "new" / "original.bin", *LOCAL, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "new" / "original.bin").is_file()
        other = tmp_path / "existing.img"
        other.touch()
        done = run("get", link, "-o", other, *LOCAL, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert digest(other) == digest(original)


def test_sharing_under_a_descriptor_that_exists_checks_first(
    original: Path, tmp_path: Path
) -> None:
    with sharing(original, cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
    moved = tmp_path / "elsewhere.dat"
    original.rename(moved)
    with sharing(moved, "--torrent", "original.bin.torrent", cwd=tmp_path) as sharer:
        ready = sharer.until("ready")
        assert ready["infohash"] in link
        done = run("get", ready["link"], "-o", "out", *LOCAL, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    data = bytearray(moved.read_bytes())
    data[SIZE // 2] ^= 1
    moved.write_bytes(data)
    bad = run("share", moved, "--torrent", "original.bin.torrent", *LOCAL, cwd=tmp_path)
    assert bad.returncode == 1
    assert "is not what original.bin.torrent says" in bad.stderr
    assert "spinney verify" in bad.stderr


def test_a_tracker_of_ones_own_brings_them_together(original: Path, tmp_path: Path) -> None:
    track = ("tracker", "--port", "0", "--interface", "lo", "--state", "tracker.state")
    with Running(*track, cwd=tmp_path) as tracker:
        url = tracker.until("ready")["url"]
        assert url.startswith("http://127.0.0.1:")
        private = ("--private", "--tracker", url)
        with sharing(original, *private, cwd=tmp_path) as sharer:
            ready = sharer.until("ready")
            assert ready["announces"] == [url]
            assert "x.pe" not in ready["link"]
            done = run("get", "original.bin.torrent", "-o", "out", *LOCAL, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert sharer.stop() == 0
        assert tracker.stop(signal.SIGTERM) == 0
    assert (tmp_path / "tracker.state").is_file()


def test_one_file_of_many_comes_from_a_seed_that_nobody_fetched_from_yet(tmp_path: Path) -> None:
    """A young seed shows a few pieces by chance; who wants others is shown all, after seconds."""
    folder = tmp_path / "many"
    folder.mkdir()
    (folder / "big.bin").write_bytes(os.urandom(SIZE))
    (folder / "wanted.txt").write_bytes(b"wanted")
    with sharing(folder, "--piece-length", "16k", cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        done = run("get", link, "-o", "out", "--select", "wanted.txt", *LOCAL, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "many" / "wanted.txt").read_bytes() == b"wanted"


def announce(url: str, infohash: str) -> bytes:
    quoted = "".join(f"%{byte:02x}" for byte in bytes.fromhex(infohash))
    query = f"info_hash={quoted}&peer_id={'x' * 20}&port=7000&uploaded=0&downloaded=0&left=1"
    with urllib.request.urlopen(f"{url}?{query}", timeout=10) as reply:
        return bytes(reply.read())


def page(url: str) -> str:
    with urllib.request.urlopen(url.removesuffix("announce"), timeout=10) as reply:
        return str(reply.read().decode())


def test_a_tracker_serves_only_what_its_list_allows(tmp_path: Path) -> None:
    mine, strange = "ab" * 20, "cd" * 20
    (tmp_path / "allowed.txt").write_text(f"# ours\n{mine} The holiday\n")
    track = ("tracker", "--port", "0", "--interface", "lo", "--allowed", "allowed.txt")
    with Running(*track, cwd=tmp_path) as tracker:
        url = tracker.until("ready")["url"]
        assert b"8:interval" in announce(url, mine)
        assert b"not allowed here" in announce(url, strange)
        assert mine in page(url)
        assert "The holiday" in page(url)
        assert strange not in page(url)
        assert tracker.stop() == 0


def test_a_tracker_that_cannot_keep_its_state_says_so_at_once(tmp_path: Path) -> None:
    track = ("tracker", "--port", "0", "--interface", "lo", "--state", "none/tracker.state")
    with Running(*track, cwd=tmp_path) as tracker:
        tracker.until("ready")
        assert tracker.stop() == 0
        assert "cannot be written to none/tracker.state" in tracker.stderr()


def test_an_unlisted_tracker_shows_no_infohash(tmp_path: Path) -> None:
    with Running(
        "tracker", "--port", "0", "--interface", "lo", "--unlisted", cwd=tmp_path
    ) as tracker:
        url = tracker.until("ready")["url"]
        assert b"8:interval" in announce(url, "ab" * 20)
        assert "ab" * 20 not in page(url)
        assert "1 peers in 1 torrents" in page(url)
        assert tracker.stop() == 0


def test_a_torrent_may_be_fetched_from_a_web_server(original: Path, tmp_path: Path) -> None:
    web = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert web.stdout is not None
        port = web.stdout.readline().split(" port ")[1].split()[0]
        base = f"http://127.0.0.1:{port}"
        with sharing(original, cwd=tmp_path) as sharer:
            peer = f"127.0.0.1:{sharer.until('ready')['port']}"
            url = f"{base}/original.bin.torrent"
            done = run("get", url, "-o", "out", "--peer", peer, *LOCAL, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
        assert digest(tmp_path / "out" / "original.bin") == digest(original)
        missing = run("get", f"{base}/no.torrent", *LOCAL, cwd=tmp_path)
        assert missing.returncode == 1
        assert "answers 404" in missing.stderr
        page = run("show", base, cwd=tmp_path)
        assert page.returncode == 1
        assert "is no torrent" in page.stderr
    finally:
        web.terminate()
        web.wait(10)
        web.stdout.close()


def test_the_log_says_more_and_stdout_stays_the_same(original: Path, tmp_path: Path) -> None:
    with sharing(original, cwd=tmp_path) as sharer:
        link = sharer.until("ready")["link"]
        more = ("-o", "out", "-vv", "--log-file", "log", *LOCAL)
        done = run("get", link, *more, cwd=tmp_path)
    assert done.stdout == "out/original.bin\n"
    log = (tmp_path / "log").read_text()
    for words in ("INFO    spinney.peer: Ready(", "DEBUG   spinney.peer: Progress(", "Done("):
        assert words in log
        assert words in done.stderr
