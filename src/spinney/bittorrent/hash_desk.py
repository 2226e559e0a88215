"""`HashDesk`: answers the hash requests of all peers of a swarm (BEP 52), at a pace.

Requests wait in one line and a few are answered at a time, so that the largest tree and the
greediest peer delay the data by milliseconds.  What is invalid, too much, or not here is
rejected at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

from spinney.bittorrent.codec import encode
from spinney.bittorrent.connection import Connection
from spinney.bittorrent.hashes import LayerTree, reject
from spinney.bittorrent.messages import HashRequest

MAX_WAITING = 64
"""Requests of one connection in the line; more are rejected."""
STEP_S = 0.01
HASHES_A_STEP = 2_048
"""At most 6.5 MB of them a second: about 2 ms of hashing in 10."""
LEAST_COST = 64
"""What an answer costs at least, in hashes: so that 32 small ones go in a step."""
CHUNKS_A_STEP = 6
"""While a tree grows: 3,072 pieces, about 2 ms of hashing."""
SERVED_COPIES = 4
SERVED_MORE_BYTES = 1 << 20
"""One connection gets so many copies of all layers, and so much more; then rejects."""


class HashDesk:
    """One a swarm.  Who asks is known by the key of its connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._layers: Mapping[bytes, bytes] = {}
        self._piece_length = 0
        self._trees: dict[bytes, LayerTree] = {}
        """By root: at most the layers of the torrent, and small beside them."""
        self._line: deque[tuple[int, Connection, HashRequest]] = deque()
        """At most `MAX_WAITING` for each connection."""
        self._waiting: dict[int, int] = {}
        self._served_bytes: dict[int, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, layers: Mapping[bytes, bytes], piece_length: int) -> None:
        """The piece layers, by root: they are here."""
        self._layers, self._piece_length = layers, piece_length

    def ask(self, key: int, connection: Connection, request: HashRequest) -> None:
        tree = self._tree(request.pieces_root)
        waiting = self._waiting.get(key, 0)
        busy = waiting >= MAX_WAITING or self._enough(key)
        if tree is None or not tree.fits(request) or busy:
            connection.send(encode(reject(request)))
            return
        self._waiting[key] = waiting + 1
        self._line.append((key, connection, request))
        if self._timer is None:
            self._timer = self._loop.call_later(0.0, self._step)

    def _enough(self, key: int) -> bool:
        total = sum(len(layer) for layer in self._layers.values())
        return self._served_bytes.get(key, 0) > SERVED_COPIES * total + SERVED_MORE_BYTES

    def _tree(self, root: bytes) -> LayerTree | None:
        tree = self._trees.get(root)
        layer = self._layers.get(root)
        if tree is None and layer is not None:
            tree = self._trees[root] = LayerTree(layer, self._piece_length)
        return tree

    def _step(self) -> None:
        self._timer = None
        budget = HASHES_A_STEP
        while self._line and budget > 0:
            key, connection, request = self._line[0]
            tree = self._trees[request.pieces_root]
            if not tree.grown:
                tree.grow(CHUNKS_A_STEP)
                break
            self._line.popleft()
            budget -= max(request.length, LEAST_COST)
            self._waiting[key] -= 1
            if connection.backlogged:
                connection.send(encode(reject(request)))
                continue
            data = encode(tree.answer(request))
            self._served_bytes[key] = self._served_bytes.get(key, 0) + len(data)
            connection.send(data)
        if self._line:
            self._timer = self._loop.call_later(STEP_S, self._step)

    def left(self, key: int) -> None:
        if self._waiting.pop(key, 0):
            self._line = deque(row for row in self._line if row[0] != key)
        self._served_bytes.pop(key, None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._line.clear()
