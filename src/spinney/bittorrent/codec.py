"""Bytes to messages and back (BEP 3, 6, 10, 52).  Pure; raises `WireError` only.

One message: length (4 bytes, big-endian, without itself), id (1 byte), body.  The driver's
hot path (blocks and requests) is in `reader.py`; everything here is for whole messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any

from spinney.bittorrent.messages import (
    HANDSHAKE_BYTES,
    PROTOCOL,
    AllowedFast,
    BitfieldMessage,
    Cancel,
    Choke,
    Extended,
    Handshake,
    Hashes,
    HashReject,
    HashRequest,
    Have,
    HaveAll,
    HaveNone,
    Interested,
    KeepAlive,
    Message,
    NotInterested,
    Piece,
    Port,
    RejectRequest,
    Request,
    SuggestPiece,
    Unchoke,
)
from spinney.errors import WireError
from spinney.net.host import Buffer

MAX_REQUEST_BYTES = 131_072
"""A request for more is an attack or a bug: every known client stays below 128 KiB."""
MAX_MESSAGE_BYTES = 1 << 20
"""No message is longer; unknown ones up to this are skipped without being kept."""
MAX_PIECES = 2_097_152
"""As in descriptors; bounds a bitfield that comes before the metadata."""
MAX_EXTENDED_BYTES = 131_072
"""An extended message: 16 KiB of metadata, or 100 addresses, with room to spare."""
MAX_HASHES = 8_192 + 64
"""BEP 52 lets no sane request ask for more than 8,192 hashes and their uncles."""

CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED, HAVE, BITFIELD, REQUEST, PIECE = range(8)
CANCEL, PORT = 8, 9
SUGGEST, HAVE_ALL, HAVE_NONE, REJECT, ALLOWED_FAST = 13, 14, 15, 16, 17
EXTENDED, HASH_REQUEST, HASHES, HASH_REJECT = 20, 21, 22, 23

LENGTH = Struct(">I")
HEAD = Struct(">IB")
HEAD_INDEX = Struct(">IBI")
BLOCK_HEAD = Struct(">IBII")
"""Length, id, piece, begin: the 13 bytes before a block's data."""
RANGE = Struct(">IBIII")
"""A whole request, cancel or reject: 17 bytes."""
_RANGE_BODY = Struct(">III")
_HASH_BODY = Struct(">32sIIII")

_FIXED_BODY_BYTES = {
    CHOKE: 0,
    UNCHOKE: 0,
    INTERESTED: 0,
    NOT_INTERESTED: 0,
    HAVE: 4,
    REQUEST: 12,
    CANCEL: 12,
    PORT: 2,
    SUGGEST: 4,
    HAVE_ALL: 0,
    HAVE_NONE: 0,
    REJECT: 12,
    ALLOWED_FAST: 4,
    HASH_REQUEST: 48,
    HASH_REJECT: 48,
}
_BODY_LIMITS = {
    BITFIELD: (MAX_PIECES + 7) // 8,
    PIECE: 8 + MAX_REQUEST_BYTES,
    EXTENDED: MAX_EXTENDED_BYTES,
    HASHES: 48 + 32 * MAX_HASHES,
}
KNOWN = frozenset(_FIXED_BODY_BYTES) | frozenset(_BODY_LIMITS)


def check_length(kind: int, body_bytes: int) -> None:
    """Raises `WireError` if no message of this kind can have a body of this length."""
    fixed = _FIXED_BODY_BYTES.get(kind)
    if fixed is not None:
        if body_bytes != fixed:
            raise WireError(f"a message {kind} of {body_bytes} bytes instead of {fixed}")
    elif body_bytes > _BODY_LIMITS.get(kind, MAX_MESSAGE_BYTES - 1):
        raise WireError(f"a message {kind} of {body_bytes} bytes")


def decode_handshake(data: Buffer) -> Handshake:
    """68 bytes, whole.  Raises `WireError` if they are no BitTorrent handshake."""
    raw = bytes(data)
    if len(raw) != HANDSHAKE_BYTES or raw[:20] != PROTOCOL:
        raise WireError("not a BitTorrent handshake")
    return Handshake(raw[20:28], raw[28:48], raw[48:68])


def encode_handshake(handshake: Handshake) -> bytes:
    return PROTOCOL + handshake.reserved + handshake.infohash + handshake.peer_id


def _index(body: memoryview) -> int:
    return int.from_bytes(body, "big")


def _range(body: memoryview) -> tuple[int, int, int]:
    piece, begin, length = _RANGE_BODY.unpack(body)
    return piece, begin, length


def _block(body: memoryview) -> Piece:
    if len(body) < 8:
        raise WireError("a block without its place")
    return Piece(_index(body[:4]), _index(body[4:8]), bytes(body[8:]))


def _extended(body: memoryview) -> Extended:
    if not body:
        raise WireError("an extended message without its id")
    return Extended(body[0], bytes(body[1:]))


def _hashes(body: memoryview) -> Hashes:
    if len(body) < 48 or (len(body) - 48) % 32:
        raise WireError("hashes of an uneven length")
    root, base_layer, index, length, proof_layers = _HASH_BODY.unpack(body[:48])
    return Hashes(root, base_layer, index, length, proof_layers, bytes(body[48:]))


_DECODERS: dict[int, Callable[[memoryview], Message]] = {
    CHOKE: lambda body: Choke(),
    UNCHOKE: lambda body: Unchoke(),
    INTERESTED: lambda body: Interested(),
    NOT_INTERESTED: lambda body: NotInterested(),
    HAVE: lambda body: Have(_index(body)),
    BITFIELD: lambda body: BitfieldMessage(bytes(body)),
    REQUEST: lambda body: Request(*_range(body)),
    PIECE: _block,
    CANCEL: lambda body: Cancel(*_range(body)),
    PORT: lambda body: Port(_index(body)),
    SUGGEST: lambda body: SuggestPiece(_index(body)),
    HAVE_ALL: lambda body: HaveAll(),
    HAVE_NONE: lambda body: HaveNone(),
    REJECT: lambda body: RejectRequest(*_range(body)),
    ALLOWED_FAST: lambda body: AllowedFast(_index(body)),
    EXTENDED: _extended,
    HASH_REQUEST: lambda body: HashRequest(*_HASH_BODY.unpack(body)),
    HASHES: _hashes,
    HASH_REJECT: lambda body: HashReject(*_HASH_BODY.unpack(body)),
}


def decode(kind: int, body: memoryview) -> Message | None:
    """One message by its id and whole body; None for an id that nobody defined.

    Raises `WireError` if the body has a wrong length or content.
    """
    check_length(kind, len(body))
    decoder = _DECODERS.get(kind)
    return None if decoder is None else decoder(body)


def _empty(kind: int) -> bytes:
    return HEAD.pack(1, kind)


def _with_index(kind: int, index: int) -> bytes:
    return HEAD_INDEX.pack(5, kind, index)


def _with_range(kind: int, message: Request | Cancel | RejectRequest) -> bytes:
    return RANGE.pack(13, kind, message.piece, message.begin, message.length)


def _with_hash(kind: int, message: HashRequest | Hashes | HashReject, extra: bytes = b"") -> bytes:
    return (
        HEAD.pack(49 + len(extra), kind)
        + _HASH_BODY.pack(
            message.pieces_root,
            message.base_layer,
            message.index,
            message.length,
            message.proof_layers,
        )
        + extra
    )


def _encode_piece(message: Piece) -> bytes:
    head = BLOCK_HEAD.pack(9 + len(message.data), PIECE, message.piece, message.begin)
    return head + message.data


_ENCODERS: dict[type[Any], Callable[[Any], bytes]] = {
    KeepAlive: lambda m: b"\0\0\0\0",
    Choke: lambda m: _empty(CHOKE),
    Unchoke: lambda m: _empty(UNCHOKE),
    Interested: lambda m: _empty(INTERESTED),
    NotInterested: lambda m: _empty(NOT_INTERESTED),
    Have: lambda m: _with_index(HAVE, m.piece),
    BitfieldMessage: lambda m: HEAD.pack(1 + len(m.bits), BITFIELD) + m.bits,
    Request: lambda m: _with_range(REQUEST, m),
    Piece: _encode_piece,
    Cancel: lambda m: _with_range(CANCEL, m),
    Port: lambda m: HEAD.pack(3, PORT) + m.port.to_bytes(2, "big"),
    SuggestPiece: lambda m: _with_index(SUGGEST, m.piece),
    HaveAll: lambda m: _empty(HAVE_ALL),
    HaveNone: lambda m: _empty(HAVE_NONE),
    RejectRequest: lambda m: _with_range(REJECT, m),
    AllowedFast: lambda m: _with_index(ALLOWED_FAST, m.piece),
    Extended: lambda m: HEAD.pack(2 + len(m.payload), EXTENDED) + bytes([m.kind]) + m.payload,
    HashRequest: lambda m: _with_hash(HASH_REQUEST, m),
    Hashes: lambda m: _with_hash(HASHES, m, m.hashes),
    HashReject: lambda m: _with_hash(HASH_REJECT, m),
}


def encode(message: Message) -> bytes:
    """The whole message with its length."""
    return _ENCODERS[type(message)](message)


def encode_requests(ranges: Iterable[tuple[int, int, int]]) -> bytes:
    """Many (piece, begin, length) as one run of requests."""
    pack = RANGE.pack
    return b"".join([pack(13, REQUEST, piece, begin, size) for piece, begin, size in ranges])


def encode_haves(pieces: Iterable[int]) -> bytes:
    pack = HEAD_INDEX.pack
    return b"".join([pack(5, HAVE, piece) for piece in pieces])
