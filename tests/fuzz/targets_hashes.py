"""What peers may ask and tell of hashes (BEP 52), and a damaged file of kept ones."""

from __future__ import annotations

import contextlib
import random
import struct
from dataclasses import replace

from tests.fuzz.targets import Target

from spinney.bittorrent import hashes
from spinney.bittorrent.codec import HASH_REQUEST, decode
from spinney.bittorrent.layer_fetch import IN_FLIGHT, LayerFetch
from spinney.bittorrent.messages import HashRequest
from spinney.content import layers
from spinney.content.descriptor import Descriptor
from spinney.errors import WireError
from spinney.trust import merkle
from spinney.wire import bencode


def hash_request(data: bytes) -> None:
    """The body of a request, at two trees: an answer that proves itself, or not fit."""
    if len(data) != 48:
        return
    asked = decode(HASH_REQUEST, memoryview(data))
    assert isinstance(asked, HashRequest)
    for layer, root, tree in _TREES:
        if tree.fits(asked):
            reply = tree.answer(asked)
            count = asked.length + hashes.uncle_count(asked.length, asked.proof_layers)
            assert len(reply.hashes) == 32 * count
            levels = merkle.levels_for(len(layer) // 32) - (asked.base_layer - 2)
            if asked.proof_layers == levels - 1:
                assert hashes.proven(replace(asked, pieces_root=root), reply)


def layer_fetch(data: bytes) -> None:
    """Three peers answer, lie, reject, come and leave as the bytes tell; the fetch stays whole."""
    fetch = LayerFetch({_ROOT: len(_LAYER) // 32}, _PIECE)
    now = 0.0
    sent: list[tuple[int, HashRequest]] = []
    for at in range(0, len(data) - 1, 2):
        what, detail = data[at] % 6, data[at + 1]
        key, row = detail % 3, sent[detail % len(sent)] if sent else None
        if what == 0:
            fetch.joined(key)
        elif what == 1:
            fetch.left(key)
        elif what == 2:
            now += detail
        elif row is not None:
            true = _TREES[1][2].answer(row[1])
            if what == 3:
                fetch.rejected(row[0], hashes.reject(row[1]), now)
            elif what == 4:
                fetch.received(row[0], true)
            else:
                false = bytes(len(true.hashes) - detail // 128)
                with contextlib.suppress(WireError):
                    fetch.received(row[0], replace(true, hashes=false))
        sent = (sent + fetch.requests(now))[-12:]
        for peer in fetch._peers.values():
            assert len(peer.asked) <= IN_FLIGHT
        open_rows = sum(len(peer.asked) for peer in fetch._peers.values())
        assert open_rows + len(fetch._waiting) + len(fetch._parts) == len(fetch._requests)
    if fetch.done:
        assert fetch.layers() == {_ROOT: _LAYER}


def kept_layers(data: bytes) -> None:
    """A damaged file beside the output: what is taken leads to its root."""
    descriptor = Descriptor.from_info(_V2_INFO)
    layers.take_layers(descriptor, data)
    assert descriptor.piece_layers in ({}, {_V2_ROOT: _V2_LAYER})


_ROOM = "spinney.bittorrent"
_PIECE = 65_536
_LAYER = random.Random(1).randbytes(32 * 1_500)
_ROOT = merkle.layer_root(merkle.split_layer(_LAYER), _PIECE)
_SMALL_LAYER = _LAYER[: 32 * 5]


def _root(layer: bytes) -> bytes:
    return merkle.layer_root(merkle.split_layer(layer), _PIECE)


def _grown(layer: bytes) -> hashes.LayerTree:
    tree = hashes.LayerTree(layer, _PIECE)
    while not tree.grown:
        tree.grow(1)
    return tree


_TREES = [(layer, _root(layer), _grown(layer)) for layer in (_SMALL_LAYER, _LAYER)]
_V2_LAYER = _LAYER[:96]
_V2_ROOT = merkle.layer_root(merkle.split_layer(_V2_LAYER), 16_384)
_V2_INFO = bencode.encode(
    {
        b"file tree": {b"a": {b"": {b"length": 40_000, b"pieces root": _V2_ROOT}}},
        b"meta version": 2,
        b"name": b"a",
        b"piece length": 16_384,
    }
)
_WHOLE = Descriptor.from_info(_V2_INFO, piece_layers={_V2_ROOT: _V2_LAYER})

TARGETS = {
    "hash-request": Target(
        hash_request,
        tuple(
            struct.pack(">32s4I", _ROOT, *row)
            for row in ((2, 0, 512, 10), (2, 4, 2, 0), (2, 0, 8, 2), (11, 2, 2, 1), (5, 8, 8, 7))
        ),
        (f"{_ROOM}.hashes", "spinney.trust.merkle"),
    ),
    "layer-fetch": Target(
        layer_fetch,
        (b"\0\0\4\0\4\1\4\2", b"\0\0\0\1\5\0\2\x10\3\1\4\0", b"\0\0\2\x20\1\0\0\1\4\3"),
        (f"{_ROOM}.layer_fetch", f"{_ROOM}.hashes"),
    ),
    "kept-layers": Target(
        kept_layers, (layers.encode_layers(_WHOLE),), ("spinney.content.layers",)
    ),
}
