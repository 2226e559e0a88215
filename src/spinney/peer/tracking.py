"""`run_tracker`: a tracker of one's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from spinney.bittorrent.tracker.server import Tracker
from spinney.bittorrent.tracker.settings import TrackerSettings
from spinney.net.address import format_address
from spinney.net.host import Host
from spinney.peer.local import given_or_live
from spinney.peer.reachable import listening_addresses, told_addresses

DEFAULT_PORT = 6969

OnReady = Callable[[list[str], str, int], None]
"""(announce URLs, the likeliest address, port)."""


async def run_tracker(
    *,
    port: int = DEFAULT_PORT,
    interface: str | None = None,
    state: str | None = None,
    allowed: str | None = None,
    listed: bool = True,
    on_ready: OnReady | None = None,
    host: Host | None = None,
) -> None:
    """Serves until cancelled.  `state`: a file that keeps what it knows over a restart.
    `allowed`: a file of infohashes, one a line; all others are refused.  `listed`: whether the
    page for people shows infohashes.

    Raises `PortTakenError`, `UsageError` (no such interface), `StorageError`, `InputError` (a
    line of `allowed` is no infohash).
    """
    with given_or_live(host) as machine:
        listening = listening_addresses(machine.interfaces(), interface)
        settings = TrackerSettings(
            port=port,
            addresses=listening,
            state_path=state,
            allowed_path=allowed,
            listed=listed,
        )
        tracker = Tracker(machine, settings)
        await tracker.start()
        try:
            told = told_addresses(machine.interfaces(), listening)
            urls = [f"http://{format_address((each, tracker.port))}/announce" for each in told]
            if on_ready is not None:
                on_ready(urls, told[0], tracker.port)
            await asyncio.get_running_loop().create_future()  # until cancelled
        finally:
            await tracker.close()
