"""Other makers' clients under a test's hand: start one, wait for what it says, stop it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interop.namespace import Namespace

HERE = Path(__file__).parent


class LibtorrentPeer:
    """`libtorrent_peer.py` in a namespace; its lines are read by a thread and kept."""

    def __init__(self, namespace: Namespace, n: int, save: Path, **wishes: Any) -> None:
        self.address = (namespace.address(n), wishes.pop("port", 6881))
        wishes = {
            "listen": f"{self.address[0]}:{self.address[1]}",
            "save": str(save),
            **{key: str(v) if isinstance(v, Path) else v for key, v in wishes.items()},
        }
        self._namespace = namespace
        self._process = namespace.start(
            [sys.executable, str(HERE / "libtorrent_peer.py"), json.dumps(wishes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._errors = b""
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _read_errors(self) -> None:
        self._errors = self._process.stderr.read()

    def wait(
        self,
        event: str,
        within_s: float = 30.0,
        when: Callable[[dict[str, Any]], bool] = lambda row: True,
    ) -> dict[str, Any]:
        """The first such event, past or to come; raises with what was said if it never comes."""
        end = time.monotonic() + within_s
        at = 0
        with self._news:
            while True:
                for row in self.events[at:]:
                    if row["event"] == event and when(row):
                        return row
                at = len(self.events)
                left = end - time.monotonic()
                heard = left > 0 and self._news.wait(min(left, 0.5))
                if left <= 0 or (not heard and self._process.poll() is not None):
                    raise AssertionError(self._why(event, within_s))

    def _why(self, event: str, within_s: float) -> str:
        said = [row for row in self.events if row["event"] != "status"][-5:]
        return (
            f"no {event!r} within {within_s} s from {self.address}; it said {said}, "
            f"last {self.events[-1:]}, stderr {self._errors[-500:]!r}"
        )

    def status(self) -> dict[str, Any]:
        """The last status; {} before the first."""
        with self._news:
            return next((r for r in reversed(self.events) if r["event"] == "status"), {})

    def tell(self, **command: Any) -> None:
        """`connect=[address, port]`, `announce=True`."""
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def stop(self, within_s: float = 10.0) -> None:
        """In order: it says `stopped` to its tracker first."""
        if self._process.poll() is None:
            self.tell(stop=True)
            self.wait("stopped", within_s)
        self._namespace.stop(self._process)


def make_torrent(
    content: Path,
    torrent: Path,
    *,
    trackers: tuple[str, ...] = (),
    version: str = "v1",
    piece_bytes: int = 1 << 16,
    private: bool = False,
) -> str:
    """A torrent made by libtorrent: `version` is v1, hybrid or v2.  Returns the v1 (else v2)
    infohash in hex."""
    import libtorrent as lt

    flags = {"v1": lt.create_torrent.v1_only, "hybrid": 0, "v2": lt.create_torrent.v2_only}
    made = lt.create_torrent(lt.list_files(str(content)), piece_bytes, flags[version])
    for tracker in trackers:
        made.add_tracker(tracker)
    made.set_priv(private)
    lt.set_piece_hashes(made, str(content.parent))
    torrent.write_bytes(lt.bencode(made.generate()))
    hashes = lt.load_torrent_file(str(torrent)).info_hashes
    return str(hashes.v1 if version != "v2" else hashes.v2)
