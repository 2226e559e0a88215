"""`look`: what a descriptor or a magnet link says, as plain values."""

from __future__ import annotations

import datetime
from typing import Any

from spinney.content.descriptor import Descriptor
from spinney.content.magnet import Magnet
from spinney.content.paper import redundancy
from spinney.net.address import format_address
from spinney.net.host import Host
from spinney.peer.local import given_or_live
from spinney.peer.opening import Opened, open_link
from spinney.peer.paper import signature_state


async def look(link: str, *, host: Host | None = None) -> dict[str, Any]:
    """Facts of a `.torrent` (path or URL) or a magnet link, for `show` and its `--json`.

    Raises as `open_link` does.
    """
    with given_or_live(host) as machine:
        return facts(await open_link(machine, link))


def facts(opened: Opened) -> dict[str, Any]:
    if opened.descriptor is None:
        return _magnet_facts(opened.magnet)
    return _descriptor_facts(opened.descriptor)


def _hashes(one: bytes | None, two: bytes | None) -> dict[str, Any]:
    return {
        "infohash_v1": one.hex() if one is not None else None,
        "infohash_v2": two.hex() if two is not None else None,
        "format": {(True, True): "hybrid", (True, False): "v1"}.get(
            (one is not None, two is not None), "v2"
        ),
    }


def _magnet_facts(magnet: Magnet) -> dict[str, Any]:
    return {
        "name": magnet.name,
        "infohash": magnet.infohash,
        **_hashes(magnet.infohash_v1, magnet.infohash_v2),
        "total_bytes": None,
        "length": magnet.length,
        "trackers": [[url] for url in magnet.trackers],
        "web_seeds": list(magnet.web_seeds),
        "peers": [format_address(peer) for peer in magnet.peers],
        "select": list(magnet.select) if magnet.select is not None else None,
        "publisher": magnet.publisher.hex() if magnet.publisher is not None else None,
        "link": str(magnet),
    }


def _descriptor_facts(descriptor: Descriptor) -> dict[str, Any]:
    date = descriptor.creation_date
    return {
        "name": descriptor.name,
        "infohash": descriptor.infohash,
        **_hashes(descriptor.infohash_v1, descriptor.infohash_v2),
        "total_bytes": descriptor.total_bytes,
        "file_count": len(descriptor.files),
        "pieces": descriptor.piece_count,
        "piece_length": descriptor.piece_length,
        "private": descriptor.private,
        "trackers": [list(tier) for tier in descriptor.trackers],
        "web_seeds": list(descriptor.web_seeds),
        "nodes": [format_address(node) for node in descriptor.nodes],
        "comment": descriptor.comment,
        "created_by": descriptor.created_by,
        "creation_date": _iso(date),
        "files": [
            {"path": "/".join(entry.path), "length": entry.length} for entry in descriptor.files
        ],
        "paper": _paper_facts(descriptor),
        "link": str(Magnet.of(descriptor)),
    }


def _paper_facts(descriptor: Descriptor) -> dict[str, Any] | None:
    """What the MC-FTP paper adds to a torrent."""
    paper = descriptor.paper
    if paper is None:
        return None
    return {
        "file_id": paper.file_id.hex(),
        "redundancy": {
            key.decode(): value.decode() if type(value) is bytes else value
            for key, value in redundancy(descriptor.piece_length).items()
        },
        "checksums": [paper.checksum(at).hex() for at in range(descriptor.piece_count)],
        "publisher": paper.publisher.hex() if paper.publisher is not None else None,
        "signature": signature_state(descriptor, None),
    }


def _iso(date: int | None) -> str | None:
    """UTC, as 2026-01-31T12:00:00Z; None for a date that no calendar has."""
    if date is None:
        return None
    try:
        moment = datetime.datetime.fromtimestamp(date, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
