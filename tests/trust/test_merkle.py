"""Merkle trees of BEP 52: by hand for small ones, then proofs, then any row at all."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as some

from spinney.errors import WireError
from spinney.trust import merkle
from spinney.trust.merkle import LEAF_BYTES, ZERO_HASHES


def hashed(data: bytes) -> bytes:
    return sha256(data).digest()


ZERO = bytes(32)


def test_golden_roots_by_hand() -> None:
    one, two, three = b"a" * LEAF_BYTES, b"b" * LEAF_BYTES, b"c" * 5
    a, b, c = hashed(one), hashed(two), hashed(three)
    assert merkle.leaves(one + two + three) == [a, b, c]
    assert merkle.file_root(three) == c
    assert merkle.file_root(one + two) == hashed(a + b)
    assert merkle.file_root(one + two + three) == hashed(hashed(a + b) + hashed(c + ZERO))
    # A piece of four leaves of a longer file is padded to its full width.
    assert merkle.piece_hash(three, 4 * LEAF_BYTES) == hashed(
        hashed(c + ZERO) + hashed(ZERO + ZERO)
    )
    assert merkle.piece_hash(three, LEAF_BYTES) == c
    # The same file by pieces of two leaves: the layer leads to the same root.
    layer = [hashed(a + b), hashed(c + ZERO)]
    assert merkle.layer_root(layer, 2 * LEAF_BYTES) == merkle.file_root(one + two + three)


def test_golden_constants() -> None:
    assert ZERO_HASHES[0] == ZERO
    assert ZERO_HASHES[1].hex() == (
        "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"
    )
    assert ZERO_HASHES[2] == hashed(ZERO_HASHES[1] * 2)
    assert [merkle.levels_for(count) for count in (0, 1, 2, 3, 4, 5, 1024)] == [
        0, 0, 1, 2, 2, 3, 10,
    ]  # fmt: skip
    assert [merkle.piece_level(LEAF_BYTES << level) for level in range(12)] == list(range(12))


def plain_root(row: list[bytes], level: int) -> bytes:
    """The definition, written out: pad to a power of two, then hash in pairs."""
    zero = ZERO
    for _ in range(level):
        zero = hashed(zero * 2)
    width = 1
    while width < len(row):
        width *= 2
    row = row + [zero] * (width - len(row))
    while len(row) > 1:
        row = [hashed(row[at] + row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


ROWS = some.lists(some.binary(min_size=32, max_size=32), min_size=1, max_size=40)


@given(ROWS, some.integers(0, 5))
def test_roots_are_as_defined(row: list[bytes], level: int) -> None:
    assert merkle.root_of(row, level=level) == plain_root(row, level)


@given(ROWS, some.integers(0, 5), some.data())
def test_each_node_is_proven_by_its_uncles_and_no_other_is(
    row: list[bytes], level: int, data: some.DataObject
) -> None:
    root = merkle.root_of(row, level=level)
    index = data.draw(some.integers(0, len(row) - 1))
    uncles = merkle.proof(row, index, level=level)
    assert len(uncles) == merkle.levels_for(len(row))
    assert merkle.root_by_proof(row[index], index, uncles) == root
    assert merkle.root_by_proof(hashed(row[index]), index, uncles) != root
    other = data.draw(some.integers(0, 2 ** len(uncles) - 1))
    if other != index and len(set(row)) == len(row) > 1:
        assert merkle.root_by_proof(row[index], other, uncles) != root


@given(
    some.binary(max_size=40),
    some.integers(-1, 70),
    some.lists(some.binary(min_size=31, max_size=33), max_size=6),
)
def test_any_proof_leads_somewhere_or_raises_the_one_error(
    node: bytes, index: int, uncles: list[bytes]
) -> None:
    try:
        root = merkle.root_by_proof(node, index, uncles)
    except WireError:
        return
    assert root == node if not uncles else len(root) == 32
    assert 0 <= index < 2 ** len(uncles)


def test_endless_proofs_and_uneven_layers_are_refused() -> None:
    with pytest.raises(WireError):
        merkle.root_by_proof(ZERO, 0, [ZERO] * merkle.MAX_LEVELS)
    with pytest.raises(WireError):
        merkle.split_layer(b"x" * 33)
    assert merkle.split_layer(b"x" * 64) == [b"x" * 32] * 2
