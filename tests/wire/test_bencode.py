"""Bencode in the order of BEP 3: integers, strings, lists, dictionaries; then the bounds."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as some

from spinney.errors import WireError
from spinney.wire import bencode
from spinney.wire.bencode import (
    Limits,
    decode,
    decode_dictionary,
    decode_prefix,
    decode_spans,
    encode,
    raw_value,
)

VALUES = some.recursive(
    some.integers(-(2**63), 2**64 - 1) | some.binary(max_size=120),
    lambda inner: (
        some.lists(inner, max_size=6) | some.dictionaries(some.binary(max_size=12), inner)
    ),
    max_leaves=30,
)
NEARLY = some.text("0123456789:deil-ab", max_size=40).map(str.encode)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (3, b"i3e"),
        (-3, b"i-3e"),
        (0, b"i0e"),
        (2**64 - 1, b"i18446744073709551615e"),
        (b"spam", b"4:spam"),
        (b"", b"0:"),
        (b"x" * 99, b"99:" + b"x" * 99),
        (b"x" * 100, b"100:" + b"x" * 100),
        (b"x" * 5000, b"5000:" + b"x" * 5000),
        ([b"spam", b"eggs"], b"l4:spam4:eggse"),
        ([], b"le"),
        ({}, b"de"),
        ({b"cow": b"moo", b"spam": b"eggs"}, b"d3:cow3:moo4:spam4:eggse"),
        ({b"spam": [b"a", b"b"]}, b"d4:spaml1:a1:bee"),
        ({b"": b"", b"a": {b"b": []}}, b"d0:0:1:ad1:bleee"),
        ([[[]], {b"z": [{}]}, 7], b"llleed1:zldeeei7ee"),
    ],
)
def test_values_and_their_bytes(value: object, data: bytes) -> None:
    assert encode(value) == data
    assert decode(data) == value
    assert decode(memoryview(data)) == value
    assert decode_prefix(data + b"rest") == (value, len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"i",
        b"ie",
        b"i-e",
        b"i-0e",
        b"i00e",
        b"i03e",
        b"i-03e",
        b"i 3e",
        b"i+3e",
        b"i3",
        b"i3.0e",
        b"i1_0e",
        b"i\xb2e",
        b"i" + b"9" * 21 + b"e",
        b"i" + b"9" * 100_000 + b"e",
        b"1",
        b"1:",
        b"4:spa",
        b"04:spam",
        b"00:",
        b"-1:a",
        b"4 :spam",
        b"1a:b",
        b"100:short",
        b"0100:" + b"x" * 100,
        b"99999999999999999999999999:a",
        b"4:spamX",
        b"l",
        b"li1e",
        b"lei1e",
        b"e",
        b"d",
        b"d1:a",
        b"d1:ae",
        b"d1:a1:b",
        b"di1e1:ae",
        b"dle1:ae",
        b"d1:b0:1:a0:e",
        b"d1:a0:1:a0:e",
        b"d0:0:0:0:e",
        b"d1:a0:e ",
        b"x",
        b"\x00",
        b"d1:ad1:b1:ce",
    ],
)
def test_everything_else_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)


def test_unsorted_keys_are_read_when_asked_and_double_keys_never() -> None:
    assert decode(b"d1:bi1e1:ai2ee", canonical=False) == {b"b": 1, b"a": 2}
    for double in (b"d1:b0:1:a0:1:b0:e", b"d1:b0:1:a0:1:a0:e", b"d1:a0:1:a0:e", b"d0:0:0:0:e"):
        with pytest.raises(WireError):
            decode(double, canonical=False)


def test_prefix_before_raw_bytes() -> None:
    message = encode({b"msg_type": 1, b"piece": 0, b"total_size": 3})
    assert decode_prefix(message + b"e\xff\x00") == (decode(message), len(message))


def test_spans_give_the_exact_bytes() -> None:
    data = b"d8:announce3:url4:infod6:lengthi1e1:x0:e4:nodelee"
    assert raw_value(data, b"info", canonical=False) == b"d6:lengthi1e1:x0:e"
    table, spans = decode_spans(data)
    assert list(table) == [b"announce", b"info", b"node"]
    assert {key: data[start:end] for key, (start, end) in spans.items()}[b"node"] == b"le"
    unsorted = b"d4:infod1:zi1e1:ai2ee3:abci1ee"
    assert raw_value(unsorted, b"info", canonical=False) == b"d1:zi1e1:ai2ee"
    for wrong in (b"le", b"", b"d", b"de1", b"d4:info", b"d4:info1:ae!", b"di1ei1ee", unsorted):
        with pytest.raises(WireError):
            decode_spans(wrong)
    for double in (b"d1:ai1e1:ai1ee", b"d1:bi1e1:ai1e1:bi1ee"):
        with pytest.raises(WireError):
            decode_spans(double, canonical=False)
    with pytest.raises(WireError):
        raw_value(data, b"inf")


def test_depth_is_bounded_without_recursion() -> None:
    at_limit = b"l" * 100 + b"e" * 100
    assert encode(decode(at_limit)) == at_limit
    for beyond in (b"l" * 101 + b"e" * 101, b"l" * 3_000_000, b"d1:a" * 200_000):
        with pytest.raises(WireError):
            decode(beyond)
    with pytest.raises(WireError):
        decode_spans(b"d1:a" + at_limit + b"e")


def test_tokens_are_bounded() -> None:
    few = Limits(tokens=10)
    assert decode(b"l" + b"i1e" * 9 + b"e", limits=few) == [1] * 9
    for many in (
        b"l" + b"i1e" * 10 + b"e",
        b"l" + b"le" * 10 + b"e",
        b"d" + b"".join(b"1:%c0:" % (97 + at) for at in range(5)) + b"e",
        b"l" + b"d1:a0:1:b0:1:c0:e" * 3 + b"e",
    ):
        with pytest.raises(WireError):
            decode(many, limits=few)
    with pytest.raises(WireError):
        decode_spans(b"d1:a" + b"l" + b"le" * 10 + b"ee", limits=few)
    with pytest.raises(WireError):
        decode_spans(b"d1:allelee1:bllelelelelelee", limits=few)


def test_the_worst_that_fits_the_limits_costs_bounded_memory() -> None:
    limits = Limits(tokens=30_000, length_bytes=100_000)
    keys = b"".join(b"2:%s0:" % at.to_bytes(2, "big") for at in range(16_000))
    for worst in (
        b"l" + b"le" * 40_000,
        b"l" + b"0:" * 40_000,
        b"l" + b"de" * 29_998 + b"e",
        b"d" + keys,
    ):
        tracemalloc.start()
        try:
            with contextlib.suppress(WireError):
                decode(worst, limits=limits)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak_bytes < 100 * limits.tokens


def test_no_container_grows_beyond_the_limit_before_it_ends() -> None:
    """10 MB of small values: refused at the limit, not after the last of them."""
    few = Limits(tokens=1_000)
    keys = b"".join(b"2:%s0:" % at.to_bytes(2, "big") for at in range(2_000))
    for endless in (b"l" + b"i1e" * 2_000, b"l" + b"0:" * 2_000, b"d" + keys):
        with pytest.raises(WireError, match="too many"):  # and not: cut short
            decode(endless, limits=few)


def test_a_torrent_of_100_000_files_is_within_the_limits() -> None:
    leaf = b"d0:d6:lengthi50000e11:pieces root32:%bee" % bytes(32)
    tree = b"".join(b"5:%05d" % at + leaf for at in range(100_000))
    layers = b"".join(b"32:%032d0:" % at for at in range(20_000))
    table, _ = decode_spans(b"d4:infod9:file treed" + tree + b"ee12:piece layersd" + layers + b"ee")
    assert len(table[b"info"][b"file tree"]) == 100_000


def test_length_is_bounded() -> None:
    with pytest.raises(WireError):
        decode(b"11:" + b"x" * 11, limits=Limits(length_bytes=13))
    with pytest.raises(WireError):
        decode_spans(b"d1:a11:" + b"x" * 11 + b"e", limits=Limits(length_bytes=18))


def test_our_own_mistakes_are_type_errors() -> None:
    for mistake in ("text", None, True, 1.5, [b"x", {b"y": "z"}], object()):
        with pytest.raises(TypeError):
            encode(mistake)


@given(VALUES)
def test_what_is_encoded_decodes_to_itself(value: object) -> None:
    assert decode(encode(value)) == value


@given(some.binary(max_size=60) | NEARLY | VALUES.map(encode), some.binary(max_size=3))
def test_any_bytes_decode_and_encode_back_or_raise_the_one_error(data: bytes, more: bytes) -> None:
    for candidate in (data, data + more):
        try:
            value = decode(candidate)
        except WireError:
            continue
        assert encode(value) == candidate


@given(VALUES)
def test_every_shorter_part_is_refused(value: object) -> None:
    data = encode(value)
    for cut in range(len(data)):
        with pytest.raises(WireError):
            decode(data[:cut])


strings = some.binary(max_size=700)


@given(some.dictionaries(strings, strings, max_size=12))
def test_the_quick_way_for_flat_dictionaries_is_the_same(table: dict[bytes, bytes]) -> None:
    """Calls carry small dictionaries of strings: both directions have a short way for them."""
    data = encode(table)
    assert data == encode([table])[1:-1], "in a list the long way is taken"
    assert decode_dictionary(b"xx" + data + b"e", 2) == (table, len(data) + 2)


@given(
    some.dictionaries(some.binary(max_size=6), some.binary(max_size=12), max_size=5),
    some.lists(some.binary(max_size=12), min_size=5, max_size=5),
    some.booleans(),
)
def test_dictionaries_of_a_form_that_came_before_are_encoded_the_same(
    table: dict[bytes, bytes], others: list[bytes], turned: bool
) -> None:
    pad = [other[:12].ljust(12, b"%") for other in others]
    same = {key: pad[at][: len(table[key])] for at, key in enumerate(table)}
    if turned:
        same = dict(reversed(same.items()))
    for value in (table, same):
        for _ in range(bencode.MISSES_A_FORM + 1):
            assert encode(value) == encode([value])[1:-1]


def test_forms_are_bounded_and_no_door_for_other_types() -> None:
    for length in range(bencode.MAX_FORMS * bencode.MISSES_A_FORM * 2):
        encode({b"%d" % length: b""})
    assert 0 < len(bencode._forms) <= bencode.MAX_FORMS
    for _ in range(bencode.MISSES_A_FORM + 1):
        encode({b"a": b"xy", b"b": b"z"})
    assert encode({b"a": bytearray(b"xy"), b"b": b"z"}) == b"d1:a2:xy1:b1:ze"
    assert encode({b"a": [1, 2], b"b": b"z"}) == b"d1:ali1ei2ee1:b1:ze"
    with pytest.raises(TypeError):
        encode({b"a": "xy", b"b": b"z"})


@given(some.binary(max_size=40))
def test_the_quick_way_reads_nothing_that_the_long_way_refuses(rest: bytes) -> None:
    found = decode_dictionary(b"d" + rest, 0)
    try:
        assert found == decode_prefix(b"d" + rest, canonical=False)
    except WireError:
        assert found is None


@pytest.mark.parametrize(
    "data", [b"d1:a2:bb1:a2:cce", b"d2:aa1:", b"d1:a20:short", b"d1:b1:c1:a1:de", b"d01:a2:bbe"]
)
def test_the_quick_way_leaves_odd_ones_to_the_long_way(data: bytes) -> None:
    found = decode_dictionary(data, 0)
    try:
        assert found == decode_prefix(data, canonical=False)
    except WireError:
        assert found is None
