"""Piece layers that came from peers, kept beside an unfinished download.  Pure.

A magnet link of version 2 does not bring them; what was asked for once must not be asked for
again after a restart.  The file is a bencoded dictionary: `spinney` (version 1), `infohash` and
`piece layers` as in a `.torrent`.  It is a hint: each layer must lead to its root.
"""

from __future__ import annotations

from spinney.content.descriptor import Descriptor
from spinney.errors import DescriptorError, WireError
from spinney.wire import bencode

VERSION = 1
MAX_BYTES = 72 << 20
"""32 bytes for each of 2,097,152 pieces, and a root for each file that has a layer."""
LIMITS = bencode.Limits(depth=3, tokens=4_000_000, length_bytes=MAX_BYTES)


def encode_layers(descriptor: Descriptor) -> bytes:
    return bencode.encode(
        {
            b"infohash": bytes.fromhex(descriptor.infohash),
            b"piece layers": descriptor.piece_layers,
            b"spinney": VERSION,
        }
    )


def take_layers(descriptor: Descriptor, data: bytes) -> None:
    """Adds the missing layers that `data` has; what is torn, foreign or untrue is left out."""
    try:
        row = bencode.decode(data, limits=LIMITS)
    except WireError:
        return
    if not isinstance(row, dict) or row.get(b"spinney") != VERSION:
        return
    layers = row.get(b"piece layers")
    if row.get(b"infohash") != bytes.fromhex(descriptor.infohash) or not isinstance(layers, dict):
        return
    for root in descriptor.missing_layers:
        layer = layers.get(root)
        if isinstance(layer, bytes):
            try:
                descriptor.add_piece_layer(root, layer)
            except DescriptorError:
                continue
