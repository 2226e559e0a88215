"""What happens around a transfer in life: a seeder that is killed, two that write to one folder,
thousands of files, a tracker that answers rubbish, a flood of LAN announces."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from cli.processes import LOCAL, Running, run, sharing
from spinney.bittorrent.lan_messages import GROUP4, LanAnnounce, encode
from spinney.bittorrent.lan_messages import PORT as LAN_PORT


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_seeder_is_killed_and_another_brings_the_rest(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    data = os.urandom(6_000_000)
    for folder in ("one", "two"):
        (tmp_path / folder / "original.bin").write_bytes(data)
    slow = ("--up", "1M", "--piece-length", "64k")
    with (
        sharing(tmp_path / "one" / "original.bin", *slow, cwd=tmp_path / "one") as first,
        sharing(tmp_path / "two" / "original.bin", *slow, cwd=tmp_path / "two") as second,
    ):
        link = first.until("ready")["link"]
        other = f"127.0.0.1:{second.until('ready')['port']}"
        with Running("get", link, "-o", "out", "--peer", other, *LOCAL, cwd=tmp_path) as getter:
            getter.until_some_bytes(1_000_000)
            first.child.send_signal(signal.SIGKILL)
            done = getter.until("done", timeout=40)
            assert getter.wait() == 0
    assert done["sha256"] == hashlib.sha256(data).hexdigest()
    assert done["sources"]["swarm"]["bad"] == 0


def test_two_that_write_into_one_folder_do_not_spoil_each_other(tmp_path: Path) -> None:
    """The second is told that the place is taken, and the first one finishes."""
    original = tmp_path / "original.bin"
    original.write_bytes(os.urandom(3_000_000))
    with sharing(original, "--up", "250k", cwd=tmp_path) as sharer:  # time for the second
        link = sharer.until("ready")["link"]
        with Running("get", link, "-o", "out", *LOCAL, cwd=tmp_path) as getter:
            getter.until_some_bytes()
            second = run("get", link, "-o", "out", *LOCAL, cwd=tmp_path)
            assert second.returncode == 1
            assert "Traceback" not in second.stderr
            assert getter.until("done", timeout=40)["sha256"] == digest(original)
            assert getter.wait() == 0
    assert digest(tmp_path / "out" / "original.bin") == digest(original)


@pytest.mark.parametrize("branches", [15, pytest.param(100, marks=pytest.mark.night)])
def test_thousands_of_small_files(branches: int, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    for branch in range(branches):
        (folder / f"{branch}").mkdir(parents=True)
        for leaf in range(100):
            (folder / f"{branch}" / f"{leaf}.txt").write_bytes(b"%d-%d" % (branch, leaf))
    with sharing(folder, cwd=tmp_path) as sharer:
        sharer.until("ready")
        peer = f"127.0.0.1:{sharer.events[-1]['port']}"
        more = ("-o", "out", "--peer", peer, *LOCAL)
        done = run("get", "many.torrent", *more, cwd=tmp_path, timeout=90)
        assert done.returncode == 0, done.stderr
    for branch in range(branches):
        for leaf in range(0, 100, 9):
            path = tmp_path / "out" / "many" / f"{branch}" / f"{leaf}.txt"
            assert path.read_bytes() == b"%d-%d" % (branch, leaf)


RUBBISH = {
    "rubbish": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\xff\xfe<html>",
    "endless": b"HTTP/1.1 200 OK\r\n\r\n",
    "a redirect inside": b"HTTP/1.1 302 no\r\nLocation: http://169.254.169.254/a\r\n\r\n",
    "a redirect in a circle": b"HTTP/1.1 302 no\r\nLocation: /announce\r\n\r\n",
}


@pytest.mark.parametrize("kind", RUBBISH)
def test_a_tracker_that_answers_rubbish_costs_a_warning(kind: str, tmp_path: Path) -> None:
    original = tmp_path / "original.bin"
    original.write_bytes(os.urandom(400_000))

    def serve(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            try:
                connection.recv(10_000)
                connection.sendall(RUBBISH[kind])
                for _ in range(1_000 if kind == "endless" else 0):
                    connection.sendall(b"x" * 65_536)
            except OSError:
                pass
            connection.close()

    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        sharing(original, "--up", "200k", cwd=tmp_path) as sharer,
    ):
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        link = sharer.until("ready")["link"]
        url = f"http://127.0.0.1:{server.getsockname()[1]}/announce"
        with Running("get", link, "-o", "out", "--tracker", url, *LOCAL, cwd=tmp_path) as getter:
            assert getter.until("warning")["kind"] == "tracker"
            done = getter.until("done")
            assert getter.wait() == 0
            assert "Traceback" not in getter.stderr()
        assert done["sha256"] == digest(original)
        server.shutdown(socket.SHUT_RDWR)


def test_a_flood_of_lan_announces_holds_nobody_up(tmp_path: Path) -> None:
    """Thousands of made-up neighbours of the very torrent, on loopback, while it is moved."""
    original = tmp_path / "original.bin"
    original.write_bytes(os.urandom(2_000_000))
    lan = ("--interface", "lo", "--port", "0")
    with Running("share", original, *lan, "--up", "1M", cwd=tmp_path) as sharer:
        ready = sharer.until("ready")
        with (
            Running("get", ready["link"], "-o", "out", *lan, cwd=tmp_path) as getter,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood,
        ):
            getter.until("ready")
            flood.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
            )
            infohash = bytes.fromhex(ready["infohash"])
            began = time.monotonic()
            for number in range(12_000):
                said = encode(LanAnnounce(1 + number % 60_000, (infohash,), f"{number}"))
                flood.sendto(said, (GROUP4, LAN_PORT))
                flood.sendto(os.urandom(100), (GROUP4, LAN_PORT))
                if number % 200 == 0:
                    time.sleep(0.02)
            flooded_s = time.monotonic() - began
            done = getter.until("done", timeout=30)
            assert getter.wait() == 0
            assert "Traceback" not in getter.stderr()
        assert done["sha256"] == digest(original)
        assert done["seconds"] < max(10.0, flooded_s + 5.0)
