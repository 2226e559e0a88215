"""What one peer may say and be told without moving data: bounds."""

from __future__ import annotations

from typing import Any

from spinney.bittorrent.messages import Choke, Extended, Interested, NotInterested, Unchoke

CHATTER_LIMIT = 6_000
"""Messages a second that move no data: a thousand rejects and cancels are normal once in a
while, an endless stream of them is an attack."""
DEAR: dict[type[Any], int] = {Extended: 8, Choke: 20, Unchoke: 20, Interested: 4, NotInterested: 4}
"""Messages that cause more work than others count so often."""
CRUMB_BYTES = 256
"""Smaller blocks count as chatter unless they are what was asked for (a tiny file): an endless
stream of empty ones, or of single bytes, would cost its sender nothing."""
METADATA_SERVED_BYTES = 32 << 20
"""Info dictionary bytes that one connection gets: three times the largest, then rejects."""
