"""From `done` to the end of the process: whatever goes wrong there, what was done stays done.

Each fault is put into the program where it could come up in life: a socket that fails while it
is closed, an event that a busy machine lets pass, a signal in any of the last moments.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.processes import LOCAL, Running, environment

HERE = [*LOCAL, "--ttl", "0"]

PROGRAM = """
import asyncio, atexit, errno, signal, sys, threading, time
from spinney.cli import main
from spinney.errors import DiskFullError, NetworkError

def say(word):
    print(word, file=sys.stderr, flush=True)

def fail(owner, name, error):
    def broken(*_):
        say("FAULT")
        raise error
    async def abroken(*_):
        broken()
    is_coroutine = asyncio.iscoroutinefunction(getattr(owner, name))
    setattr(owner, name, abroken if is_coroutine else broken)

def slow(owner, name):
    before = getattr(owner, name)
    async def aslowly(*a):
        say("HERE")
        await asyncio.sleep(1)
        return await before(*a)
    def slowly(*a):
        say("HERE")
        time.sleep(1)
        return before(*a)
    setattr(owner, name, aslowly if asyncio.iscoroutinefunction(before) else slowly)

{fault}
main()
"""

IMPORTS = """
from spinney.bittorrent.lan import LanDiscovery
from spinney.bittorrent.node import BitTorrent
from spinney.bittorrent.swarm import Swarm
from spinney.cli.reporter import JsonLines
from spinney.content.transfer import Transfer
from spinney.groups.ip import IpGroup
from spinney.mcftp.lan_directory import LanDirectory
from spinney.mcftp.node import McftpNode
from spinney.net.live.host import LiveHost
from spinney.peer.lingering import Lingering
"""


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a file that is shared while these tests last."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "thing.bin").write_bytes(os.urandom(400_000))
    with Running("share", "thing.bin", *HERE, cwd=folder) as sharer:
        yield sharer.until("ready")["link"]


def started(fault: str, link: str, cwd: Path, *more: str) -> subprocess.Popen[str]:
    program = PROGRAM.replace("{fault}", IMPORTS + fault)
    return subprocess.Popen(
        [sys.executable, "-c", program, "get", link, "-o", "out", *HERE, *more],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(child: subprocess.Popen[str]) -> tuple[list[dict[str, Any]], str]:
    try:
        out, error = child.communicate(timeout=40)
    finally:
        child.kill()
    return [json.loads(line) for line in out.splitlines()], error


FAULTS = {
    "nobody takes over in time": "fail(McftpNode, '_say_goodbye', TimeoutError())",
    "a member that is unknown": "fail(McftpNode, '_say_goodbye', KeyError(b'peer'))",
    "the group's socket is gone": "fail(IpGroup, 'close', OSError(errno.EBADF, 'gone'))",
    "several tasks at once": (
        "fail(McftpNode, 'close', ExceptionGroup('tasks', [OSError(), ValueError()]))"
    ),
    "while it stays for others": "fail(Lingering, 'over', ZeroDivisionError())",
    "a cancellation that leaked": "fail(Lingering, 'over', asyncio.CancelledError())",
    "the swarm's end": "fail(Swarm, 'close', OSError(errno.ENOTCONN, 'not connected'))",
    "the swarm's end is cancelled": "fail(Swarm, 'close', asyncio.CancelledError())",
    "the directory's end": "fail(LanDirectory, 'close', NetworkError('no interface'))",
    "the listener's end": "fail(BitTorrent, 'close', OSError(errno.EBADF, 'gone'))",
    "the host's end": "fail(LiveHost, 'close', RuntimeError('threads'))",
    "the reporter's end": "fail(JsonLines, '__exit__', OSError(errno.EIO, 'the terminal is gone'))",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_after_done_is_no_failure(fault: str, link: str, tmp_path: Path) -> None:
    child = started(FAULTS[fault], link, tmp_path, "--json")
    rows, error = ended(child)
    assert "done" in [row["event"] for row in rows], (rows, error)
    assert "FAULT" in error
    assert child.returncode == 0, error
    assert "Traceback" not in error
    assert len((tmp_path / "out" / "thing.bin").read_bytes()) == 400_000


def test_an_error_in_a_callback_is_no_failure(link: str, tmp_path: Path) -> None:
    fault = """
before = Lingering.over
def over(*a):
    asyncio.get_running_loop().call_soon(lambda: {}["FAULT"])
    return before(*a)
Lingering.over = over
"""
    child = started(fault, link, tmp_path, "--json")
    rows, error = ended(child)
    assert "done" in [row["event"] for row in rows], (rows, error)
    assert "FAULT" in error  # asyncio says so
    assert child.returncode == 0


def test_a_disk_that_fails_after_done_is_one(link: str, tmp_path: Path) -> None:
    """What was not synced may be lost when the power fails: nobody says that all is well."""
    child = started(
        "fail(Transfer, 'close', DiskFullError('the disk is full'))", link, tmp_path, "--json"
    )
    rows, error = ended(child)
    assert [row["event"] for row in rows if row["event"] != "progress"][-2:] == ["done", "error"]
    assert child.returncode == 1
    assert "spinney: the disk is full" in error
    assert "Traceback" not in error


def test_everything_else_is_closed_when_one_end_fails(link: str, tmp_path: Path) -> None:
    fault = """
for owner in (Swarm, BitTorrent, LanDirectory, Transfer):
    def noted(before=owner.close, name=owner.__name__):
        async def close(*a):
            say("CLOSED " + name)
            return await before(*a)
        return close
    owner.close = noted()
fail(McftpNode, '_say_goodbye', KeyError())
fail(IpGroup, 'close', KeyError())
"""
    child = started(fault, link, tmp_path, "--json")
    _, error = ended(child)
    assert child.returncode == 0
    for name in ("Swarm", "BitTorrent", "LanDirectory", "Transfer"):
        assert f"CLOSED {name}" in error, name


MOMENTS = {
    "the goodbye": "slow(McftpNode, '_say_goodbye')",
    "the swarm closes": "slow(Swarm, 'close')",
    "the peer closes": "slow(BitTorrent, 'close')",
    "the host closes": "slow(LiveHost, 'close')",
    "the last lines": "slow(JsonLines, 'finish')",
    "a thread that lasts": (
        "threading.Thread(target=lambda: (threading.main_thread().join(), say('HERE'),"
        " time.sleep(1))).start()"
    ),
    "Python ends": "atexit.register(lambda: (say('HERE'), time.sleep(1)))",
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_after_done_is_no_failure(
    moment: str, number: signal.Signals, link: str, tmp_path: Path
) -> None:
    child = started(MOMENTS[moment], link, tmp_path, "--json")
    assert child.stderr is not None
    assert "HERE" in child.stderr.readline()
    child.send_signal(number)
    rows, error = ended(child)
    assert "done" in [row["event"] for row in rows], (rows, error)
    assert child.returncode == 0, error
    assert "Traceback" not in error


def test_two_signals_after_done_end_at_once_and_are_no_failure(link: str, tmp_path: Path) -> None:
    child = started("slow(Swarm, 'close'); slow(BitTorrent, 'close')", link, tmp_path, "--json")
    assert child.stderr is not None
    assert "HERE" in child.stderr.readline()
    child.send_signal(signal.SIGINT)
    assert "HERE" in child.stderr.readline()  # the first one was heard
    child.send_signal(signal.SIGINT)
    _, error = ended(child)
    assert child.returncode == 0, error


def test_a_reader_that_leaves_after_done_is_no_failure(link: str, tmp_path: Path) -> None:
    child = started("slow(Swarm, 'close')", link, tmp_path)
    assert child.stdout is not None
    assert "thing.bin" in child.stdout.readline()
    child.stdout.close()
    assert child.stderr is not None
    error = child.stderr.read()
    assert child.wait(30) == 0, error
    assert "Traceback" not in error
