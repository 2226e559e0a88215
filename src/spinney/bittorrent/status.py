"""`SwarmStatus`: a swarm for people; `SwarmNode`: what a swarm needs of the node around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from spinney.bittorrent.settings import Settings
from spinney.bittorrent.turns import Turns
from spinney.errors import SpinneyError
from spinney.net.host import Address, Rng

if TYPE_CHECKING:
    from spinney.bittorrent.connection import Connection
    from spinney.bittorrent.swarm import Swarm


class SwarmNode(Protocol):
    """What a swarm needs of the node that owns it."""

    port: int
    settings: Settings
    turns: Turns

    @property
    def rng(self) -> Rng: ...

    def dial(self, swarm: Swarm, address: Address) -> None: ...
    def next_key(self) -> int: ...
    def count_received(self, connection: Connection, swarm: Swarm, length_bytes: int) -> None: ...
    def full(self, *, outgoing: bool) -> bool:
        """No connection more in the whole node that we make, or that is made to us."""

    def crowded(self, host: str) -> bool:
        """This address has as many connections as one may have."""

    def own_addresses(self) -> list[Address]: ...
    def removed(self, swarm: Swarm) -> None: ...


@dataclass(frozen=True, slots=True)
class SwarmStatus:
    """A moment of a swarm, for people.  Rates and bytes are payload."""

    peers: int
    seeds: int
    unchoked: int
    down_bytes_per_s: float
    up_bytes_per_s: float
    downloaded_bytes: int
    uploaded_bytes: int
    candidates: int
    opening: int
    finished_peers: int
    """Different peers that were seen to have everything, this far."""
    rationing: bool
    tried: tuple[str, ...]
    """What each source of peers was asked, and what came of it."""
    warnings: tuple[str, ...]
    failure: SpinneyError | None
