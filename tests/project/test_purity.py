"""Rooms reach the world only through the `Host` that they are handed.

No sockets, clocks, randomness, threads, processes or files of their own; no import that hides
from `test_architecture`.  What is left out (`EXEMPT`) is the outside: the live host, the
simulator, the faces and the laboratory.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from project.tree import PACKAGE, source_files

EXEMPT = ("sim", "cli", "web", "lab")
"""Top-level folders that are no rooms; `net/live*` and `spinney/__init__.py` neither."""

MODULES = {
    "socket": "the network is the host's",
    "socketserver": "the network is the host's",
    "select": "the network is the host's",
    "selectors": "the network is the host's",
    "http": "HTTP is wire/http.py over the host's streams",
    "requests": "HTTP is wire/http.py over the host's streams",
    "httpx": "HTTP is wire/http.py over the host's streams",
    "aiohttp": "HTTP is wire/http.py over the host's streams",
    "ftplib": "the network is the host's",
    "time": "clocks are the host's",
    "random": "choices are the host's rng",
    "secrets": "keys and tokens are the host's entropy",
    "uuid": "identifiers are the host's entropy",
    "threading": "the processor is Host.work",
    "_thread": "the processor is Host.work",
    "multiprocessing": "the processor is Host.work",
    "concurrent": "the processor is Host.work",
    "subprocess": "rooms start no programs",
    "signal": "signals are the faces'",
    "os": "files, clocks and randomness are the host's",
    "io": "files are the host's",
    "shutil": "files are the host's",
    "tempfile": "files are the host's",
    "glob": "files are the host's",
    "mmap": "files are the host's",
    "fcntl": "files are the host's",
    "sqlite3": "files are the host's",
    "importlib": "a hidden import is a hidden arrow",
}
URLLIB_ALLOWED = {"parse"}
HTTP_ALLOWED = {"HTTPStatus"}
OS_ALLOWED = {"PathLike", "fspath", "fsdecode", "fsencode"}
PATHLIB_ALLOWED = {"PurePath", "PurePosixPath", "PureWindowsPath"}
BUILTINS = {
    "open": "files are the host's",
    "input": "rooms talk to nobody's terminal",
    "print": "rooms log",
    "exec": "no code from strings",
    "eval": "no code from strings",
    "__import__": "a hidden import is a hidden arrow",
}
ASYNCIO = {
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_unix_server",
    "create_subprocess_exec",
    "create_subprocess_shell",
    "to_thread",
}
LOOP = {
    "create_connection",
    "create_server",
    "create_datagram_endpoint",
    "create_unix_connection",
    "create_unix_server",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "add_reader",
    "add_writer",
    "add_signal_handler",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_sendall",
    "sock_sendto",
    "sock_connect",
    "sock_accept",
    "sock_sendfile",
    "run_in_executor",
    "getaddrinfo",
    "getnameinfo",
    "subprocess_exec",
    "subprocess_shell",
}
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}
HERE = {"SystemRandom", "urandom"}


def impurities(source: str) -> list[tuple[int, str]]:
    """(line, what and why) of everything in `source` that only a host may do."""
    rows: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                rows += _module(node.lineno, alias.name, None)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                rows += _module(node.lineno, node.module or "", alias.name)
        elif isinstance(node, ast.Attribute):
            rows += _attribute(node)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in BUILTINS
        ):
            rows.append((node.lineno, f"{node.func.id}(): {BUILTINS[node.func.id]}"))
    return rows


def _module(line: int, module: str, name: str | None) -> list[tuple[int, str]]:
    top, _, rest = module.partition(".")
    if top == "urllib":
        ok = rest in URLLIB_ALLOWED if rest else name in URLLIB_ALLOWED
        return [] if ok else [(line, "urllib: HTTP is wire/http.py over the host's streams")]
    if top == "http" and not rest and name in HTTP_ALLOWED:
        return []
    if top == "os" and name in OS_ALLOWED:
        return []
    if top == "pathlib":
        return [] if name in PATHLIB_ALLOWED else [(line, "pathlib: files are the host's")]
    if top == "asyncio" and name in ASYNCIO:
        return [(line, f"asyncio.{name}: the host does this")]
    if top in MODULES:
        return [(line, f"{module}: {MODULES[top]}")]
    return []


def _attribute(node: ast.Attribute) -> list[tuple[int, str]]:
    owner = node.value
    owner_name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
    if owner_name == "asyncio" and node.attr in ASYNCIO:
        return [(node.lineno, f"asyncio.{node.attr}: the host does this")]
    if node.attr in LOOP or node.attr in HERE:
        return [(node.lineno, f".{node.attr}: the host does this")]
    if (owner_name, node.attr) in CLOCKS:
        return [(node.lineno, f"{owner_name}.{node.attr}: clocks are the host's")]
    return []


def is_room(path: Path) -> bool:
    parts = path.relative_to(PACKAGE).parts
    live = parts[0] == "net" and len(parts) > 1 and parts[1].split(".")[0].split("_")[0] == "live"
    return parts != ("__init__.py",) and parts[0] not in EXEMPT and not live


def test_rooms_touch_the_world_only_through_the_host() -> None:
    rows = [
        f"{path.relative_to(PACKAGE.parent)}:{line} {what}"
        for path in source_files()
        if is_room(path)
        for line, what in impurities(path.read_text())
    ]
    assert not rows, "\n".join(rows)


@pytest.mark.parametrize(
    "source",
    [
        "import socket",
        "from socket import AF_INET",
        "import time",
        "from time import monotonic",
        "import random",
        "import secrets",
        "import os",
        "from os import urandom",
        "from os import open as o",
        "import os.path",
        "import threading",
        "import subprocess",
        "from concurrent.futures import ThreadPoolExecutor",
        "import pathlib",
        "from pathlib import Path",
        "import urllib.request",
        "from urllib import request",
        "from http import client",
        "import http.client",
        "def f():\n    import tempfile",
        "open('x')",
        "with open('x') as f: pass",
        "print('x')",
        "import asyncio\nasync def f():\n    await asyncio.open_connection('h', 1)",
        "from asyncio import start_server",
        "async def f(loop):\n    await loop.create_server(None)",
        "async def f(self):\n    self.loop.add_reader(1, print)",
        "async def f(loop):\n    await loop.run_in_executor(None, f)",
        "import asyncio\nasync def f():\n    await asyncio.to_thread(f)",
        "import datetime\nx = datetime.datetime.now()",
        "from datetime import date\nx = date.today()",
        "import importlib\nx = importlib.import_module('socket')",
        "x = __import__('socket')",
    ],
)
def test_what_only_a_host_may_do_is_found(source: str) -> None:
    assert impurities(source)


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio\nasync def f(host):\n    await asyncio.sleep(1)\n    return host.time()",
        "from urllib.parse import quote",
        "from http import HTTPStatus",
        "from pathlib import PurePosixPath",
        "from os import PathLike",
        "import hashlib, ssl, ipaddress",
        "def f(storage):\n    return storage.open('x', 'read')",
        "def f(bucket, now):\n    return bucket.take(now, 1)",
    ],
)
def test_what_a_room_may_do_passes(source: str) -> None:
    assert not impurities(source)
