"""What is fuzzed: each target takes any bytes and returns, or what it tests is broken.

A target swallows the one documented error of what it calls and asserts what must hold else.
To add one: write a function of bytes, and name it in `TARGETS` with some inputs to begin from.
Rooms may keep theirs in a file of their own here (`targets_ROOM.py`) and list it in `MODULES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from spinney.content.descriptor import Descriptor
from spinney.content.magnet import parse_magnet
from spinney.content.names import safe_paths
from spinney.content.rules import RULES
from spinney.errors import DescriptorError, WireError
from spinney.wire.bencode import decode, decode_prefix, decode_spans, encode
from spinney.wire.krpc_messages import decode_message, encode_error, read_error


@dataclass(frozen=True, slots=True)
class Target:
    """`seeds`: inputs to begin from.  `modules`: what is watched for new lines."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    modules: tuple[str, ...]


def by_a_rule(error: DescriptorError) -> None:
    assert error.rule in RULES, error.rule


def bencode(data: bytes) -> None:
    value: object = None
    try:
        value = decode(data)
    except WireError:
        pass
    else:
        assert encode(value) == data
        assert decode_prefix(data + b"x") == (value, len(data))
        assert decode(data, canonical=False) == value
    try:
        loose = decode(data, canonical=False)
    except WireError:
        assert value is None
        return
    assert decode(encode(loose)) == loose
    if isinstance(loose, dict):
        table, spans = decode_spans(data, canonical=False)
        assert table == loose
        for key, (start, end) in spans.items():
            assert decode(data[start:end], canonical=False) == loose[key]


def torrent(data: bytes) -> None:
    try:
        descriptor = Descriptor.parse(data, allow_missing_layers=True)
    except DescriptorError as error:
        by_a_rule(error)
        return
    assert Descriptor.parse(descriptor.encode(), allow_missing_layers=True) == descriptor
    for entry in descriptor.files:
        assert ".." not in entry.path
        assert entry.offset + entry.length <= descriptor.space_bytes or not entry.length
    for piece in range(min(descriptor.piece_count, 5)):
        assert 0 < descriptor.piece_bytes(piece) <= descriptor.piece_length
        if descriptor.can_check(piece) and descriptor.piece_bytes(piece) < 1 << 20:
            descriptor.check_piece(piece, bytes(descriptor.piece_bytes(piece)))


def magnet(data: bytes) -> None:
    try:
        link = parse_magnet(data.decode("utf-8", "replace"))
    except DescriptorError as error:
        by_a_rule(error)
        return
    assert parse_magnet(str(link)) == link


def names(data: bytes) -> None:
    paths = [path.split(b"/") for path in data.split(b"\n") if path]
    try:
        rows = safe_paths(paths)
    except DescriptorError as error:
        by_a_rule(error)
        return
    assert len(set(rows)) == len(paths)
    for row in rows:
        for part in row:
            assert part not in ("", ".", "..")
            assert not set(part) & {"/", "\\", "\0"}


def krpc(data: bytes) -> None:
    try:
        kind, transaction, message = decode_message(data)
    except WireError:
        return
    if kind == b"e":
        code, text = read_error(message)
        assert decode_message(encode_error(transaction, code, text))[0] == b"e"


_INFO = b"d6:lengthi5e4:name1:x12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae"
_FILES = b"d5:filesld6:lengthi5e4:pathl1:aeee4:name1:x12:piece lengthi16384e6:pieces20:" + b"a" * 20
_V2 = (
    b"d9:file treed1:ad0:d6:lengthi5e11:pieces root32:" + b"r" * 32 + b"eee"
    b"12:meta versioni2e4:name1:x12:piece lengthi16384ee"
)

TARGETS: dict[str, Target] = {
    "bencode": Target(
        bencode,
        (
            b"d1:ad2:idi-5ee1:ql4:spam0:ee",
            b"l" * 5 + b"e" * 5,
            b"d1:b0:1:a0:e",
            b"100:" + b"x" * 100,
        ),
        ("spinney.wire.bencode",),
    ),
    "torrent": Target(
        torrent,
        (
            b"d8:announce9:http://a/4:info" + _INFO + b"e",
            b"d13:announce-listll9:http://a/ee4:info" + _FILES + b"e5:nodesll1:hi1eeee",
            b"d4:info" + _V2 + b"8:url-list9:http://w/e",
        ),
        ("spinney.content", "spinney.trust.merkle"),
    ),
    "magnet": Target(
        magnet,
        (
            b"magnet:?xt=urn:btih:"
            + b"a1" * 20
            + b"&dn=x&tr=http%3A%2F%2Fa%2F&x.pe=[::1]:5&so=1,3-4",
            b"magnet:?xt=urn:btmh:1220" + b"0f" * 32 + b"&ws=http://w/&xl=5",
            b"magnet:?xt=urn:btih:" + b"A2" * 16,
        ),
        ("spinney.content.magnet", "spinney.net.address"),
    ),
    "names": Target(
        names,
        (b"a/b\na/c", b"A\na\nA/b", b"con.txt\n..\n", b"x" * 260 + b".tar", b"a?\na_\na."),
        ("spinney.content.names",),
    ),
    "krpc": Target(
        krpc,
        (
            b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe",
            b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re",
            b"d1:eli201e5:Errore1:t2:aa1:y1:ee",
        ),
        ("spinney.wire.krpc_messages", "spinney.wire.bencode"),
    ),
}

MODULES = (
    "tests.fuzz.targets_http",
    "tests.fuzz.targets_bittorrent",
    "tests.fuzz.targets_hashes",
    "tests.fuzz.targets_registry",
    "tests.fuzz.targets_forest",
    "tests.fuzz.targets_station",
    "tests.fuzz.canary",
)
"""Files with further targets, each with a `TARGETS` of its own."""


def every_target() -> dict[str, Target]:
    targets = dict(TARGETS)
    for module in MODULES:
        more = importlib.import_module(module).TARGETS
        assert not targets.keys() & more.keys(), f"{module} takes a name that is taken"
        targets |= more
    return targets
