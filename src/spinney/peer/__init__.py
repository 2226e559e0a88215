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

from spinney.peer.getting import Getting
from spinney.peer.looking import look
from spinney.peer.peer import Peer, get, share
from spinney.peer.sharing import Sharing

if TYPE_CHECKING:
    from spinney.peer.doctor import examine
    from spinney.peer.registering import run_registry
    from spinney.peer.tracking import run_tracker
    from spinney.peer.verifying import verify

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
    """What a download needs not, imported at its first use (PEP 562): the registry, the tracker."""
    if name == "examine":
        from spinney.peer.doctor import examine

        return examine
    if name == "run_registry":
        from spinney.peer.registering import run_registry

        return run_registry
    if name == "run_tracker":
        from spinney.peer.tracking import run_tracker

        return run_tracker
    if name == "verify":
        from spinney.peer.verifying import verify

        return verify
    raise AttributeError(f"module 'spinney.peer' has no attribute {name!r}")
