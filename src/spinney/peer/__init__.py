"""`Peer`: the nodes that one program runs, behind one API; the only place where rooms meet.

    share(path), get(link)      one transfer with a peer of its own
    Peer                        several transfers in one program      peer.py
    Sharing, Getting            what they give: events, wait, close   sharing.py, getting.py
    look, verify                what a link says; are these files it  looking.py, verifying.py
    run_tracker                 a tracker of one's own                tracking.py
    run_registry                a registry for streams of others      registering.py
    examine                     what this machine and network can do  doctor.py

Everything runs on the `Host` that it is handed; `Peer.live` makes the real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spinney.peer.doctor import examine
    from spinney.peer.getting import Getting
    from spinney.peer.looking import look
    from spinney.peer.peer import Peer, get, share
    from spinney.peer.registering import run_registry
    from spinney.peer.sharing import Sharing
    from spinney.peer.tracking import run_tracker
    from spinney.peer.verifying import verify

_HOMES = {
    "Getting": "getting",
    "Peer": "peer",
    "Sharing": "sharing",
    "examine": "doctor",
    "get": "peer",
    "look": "looking",
    "run_registry": "registering",
    "run_tracker": "tracking",
    "share": "peer",
    "verify": "verifying",
}

__all__ = [
    "Getting",
    "Peer",
    "Sharing",
    "examine",
    "get",
    "look",
    "run_registry",
    "run_tracker",
    "share",
    "verify",
]


def __getattr__(name: str) -> object:
    """The public names, imported from where they live at their first use (PEP 562): a download
    loads no registry and no tracker."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'spinney.peer' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"spinney.peer.{home}"), name)
    globals()[name] = value
    return value
