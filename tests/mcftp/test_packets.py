"""What a data group carries: every field there and back, any bytes parse or raise `WireError`."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mcftp.stage import PlainKeys

from spinney.errors import WireError
from spinney.mcftp import packets as p

KEYS = PlainKeys("one")
TAG = b"wooden"
PREFIX = p.prefix_of(p.MARK, 3, TAG)

MARK = p.Mark(
    sequence=7,
    sent=190_650,
    order=0xFFFFFFFF,
    position=12,
    time_us=1_234_567,
    round_trip_us=10_000,
    receivers=8,
    states=(p.BlockState(3, 1, 40, 50), p.BlockState(2**32 - 1, 255, 0, 0)),
    coming=((0, 10), (20, 1)),
    told=(b"p" * 20,),
)
NEED = p.Need(
    echo_us=99,
    loss_ppm=50_000,
    queue_us=700,
    rate_bytes_per_s=23_750_000,
    lacks=(p.Lack(3, 1, 40, 12), p.Lack(9, 0, 2**32 - 1, 0xFFFF)),
    whole=((5, 5),),
)


def test_a_mark_and_a_need_come_back_as_they_were() -> None:
    data = p.encode_mark(PREFIX, MARK, KEYS)
    mark, signed = p.decode_mark(data)
    assert mark == MARK
    assert (signed.peer, signed.public) == (KEYS.peer, KEYS.public)
    assert signed.verified(KEYS)
    need_prefix = p.prefix_of(p.NEED, 3, TAG)
    need, signed = p.decode_need(p.encode_need(need_prefix, NEED, KEYS))
    assert need == NEED
    assert signed.verified(KEYS)


def test_the_largest_fit_a_control_datagram() -> None:
    states = tuple(p.BlockState(2**32 - 1, 255, 2**32 - 1, 2**32 - 1) for _ in range(p.MAX_STATES))
    runs = ((2**32 - 2, 1),) * p.MAX_RUNS
    big = 2**63 - 1
    mark = replace(
        MARK, sequence=big, sent=big, time_us=big, states=states, coming=runs,
        told=(b"p" * 20,) * p.MAX_TOLD,
    )  # fmt: skip
    assert len(p.encode_mark(PREFIX, mark, KEYS)) <= p.MAX_CONTROL_BYTES
    lacks = tuple(p.Lack(2**32 - 1, 255, 2**32 - 1, 0xFFFF) for _ in range(p.MAX_LACKS))
    need = p.Need(big, 1_000_000, 60_000_000, big, lacks, runs)
    assert len(p.encode_need(PREFIX, need, KEYS)) <= p.MAX_CONTROL_BYTES


def test_one_changed_bit_is_noticed() -> None:
    data = bytearray(p.encode_mark(PREFIX, MARK, KEYS))
    rng = random.Random(1)
    for _ in range(400):
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            _, signed = p.decode_mark(changed)
        except WireError:
            continue
        assert not signed.verified(KEYS)


@given(st.binary(max_size=1300))
def test_any_bytes_parse_or_raise_the_one_error(data: bytes) -> None:
    for kind, decode in ((p.MARK, p.decode_mark), (p.NEED, p.decode_need)):
        for each in (data, bytes((kind, 3)) + TAG + data):
            with pytest.raises(WireError):
                decode(each)


@given(st.data())
def test_a_changed_dictionary_parses_to_the_same_bytes_or_raises(draw: st.DataObject) -> None:
    mark = draw.draw(st.booleans())
    prefix = p.prefix_of(p.MARK if mark else p.NEED, 3, TAG)
    data = bytearray(
        p.encode_mark(prefix, MARK, KEYS) if mark else p.encode_need(prefix, NEED, KEYS)
    )
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data) - 1))
        data[at] = draw.draw(st.integers(0, 255))
    try:
        if mark:
            again, signed = p.decode_mark(data)
            body = p.encode_mark(bytes(data[:8]), again, _As(signed))
        else:
            other, signed = p.decode_need(data)
            body = p.encode_need(bytes(data[:8]), other, _As(signed))
    except WireError:
        return
    assert body == bytes(data)


class _As:
    """Keys that repeat who signed and how."""

    def __init__(self, signed: p.Signed) -> None:
        self.peer, self.public, self._signature = signed.peer, signed.public, signed.signature

    def sign(self, data: bytes) -> bytes:
        return self._signature

    def verify(self, peer: bytes, public: bytes, data: bytes, signature: bytes) -> bool:
        return False


@pytest.mark.parametrize(
    "wrong",
    [
        replace(MARK, states=(p.BlockState(1, 1, 5, 4),)),
        replace(MARK, coming=((1, 0),)),
        replace(MARK, coming=((2**32 - 1, 2),)),
        replace(MARK, position=2**32),
        replace(MARK, states=MARK.states * 21),
    ],
)
def test_a_mark_that_makes_no_sense_is_refused(wrong: p.Mark) -> None:
    with pytest.raises(WireError):
        p.decode_mark(p.encode_mark(PREFIX, wrong, KEYS))


def test_a_need_that_makes_no_sense_is_refused() -> None:
    for wrong in (
        replace(NEED, lacks=(p.Lack(1, 1, 0, 0),)),
        replace(NEED, loss_ppm=1_000_001),
        replace(NEED, whole=((0, 1),) * 17),
    ):
        with pytest.raises(WireError):
            p.decode_need(p.encode_need(p.prefix_of(p.NEED, 0, TAG), wrong, KEYS))


def test_the_tag_tells_files_and_reigns_apart() -> None:
    tags = {p.tag_of(b"a" * 20, b"r1"), p.tag_of(b"a" * 20, b"r2"), p.tag_of(b"b" * 20, b"r1")}
    assert len(tags) == 3
    assert {len(tag) for tag in tags} == {p.TAG_BYTES}
    assert p.HEADER_BYTES == 16
