"""Other makers' clients under a test's hand: start one, wait for what it says, stop it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from interop.namespace import Namespace
from interop.speaking import Speaking

HERE = Path(__file__).parent


class LibtorrentPeer(Speaking):
    """`libtorrent_peer.py` in a namespace; its lines are read by a thread and kept."""

    def __init__(self, namespace: Namespace, n: int, save: Path, **wishes: Any) -> None:
        address = (namespace.address(n), wishes.pop("port", 6881))
        wishes = {
            "listen": f"{address[0]}:{address[1]}",
            "save": str(save),
            **{key: str(v) if isinstance(v, Path) else v for key, v in wishes.items()},
        }
        self._namespace = namespace
        process = namespace.start(
            [sys.executable, str(HERE / "libtorrent_peer.py"), json.dumps(wishes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        super().__init__(process, address)

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
