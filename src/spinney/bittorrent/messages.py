"""What two BitTorrent peers may say to each other (BEP 3, 6, 10, 52).

A piece is named by its index, a block by `begin` (bytes from the start of the piece) and
`length` (bytes, 16,384 but for the last).  The numbers in parentheses are the ids on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

PROTOCOL = b"\x13BitTorrent protocol"
"""The first 20 bytes of every plain connection (BEP 3)."""
HANDSHAKE_BYTES = 68
BLOCK_BYTES = 16_384
"""What everybody asks for at a time; larger requests are refused by most."""

RESERVED_EXTENDED = (5, 0x10)
"""Byte and bit: speaks the extension protocol (BEP 10)."""
RESERVED_FAST = (7, 0x04)
"""Speaks the fast extension (BEP 6)."""
RESERVED_DHT = (7, 0x01)
"""Runs a DHT node; its port comes in a `Port` message (BEP 5)."""
RESERVED_V2 = (7, 0x10)
"""Speaks BEP 52, and may be answered with the v2 infohash of a hybrid."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """The first 68 bytes each way: reserved 8, infohash 20, peer id 20 bytes."""

    reserved: bytes
    infohash: bytes
    peer_id: bytes

    def bit(self, place: tuple[int, int]) -> bool:
        return bool(self.reserved[place[0]] & place[1])


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Nothing to say, still here (length 0); every two minutes."""


@dataclass(frozen=True, slots=True)
class Choke:
    """(0) I will not answer your requests."""


@dataclass(frozen=True, slots=True)
class Unchoke:
    """(1) Ask."""


@dataclass(frozen=True, slots=True)
class Interested:
    """(2) You have something that I want."""


@dataclass(frozen=True, slots=True)
class NotInterested:
    """(3) You have nothing that I want."""


@dataclass(frozen=True, slots=True)
class Have:
    """(4) I have got this piece."""

    piece: int


@dataclass(frozen=True, slots=True)
class BitfieldMessage:
    """(5) The pieces that I have, high bit first; the first message, once."""

    bits: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """(6) Give me this block."""

    piece: int
    begin: int
    length: int


@dataclass(frozen=True, slots=True)
class Piece:
    """(7) A block, in spite of its name."""

    piece: int
    begin: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Cancel:
    """(8) I no longer need this block."""

    piece: int
    begin: int
    length: int


@dataclass(frozen=True, slots=True)
class Port:
    """(9) My DHT node listens on this UDP port (BEP 5)."""

    port: int


@dataclass(frozen=True, slots=True)
class SuggestPiece:
    """(13) You might like to ask for this piece (BEP 6)."""

    piece: int


@dataclass(frozen=True, slots=True)
class HaveAll:
    """(14) Instead of a bitfield: everything (BEP 6)."""


@dataclass(frozen=True, slots=True)
class HaveNone:
    """(15) Instead of a bitfield: nothing (BEP 6)."""


@dataclass(frozen=True, slots=True)
class RejectRequest:
    """(16) This request will not be answered (BEP 6)."""

    piece: int
    begin: int
    length: int


@dataclass(frozen=True, slots=True)
class AllowedFast:
    """(17) You may ask for this piece even while choked (BEP 6)."""

    piece: int


@dataclass(frozen=True, slots=True)
class Extended:
    """(20) A message of the extension protocol; 0 is its handshake (BEP 10)."""

    kind: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class HashRequest:
    """(21) Hashes of a v2 file's Merkle tree (BEP 52), 32 bytes each."""

    pieces_root: bytes
    base_layer: int
    index: int
    length: int
    proof_layers: int


@dataclass(frozen=True, slots=True)
class Hashes:
    """(22) The answer to a `HashRequest`: hashes of the layer, then their uncles."""

    pieces_root: bytes
    base_layer: int
    index: int
    length: int
    proof_layers: int
    hashes: bytes


@dataclass(frozen=True, slots=True)
class HashReject:
    """(23) A `HashRequest` that will not be answered."""

    pieces_root: bytes
    base_layer: int
    index: int
    length: int
    proof_layers: int


Message: TypeAlias = (
    KeepAlive
    | Choke
    | Unchoke
    | Interested
    | NotInterested
    | Have
    | BitfieldMessage
    | Request
    | Piece
    | Cancel
    | Port
    | SuggestPiece
    | HaveAll
    | HaveNone
    | RejectRequest
    | AllowedFast
    | Extended
    | HashRequest
    | Hashes
    | HashReject
)
