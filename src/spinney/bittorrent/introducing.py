"""What we say of ourselves in the extension handshake (BEP 9, 10, 11, 21)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinney.bittorrent.extensions import METADATA, METADATA_ID, PEX, PEX_ID, ExtensionHandshake

if TYPE_CHECKING:
    from spinney.bittorrent.swarm import Swarm


def introduction(swarm: Swarm, host: str, *, rationed: bool) -> ExtensionHandshake:
    """To the peer at `host`.

    A rationing seed does not say `upload_only` yet: libtorrent leaves a peer that wants nothing
    and has shown nothing.
    """
    ids = {METADATA: METADATA_ID}
    if swarm.exchanging:
        ids[PEX] = PEX_ID
    return ExtensionHandshake(
        ids=ids,
        port=swarm.port or None,
        version=swarm.settings.client,
        your_ip=host,
        request_limit=swarm.settings.request_limit,
        metadata_bytes=len(swarm.info_bytes) if swarm.info_bytes is not None else None,
        upload_only=True if swarm.complete and not rationed else None,
    )
