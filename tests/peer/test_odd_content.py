"""Content at the edges: sizes around a piece, files of nothing, names of the world, many files."""

from __future__ import annotations

from random import Random

import pytest
from tests.peer.test_peer_simulated import NO_LAN, read, run, write

from spinney.errors import UsageError
from spinney.net.host import Host
from spinney.peer import Peer

PIECE = 16_384
CONTENT: dict[str, dict[str, bytes]] = {
    "one byte": {"leaf": b"x"},
    "one less than a piece": {"leaf": Random(1).randbytes(PIECE - 1)},
    "exactly one piece": {"leaf": Random(2).randbytes(PIECE)},
    "one more than a piece": {"leaf": Random(3).randbytes(PIECE + 1)},
    "exactly four pieces": {"leaf": Random(4).randbytes(4 * PIECE)},
    "files of nothing among others": {"leaf/a": b"", "leaf/b": b"x", "leaf/sub/c": b""},
    "names of the world": {
        "leaf/Žluťoučký kůň 🐎.txt": b"a" * 100,
        "leaf/日本語/ファイル": b"b" * 50,
        "leaf/e\u0301": b"c",
        "leaf/\u05d0\u05d1 rtl": b"d" * 20_000,
    },
}


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
@pytest.mark.parametrize("name", CONTENT)
def test_content_at_the_edges_arrives(name: str, version: str) -> None:
    files = CONTENT[name]

    async def scenario(one: Host, other: Host) -> None:
        for path, data in files.items():
            write(one, f"here/{path}", data)
        async with Peer(one, NO_LAN) as sharer, Peer(other, NO_LAN) as getter:
            how = {"version": version, "piece_length": PIECE}
            sharing = await sharer.share("here/leaf", **how)  # type: ignore[arg-type]
            write(other, "leaf.torrent", read(one, "leaf.torrent"))
            address = f"{sharer.addresses()[0]}:{sharer.port}"
            ways = {"by-torrent": "leaf.torrent", "by-link": sharing.link}
            if version == "v2":
                del ways["by-link"]  # the layers of pieces are not asked for yet
            for folder, link in ways.items():
                await (await getter.get(link, folder, peers=[address])).wait()
                for path, data in files.items():
                    assert read(other, f"{folder}/{path}") == data

    run(scenario)


@pytest.mark.parametrize("paths", [["leaf"], ["leaf/a", "leaf/b"], []])
def test_nothing_at_all_cannot_be_shared_and_says_so(paths: list[str]) -> None:
    async def scenario(one: Host, other: Host) -> None:
        for path in paths:
            write(one, path, b"")
        if not paths:
            one.storage.make_folders("leaf")
        async with Peer(one, NO_LAN) as sharer:
            with pytest.raises(UsageError, match="holds no bytes"):
                await sharer.share("leaf")

    run(scenario)
