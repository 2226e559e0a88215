"""What a KRPC datagram may say (BEP 5), and its codec.  Pure.

One bencoded dictionary a datagram: `t` the asker's transaction, `y` the kind (`q`, `r`, `e`),
and with it `q` + `a` (method and arguments), `r` (values) or `e` ([code, message]).  `v` is the
sender's version, `ro` says that the asker answers no queries (BEP 43).

Methods of our own rooms are named `room.method`; those without a dot belong to the DHT.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from spinney.errors import WireError
from spinney.net.host import Address
from spinney.wire.bencode import Limits, Value, decode, decode_dictionary, encode
from spinney.wire.krpc_shapes import Shapes

Arguments: TypeAlias = dict[bytes, Value]

MAX_SENT_BYTES = 1_200
"""No control datagram of ours is larger: it passes every path unfragmented, IPv6 included."""
MAX_RECEIVED_BYTES = 2_048
"""Answers of other DHT nodes reach about 1,500 bytes."""
MAX_TRANSACTION_BYTES = 32
"""Ours have 4 bytes and others' 2 to 8; what is echoed must not be for sale."""
MAX_ERROR_BYTES = 200
"""Of an error's message, as kept and as sent."""

GENERIC, SERVER, PROTOCOL, METHOD_UNKNOWN = 201, 202, 203, 204

DATAGRAM = Limits(depth=16, tokens=1_024, length_bytes=MAX_RECEIVED_BYTES)
_INSIDE = Limits(depth=DATAGRAM.depth - 1, tokens=DATAGRAM.tokens - 8)


class Query(NamedTuple):
    """A question from `remote`.  `room_bytes`: how large the encoded values of its answer may
    be, by the size of a datagram and by the rule against amplification."""

    method: bytes
    arguments: Arguments
    remote: Address
    transaction: bytes
    read_only: bool
    room_bytes: int


_query_middles: dict[tuple[bytes, bool, int], bytes] = {}


def encode_query(
    transaction: bytes, method: bytes, arguments: Arguments, *, read_only: bool = False
) -> bytes:
    """The query, canonical, made of ready parts around its arguments."""
    length = len(transaction)
    middle = _query_middles.get((method, read_only, length))
    if middle is None:
        # Grows with the methods in our own source only, and transactions of up to 32 bytes.
        said = b"2:roi1e" if read_only else b""
        middle = b"1:q%d:%b%b1:t%d:" % (len(method), method, said, length)
        _query_middles[method, read_only, length] = middle
    return b"".join((b"d1:a", encode(arguments), middle, transaction, b"1:y1:qe"))


def encode_answer(transaction: bytes, values: Arguments) -> bytes:
    return b"".join(
        (b"d1:r", encode(values), b"1:t%d:" % len(transaction), transaction, b"1:y1:re")
    )


def encode_error(transaction: bytes, code: int, message: str) -> bytes:
    text = message.encode("utf-8", "replace")[:MAX_ERROR_BYTES]
    return b"d1:eli%de%d:%be1:t%d:%b1:y1:ee" % (
        code,
        len(text),
        text,
        len(transaction),
        transaction,
    )


def answer_overhead_bytes(transaction: bytes) -> int:
    """Bytes of an answer that are not its values."""
    return 18 + len(transaction)


def decode_message(data: bytes) -> tuple[bytes, bytes, dict[bytes, Value]]:
    """(kind, transaction, whole message); kind is `q`, `r` or `e`, its own keys checked.

    Keys may be unsorted (other nodes' are), never double.  Raises `WireError`.
    """
    known = _shapes.read(data)
    if known is not None:
        return known
    usual = _decode_usual(data)
    if usual is None:
        return _decode_any(data)
    _shapes.missed(data, usual)
    return usual


_shapes = Shapes()
"""Of the whole process: it changes how fast messages are read and nothing else."""

_LENGTHS = tuple(b"%d:" % length for length in range(64))


def _decode_usual(data: bytes) -> tuple[bytes, bytes, dict[bytes, Value]] | None:
    """Messages in the very shape that `encode_query` and `encode_answer` give them: only what
    is inside `a` or `r` has to be parsed.  None for every other message."""
    if len(data) > MAX_RECEIVED_BYTES:
        return None
    if data[-16:-11] != b"1:t4:":
        return None
    transaction = data[-11:-7]
    if data.endswith(b"1:y1:re"):
        if not data.startswith(b"d1:r"):
            return None
        found = decode_dictionary(data, 4, limits=_INSIDE)
        if found is None or found[1] != len(data) - 16:
            return None
        return b"r", transaction, {b"r": found[0], b"t": transaction, b"y": b"r"}
    if not data.endswith(b"1:y1:qe") or not data.startswith(b"d1:a"):
        return None
    found = decode_dictionary(data, 4, limits=_INSIDE)
    if found is None:
        return None
    middle = data[found[1] : -16]
    colon = middle.find(b":", 3) + 1
    method = middle[colon:]
    if middle[:3] != b"1:q" or len(method) >= 64 or middle[3:colon] != _LENGTHS[len(method)]:
        return None
    return b"q", transaction, {b"a": found[0], b"q": method, b"t": transaction, b"y": b"q"}


def _decode_any(data: bytes) -> tuple[bytes, bytes, dict[bytes, Value]]:
    message = decode(data, limits=DATAGRAM, canonical=False)
    if type(message) is not dict:
        raise WireError("a KRPC message is a dictionary")
    transaction = message.get(b"t")
    if type(transaction) is not bytes or len(transaction) > MAX_TRANSACTION_BYTES:
        raise WireError("a KRPC message without a transaction of up to 32 bytes")
    kind = message.get(b"y")
    if kind == b"r":
        if type(message.get(b"r")) is not dict:
            raise WireError("a KRPC answer without values")
    elif kind == b"q":
        if type(message.get(b"q")) is not bytes or type(message.get(b"a")) is not dict:
            raise WireError("a KRPC query without a method and arguments")
    elif kind == b"e":
        read_error(message)
    else:
        raise WireError("a KRPC message is a query, an answer or an error")
    return kind, transaction, message


def read_error(message: dict[bytes, Value]) -> tuple[int, str]:
    """(code, text) of an error message, or `WireError`."""
    match message.get(b"e"):
        case [int(code), bytes(text), *_]:
            return code, text[:MAX_ERROR_BYTES].decode("utf-8", "replace")
    raise WireError("a KRPC error without a code and a message")
