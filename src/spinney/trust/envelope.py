"""Signed envelopes: every control message to a group, bencoded, canonical, of at most 1,200 bytes.

    d 1:f 8:<file tag> 1:k 32:<public key> 1:m d…e 1:q i<sequence>e 1:s 64:<signature> e

`f` says which file (its peers drop what is foreign before they look at anything else), `k` is
the sender's key, whose hash is its peer id, `m` the message, `q` a number that rises with each
envelope of a key, `s` the signature of all of it but `s`.  `parse` costs microseconds and
believes nothing; `verify` costs a tenth of a millisecond: who can drop a message unread does it
in between.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256

from spinney.errors import WireError
from spinney.trust.keys import PUBLIC_BYTES, SIGNATURE_BYTES, Keys, peer_id_of, verify
from spinney.wire import bencode

DATAGRAM_BYTES_MAX = 1_200
"""The project's bound for every control datagram."""
FILE_BYTES = 8
OVERHEAD_BYTES = 160
"""All but the message, at the most: 8 + 32 + 64 bytes, a sequence of 19 digits, and the frame."""
MESSAGE_BYTES_MAX = DATAGRAM_BYTES_MAX - OVERHEAD_BYTES
SEQUENCE_MAX = (1 << 63) - 1

_CONTEXT = b"spinney envelope 1\0"
_SIGNED = -len(b"1:s64:") - SIGNATURE_BYTES - len(b"e")
"""Where the signature begins, from the end."""
_LIMITS = bencode.Limits(depth=8, tokens=600, length_bytes=DATAGRAM_BYTES_MAX)
_KEYS = {b"f", b"k", b"m", b"q", b"s"}

WINDOW = 64
"""Sequence numbers behind the highest that may still come: datagrams overtake each other."""
SENDERS_KEPT = 8_192
"""Keys whose sequence is remembered, 100 bytes each; the one silent for longest is forgotten."""


def file_tag(key: bytes) -> bytes:
    """The 8 bytes that name a file (its infohash) in envelopes."""
    return sha256(b"spinney file\0" + key).digest()[:FILE_BYTES]


@dataclass(frozen=True, slots=True)
class Envelope:
    """One parsed envelope, not believed until `verified`."""

    file: bytes
    public: bytes
    sequence: int
    message: dict[bytes, bencode.Value]
    signature: bytes
    signed: bytes

    @property
    def peer_id(self) -> bytes:
        return peer_id_of(self.public)

    def verified(self) -> bool:
        return verify(self.public, self.signature, self.signed)


def _signed(file: bytes, public: bytes, sequence: int, message: bencode.Value) -> bytes:
    return _CONTEXT + bencode.encode({b"f": file, b"k": public, b"m": message, b"q": sequence})


def make(keys: Keys, file: bytes, sequence: int, message: dict[bytes, bencode.Value]) -> bytes:
    """The datagram.  One that is too large is our own mistake: messages page themselves."""
    signature = keys.sign(_signed(file, keys.public, sequence, message))
    data = bencode.encode(
        {b"f": file, b"k": keys.public, b"m": message, b"q": sequence, b"s": signature}
    )
    assert len(data) <= DATAGRAM_BYTES_MAX, f"an envelope of {len(data)} bytes"
    return data


def parse(data: bytes) -> Envelope:
    """The envelope that these bytes are.  Raises `WireError`; checks no signature."""
    row = bencode.decode(data, limits=_LIMITS)
    if type(row) is not dict or row.keys() != _KEYS:
        raise WireError("no envelope")
    file, public, message = row[b"f"], row[b"k"], row[b"m"]
    sequence, signature = row[b"q"], row[b"s"]
    if type(file) is not bytes or len(file) != FILE_BYTES:
        raise WireError("an envelope without a file")
    if type(public) is not bytes or len(public) != PUBLIC_BYTES:
        raise WireError("an envelope without a key")
    if type(message) is not dict:
        raise WireError("an envelope without a message")
    if type(sequence) is not int or not 0 <= sequence <= SEQUENCE_MAX:
        raise WireError("an envelope without a sequence number")
    if type(signature) is not bytes or len(signature) != SIGNATURE_BYTES:
        raise WireError("an envelope without a signature")
    # Decoding took only the canonical form, in which the signature is the last: what was signed
    # is all before it, and need not be encoded again.
    return Envelope(file, public, sequence, message, signature, _CONTEXT + data[:_SIGNED] + b"e")


def outline(data: bytes) -> tuple[bytes, bytes, bytes] | None:
    """(file, key, the message and all behind it) of what looks like an envelope from outside,
    None of what does not.  A hundred times cheaper than `parse`, believes even less."""
    if data[:6] != b"d1:f8:" or data[14:20] != b"1:k32:" or data[52:55] != b"1:m":
        return None
    return data[6:14], data[20:52], data[55:]


class Replays:
    """Which sequence numbers of which key were seen; pure.  Ask only about verified envelopes."""

    def __init__(self, senders: int = SENDERS_KEPT) -> None:
        self._senders = senders
        self._seen: OrderedDict[bytes, tuple[int, int]] = OrderedDict()

    def is_new(self, public: bytes, sequence: int) -> bool:
        """True once for each number; False for one too far behind the highest."""
        highest, bits = self._seen.get(public, (-1, 0))
        if sequence > highest:
            bits = ((bits << (sequence - highest)) | 1) if sequence - highest < WINDOW else 1
            highest = sequence
        else:
            bit = 1 << (highest - sequence)
            if highest - sequence >= WINDOW or bits & bit:
                return False
            bits |= bit
        self._seen[public] = (highest, bits & ((1 << WINDOW) - 1))
        self._seen.move_to_end(public)
        if len(self._seen) > self._senders:
            self._seen.popitem(last=False)
        return True
