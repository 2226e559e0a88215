"""Which sources of peers a transfer asks: the LAN, its trackers, the addresses it was given.

A private torrent asks its own trackers and nobody else (BEP 27).
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from spinney.errors import UsageError, WireError
from spinney.net.address import parse_address
from spinney.net.host import Address, Host

MOST_GIVEN = 100
"""Addresses taken from one link or command line."""


async def resolve_peers(host: Host, texts: Sequence[str]) -> list[Address]:
    """HOST:PORT as numeric addresses; a name may have several.

    Raises `UsageError` for what is no HOST:PORT, `ResolveError` for a name without address.
    """
    rows: list[Address] = []
    for text in texts[:MOST_GIVEN]:
        try:
            name, port = parse_address(text)
        except WireError as error:
            raise UsageError(f"--peer: {error}") from None
        if not port:
            raise UsageError(f"--peer: {text!r} names port 0, where nobody can listen")
        rows += await host.resolve(name, port)
    return rows


def require_urls(texts: Sequence[str]) -> None:
    """Raises `UsageError` for a tracker that was typed and is no URL."""
    for text in texts:
        if not _is_url(text):
            raise UsageError(
                f"--tracker: {text[:200]!r} is no URL, such as http://HOST:6969/announce"
            )


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        text.encode("utf-8")  # the command line may hold bytes that are no text
    except ValueError:
        return False
    return parts.scheme in ("http", "https", "udp") and bool(host) and port != 0


def tiers_of(
    own: Sequence[Sequence[str]], more: Sequence[str], *, private: bool
) -> tuple[tuple[str, ...], ...]:
    """BEP 12's tiers: those of the descriptor, then each further tracker in one of its own."""
    known = {url for tier in own for url in tier}
    extra = [] if private else [url for url in dict.fromkeys(more) if url not in known]
    return (*(tuple(tier) for tier in own if tier), *((url,) for url in extra))
