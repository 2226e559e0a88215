"""Bencode (BEP 3): integers, byte strings, lists, dictionaries; strict, canonical, bounded.

    i-17e              an integer: no leading zeros, no `-0`, at most 20 digits
    4:spam             a byte string
    l4:spami1ee        a list
    d3:bari1e3:foo0:e  a dictionary: byte-string keys, each once, sorted as raw bytes

`decode` accepts exactly what `encode` makes: `encode(decode(data)) == data`.  With
`canonical=False` the keys of a dictionary may come in any order (torrents, tracker replies and
extension handshakes of other programs have been seen unsorted); a key that comes twice is
refused always, because two readers would take two different values.

Nothing here recurses: depth costs list entries, not stack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeAlias

from spinney.errors import WireError

Value: TypeAlias = Any
"""int, bytes, list[Value] or dict[bytes, Value] (recursive types cost casts at each use)."""

MAX_DIGITS = 20
"""Of an integer: holds every 64-bit number; `int()` of longer ones is quadratic."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one value may cost.

    `tokens` counts strings, integers, lists and dictionaries, keys included.  They are counted
    when a container opens and when it ends; meanwhile no container grows beyond the rest.
    """

    depth: int = 100
    """Open containers at once.  No format needs ten; libtorrent's bound is 100 too."""
    tokens: int = 100_000
    """Memory: an empty list costs 2 bytes of input and 56 of memory."""
    length_bytes: int = 10_000_000


WIRE = Limits()
"""For messages: a full extension message (1 MiB) holds fewer tokens than this in any use."""
FILE = Limits(tokens=1_100_000)
"""For torrents of 10 MB, as libtorrent.  A file counts 10 in version 2 (a container counts as a
value and as itself), 2 more for a piece layer, and less in version 1: 100,000 files of either
version fit, and of a hybrid with padding what 10 MB hold.  The worst input costs a second."""

_PREFIXES = tuple(b"%d:" % length for length in range(512))
"""`bytes % int` costs more than an index, and nearly all strings are short."""


def encode(value: Value) -> bytes:
    """The one canonical form of ints, bytes, lists or tuples, and dicts with bytes keys.

    Another type in `value` is our own mistake: `TypeError`.
    """
    if type(value) is dict:
        try:
            shape = (*value, *map(len, value.values()))
        except TypeError:
            pass  # a number inside, or our own mistake
        else:
            form = _forms.get(shape)
            quick = _encode_flat(value, shape) if form is None else _fill(form, value)
            if quick is not None:
                return quick
    parts: list[bytes] = []
    append = parts.append
    stack: list[Any] = []
    entries: Any = iter((value,))
    table: dict[bytes, Value] | None = None
    while True:
        for entry in entries:
            if table is None:
                item = entry
            else:
                length = len(entry)
                append(_PREFIXES[length] if length < 512 else b"%d:" % length)
                append(entry)
                item = table[entry]
            kind = type(item)
            if kind is bytes:
                length = len(item)
                append(_PREFIXES[length] if length < 512 else b"%d:" % length)
                append(item)
            elif kind is int:
                append(b"i%de" % item)
            elif kind is dict:
                append(b"d")
                stack.append((entries, table))
                table = item
                entries = iter(sorted(item))
                break
            elif kind is list or kind is tuple:
                append(b"l")
                stack.append((entries, table))
                table = None
                entries = iter(item)
                break
            elif kind is bytearray or kind is memoryview:
                append(b"%d:" % len(item))
                append(bytes(item))
            else:
                raise TypeError(f"bencode has no {kind.__name__}")
        else:
            if not stack:
                return b"".join(parts)
            append(b"e")
            entries, table = stack.pop()
            if not stack:
                return b"".join(parts)


_forms: dict[tuple[Any, ...], tuple[bytes, Callable[[dict[bytes, Value]], Any]]] = {}
"""Of flat dictionaries that came before, by their keys and the lengths of their values: the
encoding with gaps for the values, and what takes these out of the table, in order."""

MAX_FORMS = 256
"""Forms kept, each of about 1 KB: our messages have some ten."""
MISSES_A_FORM = 8
"""One of so many unknown dictionaries is kept: values whose lengths never come back cost little."""

_misses = 0


def _fill(
    form: tuple[bytes, Callable[[dict[bytes, Value]], Any]], table: dict[bytes, Value]
) -> bytes | None:
    """The dictionary in its known form; None if a value is not bytes."""
    for item in table.values():
        if item.__class__ is not bytes:
            return None
    filled: bytes = form[0] % form[1](table)
    return filled


def _encode_flat(table: dict[bytes, Value], shape: tuple[Any, ...]) -> bytes | None:
    """A dictionary of short strings, which most arguments of calls are; None for any other."""
    global _misses
    parts = [b"d"]
    prefixes = _PREFIXES
    try:
        keys = tuple(sorted(table))
        for key in keys:
            item = table[key]
            if type(item) is not bytes:
                return None
            parts += (prefixes[len(key)], key, prefixes[len(item)], item)
    except (IndexError, TypeError):
        return None
    parts.append(b"e")
    _misses += 1
    if _misses % MISSES_A_FORM == 1:
        if len(_forms) >= MAX_FORMS:
            _forms.clear()
        gaps = (each.replace(b"%", b"%%") if at % 4 else b"%b" for at, each in enumerate(parts))
        # Of one key `itemgetter` takes the bare value, which `%` wants as well; of none, itself.
        _forms[shape] = (b"d" + b"".join(gaps)[2:], itemgetter(*keys) if keys else tuple)
    return b"".join(parts)


def decode(
    data: bytes | bytearray | memoryview, *, limits: Limits = WIRE, canonical: bool = True
) -> Value:
    """The value that `data` is, all of it.  Raises `WireError` for anything else."""
    # The body of `decode_prefix` again: a call less for each datagram.
    if type(data) is not bytes:
        data = bytes(data)
    if len(data) > limits.length_bytes:
        raise WireError(f"a bencoded value of {len(data)} bytes is over {limits.length_bytes}")
    try:
        value, end, _ = _parse(data, 0, limits.depth, limits.tokens, canonical)
    except IndexError:
        raise WireError(f"a bencoded value is cut short at byte {len(data)}") from None
    if end != len(data):
        raise WireError(f"{len(data) - end} bytes after the end of a bencoded value")
    return value


def decode_prefix(
    data: bytes | bytearray | memoryview, *, limits: Limits = WIRE, canonical: bool = True
) -> tuple[Value, int]:
    """The value that `data` begins with, and the offset of the first byte after it.

    For messages that carry raw bytes behind a dictionary (BEP 9).
    """
    if type(data) is not bytes:
        data = bytes(data)
    if len(data) > limits.length_bytes:
        raise WireError(f"a bencoded value of {len(data)} bytes is over {limits.length_bytes}")
    try:
        value, end, _ = _parse(data, 0, limits.depth, limits.tokens, canonical)
    except IndexError:
        raise WireError(f"a bencoded value is cut short at byte {len(data)}") from None
    return value, end


def decode_dictionary(
    data: bytes, at: int, *, limits: Limits = WIRE
) -> tuple[dict[bytes, Value], int] | None:
    """The dictionary at `at` and where it ends; keys in any order.  None if there is none, so
    that who looks for a usual shape can fall back to `decode` and its errors."""
    try:
        if data[at] != 0x64:
            return None
        quick = _decode_flat(data, at + 1)
        if quick is not None:
            return quick
        value, end, _ = _parse(data, at, limits.depth, limits.tokens, False)
    except (IndexError, WireError):
        return None
    return value, end


FLAT_KEYS = 8


def _decode_flat(data: bytes, at: int) -> tuple[dict[bytes, Value], int] | None:
    """A dictionary of at most 8 strings, each below 1,000 bytes, its keys sorted, from behind
    its `d`; None for whatever else there is.  IndexError: cut short."""
    table: dict[bytes, Value] = {}
    last = b""
    for _ in range(FLAT_KEYS):
        code = data[at]
        if code == 0x65:
            return table, at + 1
        if data[at + 1] != 0x3A or not 0x31 <= code <= 0x39:
            after = data[at + 1]
            if data[at + 2] != 0x3A or not 0x31 <= code <= 0x39 or not 0x30 <= after <= 0x39:
                return None
            start = at + 3
            at = start + code * 10 + after - 0x210
        else:
            start = at + 2
            at = start + code - 0x30
        key = data[start:at]
        if key <= last:
            return None
        last = key
        code = data[at]
        after = data[at + 1]
        if not 0x31 <= code <= 0x39 or not (0x30 <= after <= 0x39):
            return None  # rare: empty, below 10 bytes, or no string
        third = data[at + 2]
        if third == 0x3A:
            start = at + 3
            at = start + code * 10 + after - 0x210
        elif 0x30 <= third <= 0x39 and data[at + 3] == 0x3A:
            start = at + 4
            at = start + code * 100 + after * 10 + third - 0x14D0
        else:
            return None
        table[key] = data[start:at]
    return (table, at + 1) if data[at] == 0x65 else None


def decode_spans(
    data: bytes, *, limits: Limits = FILE, canonical: bool = True
) -> tuple[dict[bytes, Value], dict[bytes, tuple[int, int]]]:
    """A dictionary, and where each of its values lies: key to (start, end).

    The infohash is the hash of the exact bytes of `info`, sorted or not (BEP 3).
    """
    data = bytes(data)
    if len(data) > limits.length_bytes:
        raise WireError(f"a bencoded value of {len(data)} bytes is over {limits.length_bytes}")
    if data[:1] != b"d":
        raise WireError("not a bencoded dictionary")
    table: dict[bytes, Value] = {}
    spans: dict[bytes, tuple[int, int]] = {}
    at, last, tokens = 1, b"", limits.tokens
    try:
        while data[at] != 0x65:
            if not 0x30 <= data[at] <= 0x39:
                raise WireError(f"byte {at}: a dictionary's key must be a string")
            key, at, tokens = _parse(data, at, limits.depth, tokens - 2, canonical)
            if key in table:
                raise WireError(f"byte {at}: key {key[:40]!r} comes twice")
            if canonical and key < last:
                raise WireError(f"byte {at}: key {key[:40]!r} is out of order")
            last = key
            start = at
            table[key], at, tokens = _parse(data, at, limits.depth - 1, tokens, canonical)
            spans[key] = (start, at)
    except IndexError:
        raise WireError(f"a bencoded value is cut short at byte {len(data)}") from None
    if at + 1 != len(data):
        raise WireError(f"{len(data) - at - 1} bytes after the end of a bencoded value")
    return table, spans


def raw_value(data: bytes, key: bytes, *, limits: Limits = FILE, canonical: bool = True) -> bytes:
    """The exact bytes of the value under `key` of the dictionary `data`, or `WireError`."""
    spans = decode_spans(data, limits=limits, canonical=canonical)[1]
    if key not in spans:
        raise WireError(f"no {key.decode('ascii', 'replace')!r} in the dictionary")
    start, end = spans[key]
    return data[start:end]


def _long_string(data: bytes, at: int) -> tuple[int, int]:
    """(start, end) of a string whose length has three digits or more, or is wrong."""
    colon = data.find(b":", at, at + MAX_DIGITS)
    digits = data[at:colon] if colon > 0 else b""
    if not digits.isdigit() or (len(digits) > 1 and digits[0] == 0x30):
        raise WireError(f"byte {at}: not the length of a string")
    start = colon + 1
    end = start + int(digits)
    if end > len(data):
        raise IndexError
    return start, end


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """The integer whose `i` is at `at`, and where it ends."""
    end = data.find(b"e", at, at + MAX_DIGITS + 3)
    digits = data[at + 1 : end] if end > 0 else b""
    bare = digits[1:] if digits[:1] == b"-" else digits
    if not bare.isdigit() or (bare[0] == 0x30 and digits != b"0") or len(bare) > MAX_DIGITS:
        raise WireError(f"byte {at}: not an integer")
    return int(digits), end + 1


def _parse(
    data: bytes, at: int, depth: int, tokens: int, canonical: bool
) -> tuple[Value, int, int]:
    """The value at `at`, where it ends, and how many tokens are left.  IndexError: cut short.

    Written for speed: a KRPC message goes through here four times a round trip.  Strings of
    one or two digits of length are read in line, dictionaries take key and value in one turn.
    """
    size = len(data)
    stack: list[Any] = []
    table: dict[bytes, Value] | None = None
    row: list[Value] | None = None
    last = key = b""
    if tokens < 0:
        raise WireError("too many values in a bencoded value")
    while True:
        code = data[at]
        if table is not None:
            if code == 0x65:
                at += 1
                tokens -= 2 * len(table)
                if tokens < 0:
                    raise WireError("too many values in a bencoded value")
                done: Value = table
                table, row, key, last = stack.pop()
                if table is not None:
                    table[key] = done
                elif row is not None:
                    row.append(done)
                else:
                    return done, at, tokens
                continue
            # The key: a string.
            after = data[at + 1]
            if after == 0x3A and 0x30 <= code <= 0x39:
                start = at + 2
                at = start + code - 0x30
            elif data[at + 2] == 0x3A and 0x31 <= code <= 0x39 and 0x30 <= after <= 0x39:
                start = at + 3
                at = start + code * 10 + after - 0x210
            elif 0x30 <= code <= 0x39:
                start, at = _long_string(data, at)
            else:
                raise WireError(f"byte {at}: a dictionary's key must be a string")
            key = data[start:at]
            if key > last:
                last = key
            elif table and (canonical or key in table):
                raise WireError(f"byte {start}: key {key[:40]!r} comes twice or out of order")
            code = data[at]
        # The value.
        if 0x30 <= code <= 0x39:
            after = data[at + 1]
            if after == 0x3A:
                start = at + 2
                at = start + code - 0x30
            elif data[at + 2] == 0x3A and code != 0x30 and 0x30 <= after <= 0x39:
                start = at + 3
                at = start + code * 10 + after - 0x210
            else:
                start, at = _long_string(data, at)
            if at > size:
                raise IndexError
            done = data[start:at]
        elif code == 0x64 or code == 0x6C:
            tokens -= 1
            if len(stack) >= depth or tokens < 0:
                raise WireError("a bencoded value is too deep or has too many values")
            stack.append((table, row, key, last))
            if code == 0x64:
                table, row, last = {}, None, b""
            else:
                table, row = None, []
            at += 1
            continue
        elif code == 0x69:
            done, at = _integer(data, at)
        elif code == 0x65 and row is not None:
            at += 1
            tokens -= len(row)
            if tokens < 0:
                raise WireError("too many values in a bencoded value")
            done = row
            table, row, key, last = stack.pop()
        else:
            raise WireError(f"byte {at}: not a bencoded value")
        if table is not None:
            table[key] = done
            if 2 * len(table) > tokens:
                raise WireError("too many values in a bencoded value")
        elif row is not None:
            row.append(done)
            if len(row) > tokens:
                raise WireError("too many values in a bencoded value")
        else:
            return done, at, tokens
