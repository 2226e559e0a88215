"""What the operator of a tracker may choose, and the list of torrents that he allows.  Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from spinney.bittorrent.tracker.state import StateLimits
from spinney.errors import InputError

ALLOWED_BYTES_MAX = 32 << 20
ALLOWED_MAX = 200_000
NAME_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """Times are seconds.

    `addresses`: where it listens, each on `port`; one family that does not exist is no error
    as long as the other works.  `interval_spread`: each reply's interval is drawn from this
    share around `interval_s`, so that clients which came together do not return together.
    A peer is forgotten after `expiry_intervals` intervals of silence.  `announces_per_minute`
    (announces and scrapes) holds for each IPv4 address or IPv6 /64, not for local addresses.
    `state_path`: kept over a restart, written every `state_every_s` and at the end; None: not
    kept.  `allowed_path`: a file of infohashes; all others are refused.  `listed`: whether the
    page shows infohashes.
    """

    port: int = 6969
    addresses: tuple[str, ...] = ("0.0.0.0", "::")
    interval_s: int = 900
    min_interval_s: int = 30
    interval_spread: float = 0.1
    expiry_intervals: float = 1.75
    numwant_default: int = 50
    numwant_max: int = 200
    announces_per_minute: int = 600
    state_path: str | None = None
    state_every_s: float = 60.0
    allowed_path: str | None = None
    listed: bool = True
    connections_max: int = 2000
    limits: StateLimits = field(default_factory=StateLimits)


def parse_allowed(data: bytes) -> dict[bytes, str]:
    """Allowed infohashes with their names; one a line, in hex, a name after a blank, `#` a comment.

    40 digits for v1, 64 for v2 (cut to 20 bytes, as on the wire).  `InputError` names the line.
    """
    if len(data) > ALLOWED_BYTES_MAX:
        raise InputError(f"a list of allowed torrents may have {ALLOWED_BYTES_MAX} bytes")
    allowed: dict[bytes, str] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        digits, _, name = words.partition(" ")
        try:
            infohash = bytes.fromhex(digits)
        except ValueError:
            infohash = b""
        if len(infohash) not in (20, 32):
            raise InputError(
                f"line {number} of the allowed torrents is no infohash: 40 digits in hex "
                "(v1) or 64 (v2), then a blank and a name"
            )
        allowed[infohash[:20]] = name.strip()[:NAME_CHARACTERS_MAX]
        if len(allowed) > ALLOWED_MAX:
            raise InputError(f"more than {ALLOWED_MAX} allowed torrents")
    return allowed
