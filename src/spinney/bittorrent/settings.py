"""`Settings` of the BitTorrent room: every limit as one row, with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Defaults suit a program on a desk; a simulated one may want fewer connections."""

    port: int = 0
    """TCP, IPv4 and IPv6; 0 takes any free one."""
    addresses: tuple[str, ...] = ("0.0.0.0", "::")
    """Where to listen.  The second may be missing on a machine without IPv6."""
    connections: int = 400
    """In all swarms: each costs up to 300 KiB at worst (a partial message, pending answers)."""
    connections_per_swarm: int = 80
    """The lectures: 10 to 30 suffice for a torrent; more help a seeder to see what is rare."""
    connections_per_address: int = 3
    """One address is one household or one attacker.  Off for loopback and private addresses."""
    connections_per_network: int = 24
    """An IPv6 /64 has addresses without end, and may be one attacker or a whole classroom."""
    outgoing_share: float = 0.25
    """Of all places: kept for connections that we make, or a crowd of strangers who came first
    would keep us from the peers that we were told of."""
    half_open: int = 24
    """Attempts at a time: silent addresses must not hold up the others, nor look like a scan.
    A third of them is kept from addresses that only peers tell of, a sixth for those of the user
    and the link: a flood of made-up addresses must not hold up the true ones."""
    handshakes: int = 64
    """Accepted connections that have not said what they want yet; one more ends the oldest."""
    connect_timeout_s: float = 8.0
    handshake_timeout_s: float = 10.0
    idle_timeout_s: float = 180.0
    """Without one whole message: BEP 3's keep-alive comes every two minutes."""
    keep_alive_s: float = 110.0
    candidates: int = 1_000
    """Addresses remembered for a swarm, 200 bytes each."""
    request_limit: int = 1_000
    """`reqq`: requests that a peer may have waiting here: 16 MiB of data, 100 KiB of memory."""
    upload_slots: int | None = None
    """None: from the upload rate, and so that a fast line is not left idle."""
    upload_bytes_per_s: float | None = None
    """What the line is known to give, if it is; for the number of slots."""
    seed_in_turn: bool = False
    """As a seed: peers take turns instead of the fastest taker keeping its slot, which may be one
    that never gives.  Off: to choke a taker of a young seed hides its pieces again (20 peers on a
    slow seed ended a sixth later)."""
    ration: bool = True
    """A young seed shows its pieces a few at a time, so that it sends each of them once."""
    exchange: bool = True
    """Peer exchange (BEP 11); never in private torrents."""
    client: str = "Spinney 0.1"
