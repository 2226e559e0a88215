"""Hash requests and their answers (BEP 52): against whole trees made by the definition."""

from __future__ import annotations

import asyncio
import random
from dataclasses import astuple, replace
from typing import Any

import pytest

from spinney.bittorrent import hash_desk
from spinney.bittorrent.codec import decode
from spinney.bittorrent.hash_desk import HashDesk
from spinney.bittorrent.hashes import (
    LayerTree,
    joined,
    layer_requests,
    proven,
    reject,
    uncle_count,
)
from spinney.bittorrent.layer_fetch import (
    HASHES_IN_FLIGHT,
    IN_FLIGHT,
    MAX_REST_S,
    TIMEOUT_S,
    LayerFetch,
)
from spinney.bittorrent.messages import Hashes, HashReject, HashRequest
from spinney.errors import WireError
from spinney.trust import merkle

PIECE = 65_536
BASE = 2


def layer_of(pieces: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(32 * pieces)


def root_of(layer: bytes) -> bytes:
    return merkle.layer_root(merkle.split_layer(layer), PIECE)


def grown(layer: bytes) -> LayerTree:
    tree = LayerTree(layer, PIECE)
    while not tree.grown:
        tree.grow(1)
    return tree


def whole_tree(layer: bytes) -> list[list[bytes]]:
    """Every row from the piece layer to the root, padding written out."""
    row = merkle.split_layer(layer)
    row += [merkle.ZERO_HASHES[BASE]] * ((1 << merkle.levels_for(len(row))) - len(row))
    rows = [row]
    while len(rows[-1]) > 1:
        rows.append(merkle.parents(rows[-1], 60))
    return rows


@pytest.mark.parametrize("pieces", [2, 3, 5, 511, 512, 513, 1_500, 5_000])
def test_a_layer_comes_by_answers_that_are_proven_each_by_itself(pieces: int) -> None:
    layer = layer_of(pieces)
    root, tree = root_of(layer), grown(layer)
    requests = layer_requests(root, pieces, PIECE)
    assert len(requests) == -(-pieces // 512)
    parts = []
    for request in requests:
        assert tree.fits(request)
        assert request.base_layer == BASE
        answer = tree.answer(request)
        assert proven(request, answer)
        parts.append(answer.hashes[: request.length * 32])
    assert joined(parts, pieces) == layer


def test_any_layer_that_is_served_is_that_of_the_whole_tree() -> None:
    rng = random.Random(3)
    layer = layer_of(3_000)
    rows, tree, root = whole_tree(layer), grown(layer), root_of(layer)
    levels = len(rows) - 1
    tried = 0
    while tried < 150:
        above = rng.randrange(levels)
        length = 2 << rng.randrange(9)
        width = len(rows[above])
        if length > width or (above < 9 and length << above > 4_096):
            continue
        tried += 1
        index = rng.randrange(width // length) * length
        proof = rng.randrange(levels - above)
        request = HashRequest(root, BASE + above, index, length, proof)
        assert tree.fits(request)
        expected = rows[above][index : index + length]
        for level in range(length.bit_length() - 1, proof + 1):
            expected.append(rows[above + level][(index >> level) ^ 1])
        assert len(expected) == length + uncle_count(length, proof)
        answer = tree.answer(request)
        assert answer.hashes == b"".join(expected)
        assert astuple(answer)[:5] == astuple(request)


@pytest.mark.parametrize(
    "change",
    [
        {"base_layer": BASE - 1},
        {"base_layer": 0},
        {"base_layer": BASE + 11},
        {"length": 0},
        {"length": 1},
        {"length": 3},
        {"length": 1_024},
        {"length": 4_294_967_295},
        {"index": 1},
        {"index": 2_048},
        {"index": 4_294_967_280},
        {"proof_layers": 11},
        {"proof_layers": 4_294_967_295},
    ],
)
def test_what_no_honest_peer_asks_does_not_fit(change: dict[str, int]) -> None:
    layer = layer_of(2_048)
    tree = grown(layer)
    good = HashRequest(root_of(layer), BASE, 512, 16, 10)
    assert tree.fits(good)
    assert not tree.fits(replace(good, **change))


def test_what_costs_too_much_does_not_fit() -> None:
    """Nodes between the piece layer and what is kept are hashed again for each answer."""
    large = LayerTree(layer_of(40_000), PIECE)
    assert large.fits(HashRequest(b"", BASE + 5, 0, 128, 0))
    assert not large.fits(HashRequest(b"", BASE + 5, 0, 256, 0))
    assert large.fits(HashRequest(b"", BASE + 9, 0, 64, 0)), "these are kept"


def test_a_lie_anywhere_in_an_answer_is_seen() -> None:
    layer = layer_of(1_500)
    root, tree = root_of(layer), grown(layer)
    request = layer_requests(root, 1_500, PIECE)[2]
    true = tree.answer(request)
    for at in (0, 500 * 32, 511 * 32 + 31, 512 * 32, len(true.hashes) - 1):
        false = bytearray(true.hashes)
        false[at] ^= 1
        assert not proven(request, replace(true, hashes=bytes(false)))
    for hashes in (b"", true.hashes[:-32], true.hashes + bytes(32), true.hashes[:-1]):
        with pytest.raises(WireError):
            proven(request, replace(true, hashes=hashes))


# fetching


class Seeds:
    """True answers for some layers."""

    def __init__(self, *counts: int) -> None:
        self.layers = [layer_of(count, count) for count in counts]
        self.trees = {root_of(layer): grown(layer) for layer in self.layers}
        self.wanted = {root_of(layer): len(layer) // 32 for layer in self.layers}
        self.fetch = LayerFetch(self.wanted, PIECE)

    def true(self, request: HashRequest) -> Hashes:
        return self.trees[request.pieces_root].answer(request)

    def whole(self) -> bool:
        return list(self.fetch.layers().values()) == self.layers


def test_layers_of_several_files_come_from_several_peers() -> None:
    seeds = Seeds(2, 1_500, 700)
    fetch = seeds.fetch
    for key in (1, 2):
        fetch.joined(key)
    rows = fetch.requests(0.0)
    assert len(rows) == 6
    assert {key for key, _ in rows} == {1, 2}
    assert fetch.requests(0.0) == []
    for key, request in reversed(rows):
        assert not fetch.done
        assert fetch.received(key, seeds.true(request))
    assert fetch.done
    assert seeds.whole()
    assert fetch.requests(100.0) == []


def test_one_peer_is_asked_a_few_at_a_time() -> None:
    seeds = Seeds(5_000)
    seeds.fetch.joined(1)
    rows = seeds.fetch.requests(0.0)
    assert sum(request.length for _, request in rows) == HASHES_IN_FLIGHT
    assert seeds.fetch.requests(1.0) == []
    for _, request in rows:
        assert seeds.fetch.received(1, seeds.true(request))
    assert len(seeds.fetch.requests(1.0)) == len(rows)
    many = Seeds(*range(2, 60))
    many.fetch.joined(1)
    rows = many.fetch.requests(0.0)
    assert len(rows) == IN_FLIGHT
    assert many.fetch.rejected(1, reject(rows[0][1]), 0.0)
    assert many.fetch.requests(5.0) == rows, "a reject gives all back, in order"


def test_a_liar_is_named_and_another_is_asked() -> None:
    seeds = Seeds(1_500)
    fetch = seeds.fetch
    fetch.joined(1)
    rows = fetch.requests(0.0)
    false = replace(seeds.true(rows[0][1]), hashes=bytes(len(seeds.true(rows[0][1]).hashes)))
    assert fetch.received(1, false)
    assert fetch.liars == [1]
    assert not fetch.received(1, seeds.true(rows[1][1])), "nothing more is taken from it"
    fetch.joined(2)
    again = fetch.requests(0.0)
    assert sorted(request.index for _, request in again) == [0, 512, 1_024]
    for key, request in again:
        assert key == 2
        fetch.received(key, seeds.true(request))
    assert seeds.whole()


def test_who_rejects_or_is_silent_rests_and_longer_each_time() -> None:
    seeds = Seeds(100)
    fetch = seeds.fetch
    fetch.joined(1)
    ((_, request),) = fetch.requests(0.0)
    assert fetch.rejected(1, reject(request), 0.0)
    assert not fetch.rejected(1, reject(request), 0.0)
    assert fetch.requests(1.9) == []
    assert fetch.requests(2.0) == [(1, request)]
    assert fetch.requests(2.0 + TIMEOUT_S) == []
    fetch.joined(2)
    assert fetch.requests(3.0 + TIMEOUT_S) == [(2, request)], "another takes over"
    now = 20.0
    fetch.left(2)
    for _ in range(20):
        while not fetch.requests(now):
            now += 1.0
            assert now < 5_000
        fetch.rejected(1, reject(request), now)
    began = now
    while not fetch.requests(now):
        now += 1.0
    assert now - began == MAX_REST_S
    assert fetch.received(1, seeds.true(request))
    assert seeds.whole()


def test_what_was_not_asked_of_this_peer_is_not_taken() -> None:
    seeds = Seeds(100)
    fetch = seeds.fetch
    fetch.joined(1)
    fetch.joined(2)
    ((key, request),) = fetch.requests(0.0)
    assert not fetch.received(3 - key, seeds.true(request))
    assert not fetch.received(key, replace(seeds.true(request), index=128))
    with pytest.raises(WireError):
        fetch.received(key, replace(seeds.true(request), hashes=b""))
    assert [row[1] for row in fetch.requests(0.0)] == [request], "it is asked for again"


# the desk


class Line:
    """A connection that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.backlogged = False

    def send(self, data: bytes) -> None:
        self.sent.append(decode(data[4], memoryview(data)[5:]))


def at_the_desk(layer: bytes, scene: Any) -> None:
    async def main() -> None:
        desk = HashDesk(asyncio.get_running_loop())
        root = root_of(layer)
        desk.begin({root: layer}, PIECE)
        await scene(desk, Line(), layer_requests(root, len(layer) // 32, PIECE))
        desk.close()

    asyncio.run(main())


async def count_of(line: Line, count: int) -> None:
    for _ in range(500):
        if len(line.sent) >= count:
            break
        await asyncio.sleep(0.01)
    assert len(line.sent) == count


def test_the_desk_answers_what_fits_and_rejects_the_rest_at_once() -> None:
    async def scene(desk: HashDesk, line: Any, requests: list[HashRequest]) -> None:
        for wrong in (
            replace(requests[0], pieces_root=bytes(32)),
            replace(requests[0], length=5),
            replace(requests[0], base_layer=0),
        ):
            desk.ask(1, line, wrong)
            assert line.sent.pop() == reject(wrong)
        for request in requests:
            desk.ask(1, line, request)
        assert line.sent == []
        await count_of(line, len(requests))
        for request, answer in zip(requests, line.sent, strict=True):
            assert proven(request, answer)

    at_the_desk(layer_of(8_000), scene)


def test_the_desk_keeps_a_pace_and_a_bounded_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_desk, "SERVED_MORE_BYTES", 0)
    monkeypatch.setattr(hash_desk, "SERVED_COPIES", 20)

    async def scene(desk: HashDesk, line: Any, requests: list[HashRequest]) -> None:
        for _ in range(100):
            desk.ask(1, line, requests[0])
        assert len([row for row in line.sent if isinstance(row, HashReject)]) == 36
        desk._step()
        assert len(line.sent) == 36 + 4, "the rest waits for the next step"
        other = Line()
        desk.ask(2, other, requests[0])  # type: ignore[arg-type]
        desk.left(1)
        await count_of(other, 1)
        assert len(line.sent) == 36 + 4, "one who left costs nothing more"
        for _ in range(30):
            before = len(line.sent)
            desk.ask(3, line, requests[0])
            await count_of(line, before + 1)
        assert isinstance(line.sent[-1], HashReject), "it had its copies"
        assert isinstance(line.sent[36 + 4 + 11], Hashes)
        other.backlogged = True
        desk.ask(2, other, requests[0])  # type: ignore[arg-type]
        await count_of(other, 2)
        assert isinstance(other.sent[-1], HashReject), "it does not read"

    at_the_desk(layer_of(300), scene)


def test_a_desk_without_layers_rejects() -> None:
    async def main() -> None:
        line: Any = Line()
        request = HashRequest(bytes(32), 0, 0, 2, 0)
        HashDesk(asyncio.get_running_loop()).ask(1, line, request)
        assert line.sent == [reject(request)]

    asyncio.run(main())
