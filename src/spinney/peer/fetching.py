"""A `.torrent` by its URL."""

from __future__ import annotations

from collections.abc import Sequence

from spinney.content.rules import MAX_TORRENT_BYTES
from spinney.errors import NetworkError, WireError
from spinney.net.guard import Target, reach_of, resolve_target
from spinney.net.host import Address, Host
from spinney.wire.http_client import get

TIMEOUT_S = 60.0


async def fetch_torrent(host: Host, url: str) -> bytes:
    """The body.  Raises `NetworkError` (nobody answers, or not with 200), `WireError`."""

    async def check(at: str, sender: Address | None) -> tuple[Target, Sequence[Address]]:
        # The user typed the URL and may mean the own network; a redirect may not.
        return await resolve_target(
            host,
            at,
            "descriptor",
            by_user=sender is None,
            redirected_from=reach_of(sender[0]) if sender is not None else None,
        )

    answer = await get(
        host, url, check=check, timeout_s=TIMEOUT_S, max_body_bytes=MAX_TORRENT_BYTES
    )
    if answer.status != 200:
        raise NetworkError(f"{url[:200]} answers {answer.status}: is the address right?")
    if not answer.body:
        raise WireError(f"{url[:200]} answers nothing")
    return answer.body
