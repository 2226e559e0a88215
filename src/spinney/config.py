"""Settings of a peer and wishes for one transfer: what the options of the command say.

RATE is bytes a second everywhere and counts payload; None is no limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from spinney.errors import UsageError

FIRST_PORT, LAST_PORT = 6881, 6889
"""Tried in this order when no port is asked for; then any that the system gives."""

SAFE_RATE_BYTES_PER_S = 5_000_000
"""What multicast sends at first: safe on any LAN, Wi-Fi included; `--rate` says more."""

FOUND = 0.0
"""Instead of a rate: the rate is found, from the safe one on."""

RATE_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}

TorrentFormat = Literal["v1", "v2", "hybrid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What holds for all transfers of one `Peer`.

    `port`: to listen on; None takes 6881 to 6889 or what is free, 0 what the system gives.
    `interface`: the name of an interface or one of its addresses; None is all of them.
    `ttl`: how far multicast goes: 0 this machine, 1 (and None) this LAN, more as the network's
    routers let it.  Loopback is used with 0 only.
    """

    port: int | None = None
    interface: str | None = None
    up_bytes_per_s: float | None = None
    down_bytes_per_s: float | None = None
    lan: bool = True
    ttl: int | None = None


class TransferOptions(TypedDict, total=False):
    """What `share` and `get` both understand."""

    peers: Sequence[str]
    """HOST:PORT of peers to ask, beside those that are found."""
    trackers: Sequence[str]
    """URLs, beside those of the descriptor or link (a private torrent: its own only)."""
    lan: bool
    up_bytes_per_s: float | None
    down_bytes_per_s: float | None
    seed_ratio: float | None
    """Stop once this many times the content has been sent."""
    seed_time_s: float | None
    """Stop this long after the content is whole."""
    multicast: bool
    """False: by the swarm only.  True is the default, on a LAN and for what is not private."""
    multicast_only: bool
    """The data comes and goes by multicast only; of the swarm, no more than the description."""
    group: str | None
    """ADDRESS or ADDRESS:PORT of the file's management group; None: one that is free."""
    rate_bytes_per_s: float | None
    """Payload that all senders of the group together send, if this peer leads it.  `FOUND`: as
    much as is received without loss, beginning with the safe rate."""


class ShareOptions(TransferOptions, total=False):
    """What `share` understands."""

    torrent: str | None
    """Path of a descriptor that exists: the data is checked against it first."""
    torrent_out: str | None
    """Where the new descriptor goes (default NAME.torrent in the working folder)."""
    format: TorrentFormat
    piece_length: int | None
    comment: str | None
    private: bool
    paper: bool
    """With the MC-FTP paper's MD5 checksums in the descriptor."""
    signing_seed: bytes | None
    """32 secret bytes of the publisher's Ed25519 key; signs, and implies `paper`."""
    until_complete: int | None
    """Stop once so many peers have everything, however they got it."""
    wait_for: int
    """The group begins when so many receivers have joined, or at `Sharing.start_sending`."""
    wait_at_most_s: float
    """...or so long after it was founded."""


class GetOptions(TransferOptions, total=False):
    """What `get` understands."""

    select: Sequence[str]
    """Only these files: names, paths or patterns (`*.mp4`), or numbers from 0 as in BEP 53."""
    sequential: bool
    give_up_s: float | None
    """End with `NoPeersError` after so long without a new byte; None tries for ever."""


def parse_rate(text: str) -> float | None:
    """`500k`, `2M`, `1.5m`, `800000`: bytes a second; `0` and `none` are no limit.

    Raises `UsageError`.
    """
    word = text.strip().lower().removesuffix("/s").removesuffix("b")
    if word == "none":
        return None
    unit = word[-1:] if word[-1:].isalpha() else ""
    number = word.removesuffix(unit)
    try:
        value = float(number) if number.isascii() else -1.0
    except ValueError:
        value = -1.0
    if unit not in RATE_UNITS or not 0 <= value < 1e12:
        raise UsageError(f"{text!r} is no rate: say bytes a second, such as 500k or 2M")
    return value * RATE_UNITS[unit] or None


def parse_speed(text: str) -> float:
    """As `parse_rate`, but there is no "no limit": a rate to send at, or `found`.

    Raises `UsageError`.
    """
    if text.strip().lower() == "found":
        return FOUND
    rate = parse_rate(text)
    if rate is None or rate < 1:
        raise UsageError(
            f"{text!r} is no rate to send at: say bytes a second, such as 20M, or found"
        )
    return rate


def parse_seconds(text: str) -> float:
    """`90`, `90s`, `15m`, `2h`, `1d` in seconds.  Raises `UsageError`."""
    word = text.strip().lower()
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(word[-1:], 0)
    number = word[:-1] if unit else word
    try:
        value = float(number) if number.isascii() else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise UsageError(f"{text!r} is no time: say seconds, or 15m, 2h, 1d")
    return value * (unit or 1)


def parse_size(text: str) -> int:
    """`262144`, `256k`, `1M`, `1MiB`: bytes, in powers of two.  Raises `UsageError`."""
    word = text.strip().lower().removesuffix("ib").removesuffix("b")
    unit = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(word[-1:], 0)
    number = word[:-1] if unit else word
    if not (number.isascii() and number.isdigit()) or len(number) > 15:
        raise UsageError(f"{text!r} is no size: say bytes, or 256k, 1M")
    return int(number) * (unit or 1)
