"""The layout of blocks and symbols, version 2: golden vectors, then what holds for any torrent."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinney.content.descriptor import Descriptor
from spinney.content.layout import Layout
from spinney.mcftp.layout import SENDERS, SYMBOL_BYTES, BlockLayout
from spinney.wire.bencode import Value, encode

KIB, MIB = 1 << 10, 1 << 20


def one_file(length: int, piece_length: int) -> Descriptor:
    info: dict[bytes, Value] = {
        b"name": b"file",
        b"piece length": piece_length,
        b"length": length,
        b"pieces": bytes(20 * -(-length // piece_length)),
    }
    return Descriptor.from_info(encode(info))


def padded(lengths: list[int], piece_length: int) -> Descriptor:
    """Version 1 with padding files, as a hybrid's version 1 half has them."""
    rows: list[Value] = []
    for number, length in enumerate(lengths):
        rows.append({b"length": length, b"path": [b"%d" % number]})
        if gap := -length % piece_length:
            rows.append({b"attr": b"p", b"length": gap, b"path": [b".pad", b"%d" % gap]})
    total = sum(-(-length // piece_length) for length in lengths)
    info: dict[bytes, Value] = {
        b"name": b"folder",
        b"piece length": piece_length,
        b"files": rows,
        b"pieces": bytes(20 * total),
    }
    return Descriptor.from_info(encode(info))


def tree(lengths: list[int], piece_length: int, *, hybrid: bool = False) -> Descriptor:
    """Version 2, or a hybrid of these files."""
    table: dict[bytes, Value] = {}
    for number, length in enumerate(lengths):
        entry: dict[bytes, Value] = {b"length": length}
        if length:
            entry[b"pieces root"] = bytes([number + 1]) * 32
        table[b"%03d" % number] = {b"": entry}
    info: dict[bytes, Value] = {
        b"name": b"folder",
        b"piece length": piece_length,
        b"meta version": 2,
        b"file tree": table,
    }
    if hybrid:
        rows: list[Value] = []
        for number, length in enumerate(lengths):
            rows.append({b"length": length, b"path": [b"%03d" % number]})
            if gap := -length % piece_length:
                rows.append({b"attr": b"p", b"length": gap, b"path": [b".pad", b"%d" % gap]})
        info[b"files"] = rows
        info[b"pieces"] = bytes(20 * sum(-(-length // piece_length) for length in lengths))
    return Descriptor.from_info(encode(info))


GOLDEN = {
    "pieces of 16 KiB": (
        one_file(5 * MIB // 2 + 1, 16 * KIB),
        3,
        (2 * MIB, MIB // 2 + 1),
        373,
        513,
    ),
    "pieces of 1 MiB": (one_file(3 * MIB, MIB), 3, (2 * MIB, MIB), 745, 1024),
    "pieces of 16 MiB": (one_file(33 * MIB, 16 * MIB), 33, (32 * MIB, MIB), 745, 1024),
    "pieces of 16 MiB, short": (one_file(33 * MIB + 9, 16 * MIB), 34, (33 * MIB, 9), 1, 9),
    "pieces of 768 KiB": (one_file(4 * MIB, 768 * KIB), 3, (3 * MIB, MIB), 745, 1024),
    "pieces of 1.5 MiB": (one_file(4 * MIB, 1536 * KIB), 3, (3 * MIB, MIB), 745, 1024),
    "pieces of 3,000,001 B": (one_file(6_000_002, 3_000_001), 4, (4_507_329, 1_492_673), 1061, 193),
    "one byte": (one_file(1, 16 * KIB), 1, (0, 1), 1, 1),
    "a symbol": (one_file(1408, 16 * KIB), 1, (0, 1408), 1, 1408),
    "a symbol and a byte": (one_file(1409, 16 * KIB), 1, (0, 1409), 2, 1),
    "exactly a block": (one_file(MIB, 16 * KIB), 1, (0, MIB), 745, 1024),
    "hybrid with padding": (
        tree([300_000, 5, 0, 1_000_000], 256 * KIB, hybrid=True),
        2,
        (MIB, 3 * 256 * KIB),
        559,
        768,
    ),
    "version 2 alone": (tree([300_000, 5, 1_000_000], 256 * KIB), 2, (MIB, 737_856), 525, 64),
}
"""Torrent, blocks, extent of the last block, its source symbols, bytes of its last symbol."""


@pytest.mark.parametrize("name", GOLDEN)
def test_the_layout_of_version_2_never_changes(name: str) -> None:
    descriptor, blocks, extent, symbols, last = GOLDEN[name]
    layout = BlockLayout(descriptor)
    assert layout.block_count == blocks
    assert layout.extent(blocks - 1) == extent
    assert layout.source_symbols(blocks - 1) == symbols
    assert layout.symbol_length(blocks - 1, symbols - 1) == last


def test_padding_is_known_and_never_sent() -> None:
    layout = BlockLayout(tree([300_000, 5, 0, 1_000_000], 256 * KIB, hybrid=True))
    # The first file ends at 300,000, the second begins at 524,288 and is 5 bytes long.
    first = [*range(214, 372), *range(373, 558)]
    assert layout.known(0) == tuple(first)
    # 262,144 * 3 + 1,000,000 = 1,786,432, of which 737,856 lie in the second block.
    assert layout.known(1) == tuple(range(525, 559))
    assert BlockLayout(one_file(3 * MIB, MIB)).known(1) == ()


def test_a_torrent_without_bytes_has_no_blocks() -> None:
    layout = BlockLayout(tree([0, 0], 16 * KIB))
    assert layout.block_count == 0
    with pytest.raises(IndexError):
        layout.extent(0)


def test_senders_draw_disjoint_repair_numbers() -> None:
    layout = BlockLayout(one_file(MIB, MIB))
    drawn = [
        layout.repair_number(0, sender, turn) for turn in range(3) for sender in range(SENDERS)
    ]
    assert drawn == list(range(745, 745 + 3 * SENDERS))


lengths = st.one_of(st.integers(0, 3000), st.integers(0, 5 * MIB), st.sampled_from([MIB, 16 * KIB]))
powers = st.integers(14, 23).map(lambda power: 1 << power)
torrents = st.one_of(
    st.builds(one_file, lengths.filter(bool), st.one_of(powers, st.integers(1 << 14, 5 * MIB))),
    st.builds(padded, st.lists(lengths, min_size=1, max_size=6).filter(any), powers),
    st.builds(tree, st.lists(lengths, min_size=1, max_size=6).filter(any), powers),
)


@given(torrents)
@settings(max_examples=150, deadline=None)
def test_blocks_tile_the_piece_space(descriptor: Descriptor) -> None:
    layout = BlockLayout(descriptor)
    extents = [layout.extent(block) for block in range(layout.block_count)]
    assert extents[0][0] == 0
    assert all(start + length == after for (start, length), (after, _) in pairwise(extents))
    assert sum(extents[-1]) == layout.size_bytes
    for block, (start, length) in enumerate(extents):
        assert 0 < length <= 2 * MIB
        count = layout.source_symbols(block)
        assert (count - 1) * SYMBOL_BYTES < length <= count * SYMBOL_BYTES
        assert layout.symbol_length(block, count - 1) == length - (count - 1) * SYMBOL_BYTES
        one_piece = start // descriptor.piece_length == (start + length - 1) // (
            descriptor.piece_length
        )
        if descriptor.piece_length > MIB:
            assert one_piece, "a block of large pieces never spans two"
        elif block < layout.block_count - 1:
            assert length >= MIB
            assert length % descriptor.piece_length == 0


@given(torrents)
@settings(max_examples=150, deadline=None)
def test_blocks_of_a_piece_and_pieces_of_a_block_agree(descriptor: Descriptor) -> None:
    layout = BlockLayout(descriptor)
    for block in range(layout.block_count):
        start, length = layout.extent(block)
        for piece in layout.pieces_of(block):
            assert block in layout.blocks_of(piece)
            begin = piece * descriptor.piece_length
            assert start < begin + descriptor.piece_length
            assert begin < start + length
    for piece in range(descriptor.piece_count):
        assert layout.blocks_of(piece)
        assert all(piece in layout.pieces_of(block) for block in layout.blocks_of(piece))


@given(torrents)
@settings(max_examples=80, deadline=None)
def test_known_symbols_are_exactly_those_that_no_file_touches(descriptor: Descriptor) -> None:
    layout, files = BlockLayout(descriptor), Layout(descriptor)
    for block in range(min(3, layout.block_count)):
        start, _ = layout.extent(block)
        empty = [
            symbol
            for symbol in range(layout.source_symbols(block))
            if not files.content_bytes(
                start + symbol * SYMBOL_BYTES, layout.symbol_length(block, symbol)
            )
        ]
        assert list(layout.known(block)) == empty


@given(torrents)
@settings(max_examples=30, deadline=None)
def test_only_info_decides(descriptor: Descriptor) -> None:
    """A bare magnet link lays the same blocks."""
    other = descriptor.edited(trackers=[["http://example.com/"]], comment="x")
    one, two = BlockLayout(descriptor), BlockLayout(other)
    assert one.block_count == two.block_count
    assert [one.extent(b) for b in range(one.block_count)] == [
        two.extent(b) for b in range(two.block_count)
    ]
