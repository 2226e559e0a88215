"""BEP 10 (the handshake), BEP 9 (metadata), BEP 11 (peer exchange): pure parts and their fuzz."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinney.bittorrent.extensions import (
    MAX_METADATA_BYTES,
    ExtensionHandshake,
    decode_extension_handshake,
    encode_extension_handshake,
)
from spinney.bittorrent.metadata import (
    DATA,
    IN_FLIGHT,
    MAX_SIZES,
    PIECE_BYTES,
    REJECT,
    REQUEST,
    TIMEOUT_S,
    MetadataFetch,
    MetadataMessage,
    answer,
    decode_metadata,
    encode_metadata,
    matches,
)
from spinney.bittorrent.pex import (
    FLAG_SEED,
    INTERVAL_S,
    MAX_CHANGES,
    MAX_TAKEN,
    ExchangeInbox,
    ExchangeOutbox,
    PeerExchange,
    decode_exchange,
    encode_exchange,
)
from spinney.errors import WireError


def test_bep_10_example_handshake() -> None:
    row = decode_extension_handshake(
        b"d1:md11:LT_metadatai1e7:\xc2\xb5T_PEXi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e"
    )
    assert row.ids["LT_metadata"] == 1
    assert row.port == 6881
    assert row.version == "µTorrent 1.2"


def test_extension_handshake_there_and_back() -> None:
    row = ExtensionHandshake(
        ids={"ut_metadata": 2, "ut_pex": 1},
        port=6881,
        version="Spinney",
        your_ip="198.51.100.7",
        ipv6="2001:db8::1",
        request_limit=500,
        metadata_bytes=31_235,
        upload_only=True,
    )
    assert decode_extension_handshake(encode_extension_handshake(row)) == row


@pytest.mark.parametrize(
    "payload",
    [
        b"d1:mi3e1:pi-1e1:vi7e6:yourip3:abc4:reqqi0e13:metadata_sizei-5ee",
        b"d1:pi70000e13:metadata_sizei10000001ee",
        b"d1:md6:ut_pexi256e6:ut_xxx1:aee",
        b"d6:yourip0:1:v2:\xff\xfee",
    ],
)
def test_a_field_of_a_wrong_kind_is_as_good_as_absent(payload: bytes) -> None:
    row = decode_extension_handshake(payload)
    assert row.ids == {}
    assert (row.port, row.your_ip, row.request_limit, row.metadata_bytes) == (None,) * 4


def test_a_version_is_fit_for_a_terminal() -> None:
    row = decode_extension_handshake(b"d1:v200:" + b"\x1b[31m" * 40 + b"e")
    assert row.version is not None
    assert row.version.isprintable()
    assert len(row.version) <= 80


def test_metadata_messages_of_bep_9() -> None:
    assert encode_metadata(MetadataMessage(REQUEST, 0)) == b"d8:msg_typei0e5:piecei0ee"
    data = b"d8:msg_typei1e5:piecei0e10:total_sizei3425eexxxxxxxx"
    assert decode_metadata(data) == MetadataMessage(DATA, 0, 3425, b"xxxxxxxx")
    assert decode_metadata(b"d8:msg_typei2e5:piecei0ee") == MetadataMessage(REJECT, 0)


def test_requests_for_metadata_are_answered_or_rejected() -> None:
    info = bytes(40_000)
    assert answer(info, 2) == MetadataMessage(DATA, 2, 40_000, info[32_768:])
    assert answer(info, 3).kind == REJECT
    assert answer(None, 0).kind == REJECT


INFO = bytes(range(256)) * 560  # 143,360 bytes: nine pieces
V1 = hashlib.sha1(INFO).digest()


def serve(
    fetch: MetadataFetch, peers: dict[int, Callable[[int], bytes | None]], now: float = 0.0
) -> int:
    """Answers every request as each peer does, until nothing is asked; returns the requests."""
    count = 0
    for _ in range(200):
        rows = fetch.requests(now)
        if not rows:
            return count
        for key, piece in rows:
            count += 1
            data = peers[key](piece)
            if data is None:
                fetch.rejected(key, piece)
            else:
                fetch.received(key, piece, data)
        for key in list(fetch.liars):
            fetch.liars.remove(key)
            fetch.left(key)
    raise AssertionError("asks without end")


def honest(piece: int) -> bytes:
    return INFO[piece * PIECE_BYTES :][:PIECE_BYTES]


def lying(piece: int) -> bytes:
    return bytes(len(honest(piece)))


def test_metadata_comes_from_several_peers() -> None:
    for infohash in (V1, hashlib.sha256(INFO).digest(), hashlib.sha256(INFO).digest()[:20]):
        fetch = MetadataFetch([infohash])
        fetch.joined(1, len(INFO))
        fetch.joined(2, len(INFO))
        assert serve(fetch, {1: honest, 2: honest}) == 9
        assert fetch.info_bytes == INFO
        assert matches(INFO, [infohash])


def test_a_liar_is_found_and_the_honest_one_is_not_blamed() -> None:
    for liars_first in (True, False):
        fetch = MetadataFetch([V1])
        peers = {1: lying, 2: honest} if liars_first else {1: honest, 2: lying}
        blamed: list[int] = []
        for key in peers:
            fetch.joined(key, len(INFO))
        waiting: list[tuple[int, int]] = []
        while waiting or (waiting := fetch.requests(0.0)):
            key, piece = waiting.pop(0)
            fetch.received(key, piece, peers[key](piece))
            blamed += fetch.liars
            for liar in fetch.liars:
                fetch.left(liar)
            fetch.liars.clear()
            waiting += fetch.requests(0.0)
        assert fetch.info_bytes == INFO
        assert set(blamed) <= {1 if liars_first else 2}


def test_false_sizes_and_silence_do_not_keep_the_truth_out() -> None:
    fetch = MetadataFetch([V1])
    for key in range(MAX_SIZES):
        fetch.joined(key, 100_000 + key)
    fetch.joined(9, len(INFO))
    asked = fetch.requests(0.0)
    assert all(key != 9 for key, _ in asked)
    assert len(asked) <= MAX_SIZES * IN_FLIGHT
    later = fetch.requests(TIMEOUT_S + 1.0)
    assert {key for key, _ in later} == {9}
    for key, piece in later:
        fetch.received(key, piece, honest(piece))
    for key, piece in fetch.requests(17.0) + fetch.requests(18.0):
        fetch.received(key, piece, honest(piece))
    for key, piece in fetch.requests(19.0):
        fetch.received(key, piece, honest(piece))
    assert fetch.info_bytes == INFO


def test_what_was_not_asked_for_is_ignored_and_a_wrong_length_is_an_error() -> None:
    fetch = MetadataFetch([V1])
    fetch.received(1, 0, b"x")
    fetch.joined(1, len(INFO))
    fetch.received(1, 0, honest(0))
    fetch.requests(0.0)
    with pytest.raises(WireError):
        fetch.received(1, 0, b"short")
    fetch.joined(2, MAX_METADATA_BYTES + 1)
    assert all(key == 1 for key, _ in fetch.requests(TIMEOUT_S + 1))


def test_peer_exchange_there_and_back() -> None:
    row = PeerExchange(
        added=((("198.51.100.1", 6881), FLAG_SEED), (("2001:db8::1", 1), 0)),
        dropped=(("198.51.100.2", 6882), ("2001:db8::2", 2)),
    )
    assert decode_exchange(encode_exchange(row)) == row
    data = encode_exchange(PeerExchange(added=((("1.2.3.4", 258), 2),)))
    assert data == b"d5:added6:\x01\x02\x03\x04\x01\x027:added.f1:\x027:dropped0:e"


def test_peer_exchange_is_bounded_in_number_and_pace() -> None:
    many = b"".join(bytes([10, 0, at >> 8, at & 255, 1, 1]) for at in range(3_000))
    data = b"d5:added18000:" + many + b"e"
    assert len(decode_exchange(data).added) == MAX_TAKEN
    inbox = ExchangeInbox()
    assert [inbox.may_take(now) for now in (0.0, 1.0, 30.0, 50.0, 51.0)] == [
        True,
        False,
        False,
        True,
        False,
    ]
    outbox = ExchangeOutbox()
    here = [((f"10.0.{at >> 8}.{at & 255}", 1), 0) for at in range(120)]
    first = outbox.next(0.0, here)
    assert first is not None
    assert len(first.added) == MAX_CHANGES
    assert outbox.next(INTERVAL_S - 1, here) is None
    second = outbox.next(INTERVAL_S, here[60:])
    assert second is not None
    assert len(second.added) == MAX_CHANGES
    assert set(second.dropped) == {peer for peer, _ in here[:50]}
    third = outbox.next(2 * INTERVAL_S, here[60:])
    assert third is not None
    assert {p for p, _ in third.added} | {p for p, _ in second.added} == {p for p, _ in here[60:]}
    assert outbox.next(3 * INTERVAL_S, here[60:]) is None


@pytest.mark.parametrize(
    "payload", [b"d5:added5:12345e", b"le", b"d5:addedi1ee", b"", b"d6:added617:"]
)
def test_false_exchanges_are_errors(payload: bytes) -> None:
    with pytest.raises(WireError):
        decode_exchange(payload)


@given(st.binary(max_size=200))
def test_any_payload_decodes_or_raises_the_one_error(data: bytes) -> None:
    for decode in (decode_extension_handshake, decode_exchange, decode_metadata):
        for payload in (data, b"d" + data + b"e"):
            try:
                decode(payload)
            except WireError:
                continue
