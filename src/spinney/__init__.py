"""Spinney moves data from few to many: a file, a folder, whole and verified.

    sharing = await spinney.share("holiday.mp4")
    print(sharing.link)

    done = await spinney.get(link, "downloads")
    print(done.paths, done.sha256)

Names come when they are used: `import spinney` itself imports no room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spinney.config import Settings
    from spinney.content.descriptor import Descriptor
    from spinney.errors import SpinneyError
    from spinney.events import Done, Error, Event, Progress, Ready, Started, Warning
    from spinney.peer import Getting, Peer, Sharing, get, share

__version__ = "0.1.0.dev0"

_HOMES = {
    "Descriptor": "content.descriptor",
    "Done": "events",
    "Error": "events",
    "Event": "events",
    "Getting": "peer",
    "Peer": "peer",
    "Progress": "events",
    "Ready": "events",
    "Settings": "config",
    "Sharing": "peer",
    "SpinneyError": "errors",
    "Started": "events",
    "Warning": "events",
    "get": "peer",
    "share": "peer",
}

__all__ = [
    "Descriptor",
    "Done",
    "Error",
    "Event",
    "Getting",
    "Peer",
    "Progress",
    "Ready",
    "Settings",
    "Sharing",
    "SpinneyError",
    "Started",
    "Warning",
    "__version__",
    "get",
    "share",
]


def __getattr__(name: str) -> object:
    """The public names, imported from where they live at their first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'spinney' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"spinney.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
