"""Shapes of KRPC messages that were seen before: read by one `struct` call and one comparison.

The messages of a room differ in the bytes of their values, seldom in keys and lengths.  A
`Shape` is the skeleton of one message that the parser has read: the offsets of its values, and
every byte between them.  Another message of the same length with the same bytes between has the
same meaning, because these bytes hold all the lengths.  So a shape answers exactly as the parser
would, or not at all (a property test holds them together); strictness is the parser's.
"""

from __future__ import annotations

from struct import Struct

from spinney.wire.bencode import Value

Message = tuple[bytes, bytes, dict[bytes, Value]]
"""(kind, transaction, whole message), as `decode_message` gives it."""

MAX_SHAPES = 256
"""Shapes kept, each of about 1 KB.  One a length of message; a node meets some ten."""
MISSES_A_SHAPE = 16
"""One of so many unknown messages is learnt: learning costs about as much as two parsings, so
that who sends us ever new shapes costs little more than without any."""


class Shapes:
    """What was learnt, by the length of the message.  Holds no values, only skeletons."""

    def __init__(self) -> None:
        self._by_length: dict[int, Shape] = {}
        self._misses = 0

    def read(self, data: bytes) -> Message | None:
        """The message, if its shape is known."""
        shape = self._by_length.get(len(data))
        if shape is None:
            return None
        fields = shape.unpack(data)
        if fields[::2] != shape.between:
            return None
        inside = dict(zip(shape.keys, fields[1:-2:2]))  # noqa: B905 (as long; this is hot)
        transaction = fields[-2]
        if shape.method is None:
            return b"r", transaction, {b"r": inside, b"t": transaction, b"y": b"r"}
        return (
            b"q",
            transaction,
            {b"a": inside, b"q": shape.method, b"t": transaction, b"y": b"q"},
        )

    def missed(self, data: bytes, message: Message) -> None:
        """The parser read this message, which has the usual form: now and then, learn it."""
        self._misses += 1
        if self._misses % MISSES_A_SHAPE == 1:
            self.learn(data, message)

    def learn(self, data: bytes, message: Message) -> None:
        """Keeps the shape of a message, if all inside its `a` or `r` are strings."""
        kind, transaction, whole = message
        inside = whole[b"r" if kind == b"r" else b"a"]
        sizes: list[int] = []
        between = len(b"d1:ad")
        for key, value in inside.items():
            if type(value) is not bytes:
                return
            between += len(b"%d:%b%d:" % (len(key), key, len(value)))
            sizes += (between, len(value))
            between = 0
        end = len(b"1:y1:qe")
        sizes += (len(data) - sum(sizes) - len(transaction) - end, len(transaction), end)
        if len(self._by_length) >= MAX_SHAPES:
            self._by_length.clear()
        self._by_length[len(data)] = Shape(data, sizes, tuple(inside), whole.get(b"q"))


class Shape:
    """One skeleton: what `struct` cuts out, which bytes must stand between, keys, method."""

    __slots__ = ("between", "keys", "method", "unpack")

    def __init__(
        self, data: bytes, sizes: list[int], keys: tuple[bytes, ...], method: bytes | None
    ) -> None:
        self.unpack = Struct("".join(f"{size}s" for size in sizes)).unpack
        self.between = self.unpack(data)[::2]
        self.keys = keys
        self.method = method
