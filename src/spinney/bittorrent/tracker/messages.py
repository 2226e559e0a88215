"""What client and tracker may say to each other, and every bound on it.

BEP 3 "trackers", BEP 7, 12, 23, 24, 31, 48; lecture: "Peer to Tracker Communications".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from spinney.net.host import Address

Event: TypeAlias = Literal["", "started", "stopped", "completed", "paused"]
EVENTS: tuple[Event, ...] = ("", "started", "stopped", "completed", "paused")
"""`paused` is BEP 21's: a partial seed that wants nothing more."""

INFOHASH_BYTES = 20
PEER_ID_BYTES = 20

QUERY_BYTES_MAX = 8192
"""A scrape of 74 torrents, each hash escaped to 60 bytes, is 5.3 KB."""
PARAMETERS_MAX = 128
SCRAPE_TORRENTS_MAX = 74
"""As many as fit BEP 15's datagram: the figure that clients know."""
REPLY_BYTES_MAX = 512 << 10
"""200 peers in the wordy form are 20 KB; no honest tracker comes near this."""
REPLY_PEERS_MAX = 1000
"""Peers kept of one reply; what is beyond is dropped, whoever sent it."""
TEXT_BYTES_MAX = 500
"""Of a failure reason or a warning, as people see it."""
TRACKER_ID_BYTES_MAX = 256
KEY_BYTES_MAX = 16
COUNT_MAX = (1 << 63) - 1
UNKNOWN_LEFT_BYTES = 16384
"""Said while a magnet link's size is unknown: any number but 0, which would mean "seed"."""

INTERVAL_DEFAULT_S = 1800
INTERVAL_MIN_S = 30
INTERVAL_MAX_S = 6 * 3600
"""A tracker's `interval` is obeyed within these: no hammering, no silence for a day."""
MIN_INTERVAL_MAX_S = 3600
RETRY_MAX_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class AnnounceRequest:
    """One announce: "I have this torrent, here I listen; who else?"  Counts are bytes.

    `infohash`, `peer_id`: 20 bytes.  `numwant` None: the tracker's choice.  `key` proves, to
    the tracker alone, that a later announce is from the same client.  `ip`, `ipv4`, `ipv6`:
    the addresses a client claims (BEP 3, 7); a tracker need not believe them.
    """

    infohash: bytes
    peer_id: bytes
    port: int
    uploaded_bytes: int = 0
    downloaded_bytes: int = 0
    left_bytes: int = UNKNOWN_LEFT_BYTES
    event: Event = ""
    numwant: int | None = None
    compact: bool = True
    no_peer_id: bool = True
    key: bytes = b""
    corrupt_bytes: int = 0
    ip: str | None = None
    ipv4: str | None = None
    ipv6: str | None = None
    tracker_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class AnnounceReply:
    """The tracker's answer.  Times are seconds, within the bounds above.

    `ignored_peers`: entries that were no numeric address with a port, or beyond the bound.
    """

    interval_s: int = INTERVAL_DEFAULT_S
    min_interval_s: int = 0
    peers: tuple[Address, ...] = ()
    complete: int | None = None
    incomplete: int | None = None
    downloaded: int | None = None
    tracker_id: bytes | None = None
    warning: str | None = None
    external_ip: str | None = None
    ignored_peers: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """`failure reason`, and with BEP 31 when to try again: seconds, or `never`."""

    reason: str
    retry_in_s: int | None = None
    never: bool = False


@dataclass(frozen=True, slots=True)
class ScrapeCounts:
    """One torrent in a scrape (BEP 48): seeds, downloads completed since ever, leechers."""

    complete: int = 0
    downloaded: int = 0
    incomplete: int = 0


@dataclass(frozen=True, slots=True)
class ScrapeReply:
    """The counts by infohash; `min_interval_s` is the flags' `min_request_interval`."""

    torrents: dict[bytes, ScrapeCounts] = field(default_factory=dict)
    min_interval_s: int = 0
