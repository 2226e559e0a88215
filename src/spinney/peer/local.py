"""This machine: the only place above the rooms that makes a real host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from spinney.net.host import Host


@contextmanager
def given_or_live(host: Host | None) -> Iterator[Host]:
    """The host that was handed in, or a real one that is closed at the end."""
    if host is not None:
        yield host
        return
    from spinney.net.live import LiveHost

    live = LiveHost()
    try:
        yield live
    finally:
        live.close()
