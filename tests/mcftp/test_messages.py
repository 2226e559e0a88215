"""What is said in a group: every message comes back as it was, and nothing else decodes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinney.errors import WireError
from spinney.mcftp import codec, neighbours
from spinney.mcftp import messages as m
from spinney.mcftp.neighbours import Neighbours
from spinney.mcftp.stream import Stream
from spinney.trust.envelope import DATAGRAM_BYTES_MAX, file_tag, make, parse
from spinney.trust.keys import Keys
from spinney.trust.seal import OVERHEAD_BYTES
from spinney.wire import bencode

KEYS = Keys(bytes(range(32)))
FILE = file_tag(b"file")
LARGE = codec.NUMBER_MAX
REIGN = b"12345678"
PEERS = tuple(b"%020d" % number for number in range(7))
FULL = m.Electorate((LARGE, LARGE), PEERS)


def stream(number: int = 1, runs: tuple[tuple[int, int], ...] = ((0, 256),)) -> Stream:
    return Stream(number, b"ip4:239.255.1.2:6780", PEERS[0], 3, 5_000_000, runs)


def alive(**changes: Any) -> m.KeepAlive:
    row: dict[str, Any] = {
        "reign": REIGN,
        "term": 3,
        "serial": 7,
        "page": 0,
        "pages": 1,
        "interval_ms": 1000,
        "age_ms": 60_000,
        "members": 12,
        "complete": 3,
        "started": True,
        "sealing_key": bytes(32),
        "electorate": m.Electorate((3, 1), PEERS[:3]),
        "proposed": None,
        "streams": (stream(),),
    }
    return m.KeepAlive(**{**row, **changes})


MESSAGES: list[m.Message] = [
    m.Hello(6881),
    alive(),
    alive(streams=(), proposed=FULL, electorate=FULL),
    m.StatusRequest(REIGN, 3, 9, 16, 15, 320, bytes(32)),
    m.SealedStatus(REIGN, bytes(OVERHEAD_BYTES)),
    m.Sent(REIGN, 3, 1, 255, True, 1 << 40),
    m.Accept(REIGN, 3, (3, 2)),
    m.PreVote(REIGN, 4, (3, 2)),
    m.Vote(REIGN, 4, (3, 2)),
    m.Ballot(REIGN, 4, PEERS[1], False),
    m.Leave(REIGN, True),
    m.HandOver(REIGN, 3, PEERS[1]),
    m.Published(0, 2, b"signed"),
]
STATUS = m.Status(4, False, 9, 0, 12, b"\xff\xf0", 0, 23_000_000, 6881, 60, 51, True, True, True)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda each: type(each).__name__)
def test_a_message_comes_back_as_it_was(message: m.Message) -> None:
    data = make(KEYS, FILE, 1, codec.encode(message))
    assert codec.decode(parse(data).message) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda each: type(each).__name__)
def test_each_field_is_needed_and_none_is_added(message: m.Message) -> None:
    row = codec.encode(message)
    for key in row:
        if key != b"en":
            with pytest.raises(WireError):
                codec.decode({name: value for name, value in row.items() if name != key})
    with pytest.raises(WireError):
        codec.decode({**row, b"zz": 1})


@pytest.mark.parametrize("message", MESSAGES, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("bad", [-1, 1 << 70, b"", b"x" * 2000, [], {}, [1], [[1]]], ids=repr)
def test_a_field_of_a_wrong_shape_is_refused(message: m.Message, bad: Any) -> None:
    row = codec.encode(message)
    for key in row:
        if (key, bad) not in ((b"s", []), (b"d", b"")):
            with pytest.raises(WireError):
                codec.decode({**row, key: bad})


def test_a_status_comes_back_as_it_was() -> None:
    assert codec.decode_status(codec.encode_status(STATUS)) == STATUS
    with pytest.raises(WireError):
        codec.decode_status(codec.encode_status(STATUS).replace(b"\xff\xf0", b"\xff\xf1"))
    with pytest.raises(WireError):
        codec.decode_status(b"de")


def test_the_fullest_page_fits() -> None:
    runs = tuple((2 * number + (1 << 23), 1) for number in range(600))
    streams = tuple(
        Stream(number, bytes(codec.ADDRESS_BYTES_MAX), PEERS[0], 255, LARGE, runs[number::4])
        for number in range(4)
    )
    pages = codec.pages(streams)
    assert codec.join(pages) == streams
    for number, page in enumerate(pages):
        said = alive(
            term=LARGE,
            serial=LARGE,
            page=number,
            pages=len(pages),
            interval_ms=codec.INTERVAL_MS_MAX,
            age_ms=LARGE,
            members=LARGE,
            complete=LARGE,
            electorate=FULL,
            proposed=FULL,
            streams=page,
        )
        table = {**codec.encode(said), neighbours.KEY: bytes(neighbours.ID_BYTES)}
        assert len(make(KEYS, FILE, LARGE, table)) <= DATAGRAM_BYTES_MAX


def test_pages_without_streams_and_without_blocks() -> None:
    assert codec.pages(()) == [()]
    assert codec.pages((stream(runs=()),)) == [(stream(runs=()),)]


def test_more_than_all_pages_hold_is_left_for_later() -> None:
    many = stream(runs=tuple((2 * number, 1) for number in range(20_000)))
    pages = codec.pages((many,))
    assert len(pages) == m.PAGES_MAX
    (joined,) = codec.join(pages)
    assert joined.blocks == many.blocks[: len(joined.blocks)]


VALUES = st.recursive(
    st.integers(-9, 1 << 63) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=8,
)


@settings(max_examples=300)
@given(
    st.sampled_from([codec.encode(message) for message in MESSAGES]),
    st.dictionaries(st.sampled_from(list(codec.encode(alive()))), VALUES, max_size=3),
)
def test_any_table_decodes_canonically_or_raises(row: Any, change: Any) -> None:
    table = {**row, **change}
    try:
        message = codec.decode(table)
    except WireError:
        return
    assert bencode.encode(codec.encode(message)) == bencode.encode(table)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_status_or_raise(data: bytes) -> None:
    try:
        status = codec.decode_status(data)
    except WireError:
        return
    assert codec.encode_status(status) == data


def test_a_glance_believes_who_signed_and_costs_nothing_more_for_those_it_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a crowd every member sees every report of all the others."""
    known, file, keys = Neighbours(), file_tag(b"an infohash"), Keys(bytes(32))
    said = [
        make(keys, file, number, {neighbours.KEY: stated, b"t": b"status", b"x": b"sealed"})
        for number, stated in enumerate((b"number 1", b"number 2", b"number 1"))
    ]
    forged = said[1].replace(b"number 2", b"a victim")
    known.glance(forged, file)
    known.glance(said[0], file_tag(b"another"))
    assert not len(known)
    for each in said:
        known.glance(each, file)
    assert known.swarm_id_of(keys.peer) == b"number 1"
    assert b"number 2" not in known
    monkeypatch.delattr(neighbours, "parse")
    known.glance(said[2], file)
    assert len(known) == 1
