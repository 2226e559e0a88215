"""BEP 3, 6, 10, 52: the bytes on the wire.  Golden vectors are written out from the BEPs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinney.bittorrent import messages as m
from spinney.bittorrent.codec import (
    KNOWN,
    MAX_MESSAGE_BYTES,
    MAX_REQUEST_BYTES,
    decode,
    decode_handshake,
    encode,
    encode_handshake,
    encode_haves,
    encode_requests,
)
from spinney.bittorrent.reader import MAX_PARTIAL_BYTES, Reader
from spinney.errors import WireError

GOLDEN = [
    (m.KeepAlive(), "00000000"),
    (m.Choke(), "0000000100"),
    (m.Unchoke(), "0000000101"),
    (m.Interested(), "0000000102"),
    (m.NotInterested(), "0000000103"),
    (m.Have(258), "000000050400000102"),
    (m.BitfieldMessage(b"\xa0\x01"), "0000000305a001"),
    (m.Request(1, 16_384, 16_384), "0000000d06000000010000400000004000"),
    (m.Piece(1, 2, b"abc"), "0000000c070000000100000002616263"),
    (m.Cancel(1, 16_384, 16_384), "0000000d08000000010000400000004000"),
    (m.Port(6881), "00000003091ae1"),
    (m.SuggestPiece(7), "000000050d00000007"),
    (m.HaveAll(), "000000010e"),
    (m.HaveNone(), "000000010f"),
    (m.RejectRequest(1, 2, 3), "0000000d10000000010000000200000003"),
    (m.AllowedFast(9), "000000051100000009"),
    (m.Extended(0, b"de"), "0000000414006465"),
    (
        m.HashRequest(b"\x11" * 32, 0, 512, 512, 4),
        "0000003115" + "11" * 32 + "00000000" + "00000200" + "00000200" + "00000004",
    ),
    (
        m.Hashes(b"\x11" * 32, 0, 0, 1, 0, b"\x22" * 32),
        "0000005116" + "11" * 32 + "00000000" * 2 + "00000001" + "00000000" + "22" * 32,
    ),
    (
        m.HashReject(b"\x11" * 32, 0, 512, 512, 4),
        "0000003117" + "11" * 32 + "00000000" + "00000200" + "00000200" + "00000004",
    ),
]


class Recorder:
    """Everything that a reader hands over, in order, as messages."""

    def __init__(self) -> None:
        self.rows: list[object] = []
        self.chatters = 0

    def block(self, piece: int, begin: int, data: memoryview) -> None:
        self.rows.append(m.Piece(piece, begin, bytes(data)))

    def requests(self, ranges: object) -> None:
        self.rows.extend(m.Request(*row) for row in ranges)  # type: ignore[attr-defined]

    def have(self, piece: int) -> None:
        self.rows.append(m.Have(piece))

    def message(self, message: m.Message) -> None:
        self.rows.append(message)

    def chatter(self) -> None:
        self.chatters += 1


def read(data: bytes, step: int) -> tuple[Recorder, int]:
    """Feeds `data` in parts of `step` bytes, as a connection does; returns what was kept."""
    recorder = Recorder()
    reader = Reader(recorder)
    kept = b""
    most = 0
    for at in range(0, len(data), step):
        kept += data[at : at + step]
        kept = kept[reader.consume(memoryview(kept)) :]
        most = max(most, len(kept))
    return recorder, most


@pytest.mark.parametrize(("message", "text"), GOLDEN, ids=lambda v: type(v).__name__)
def test_golden_vectors_encode_and_decode(message: m.Message, text: str) -> None:
    data = bytes.fromhex(text)
    assert encode(message) == data
    if not isinstance(message, m.KeepAlive):
        assert decode(data[4], memoryview(data)[5:]) == message


@pytest.mark.parametrize("step", [1, 2, 3, 13, 16, 17, 18, 100_000])
def test_a_stream_reads_alike_whole_and_byte_by_byte(step: int) -> None:
    data = bytes.fromhex("".join(text for _, text in GOLDEN)) * 3
    recorder, _ = read(data, step)
    expected = [row for row, _ in GOLDEN if not isinstance(row, m.KeepAlive)] * 3
    assert recorder.rows == expected
    assert recorder.chatters == 3


def test_a_run_of_requests_comes_in_one_call() -> None:
    calls: list[int] = []

    class Counting(Recorder):
        def requests(self, ranges: object) -> None:
            calls.append(len(ranges))  # type: ignore[arg-type]

    rows = [(piece, 0, 16_384) for piece in range(100)]
    data = encode_requests(rows) + encode(m.Choke())
    assert Reader(Counting()).consume(memoryview(data)) == len(data)
    assert calls == [100]


def test_handshake() -> None:
    handshake = m.Handshake(
        bytes([0, 0, 0, 0, 0, 0x10, 0, 0x05]), b"h" * 20, b"-SY0100-abcdefghijkl"
    )
    data = encode_handshake(handshake)
    assert data == (
        b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x05" + b"h" * 20 + b"-SY0100-abcdefghijkl"
    )
    assert decode_handshake(data) == handshake
    assert handshake.bit(m.RESERVED_EXTENDED)
    assert handshake.bit(m.RESERVED_FAST)
    assert not handshake.bit(m.RESERVED_V2)
    for bad in (data[:-1], b"\x12" + data[1:], data + b"x"):
        with pytest.raises(WireError):
            decode_handshake(bad)


@pytest.mark.parametrize(
    "text",
    [
        "0000000200ff",  # a choke with a body
        "0000000404000001",  # a have that is too short
        "0000000c060000000100004000000040",  # a request that is too short
        "00000008070000000100000000",  # a block without its place
        "0000000114",  # an extended message without an id
        "0000000209ff",  # a port of one byte
        "00100001ff",  # one byte more than a message may have
        "0002000a07" + "00" * 8,  # a block of more than 128 KiB
        "0004000205" + "00" * 8,  # a bitfield for more pieces than torrents have
        "0000003216" + "00" * 49,  # hashes of an uneven length
        "7fffffff07" + "00" * 8,
        "ffffffff05" + "00" * 8,
    ],
)
@pytest.mark.parametrize("step", [1, 1_000])
def test_what_no_peer_says_is_an_error_before_it_is_kept(text: str, step: int) -> None:
    with pytest.raises(WireError):
        read(bytes.fromhex(text), step)


def test_the_length_of_a_bitfield_is_known_with_the_descriptor() -> None:
    reader = Reader(Recorder())
    reader.bitfield_bytes = 2
    with pytest.raises(WireError):
        reader.consume(memoryview(bytes.fromhex("0000000205ff")))


def test_unknown_messages_are_skipped_and_never_kept() -> None:
    unknown = (MAX_MESSAGE_BYTES).to_bytes(4, "big") + b"\xc8" + b"x" * (MAX_MESSAGE_BYTES - 1)
    recorder, most = read(unknown + encode(m.Have(3)), 50_000)
    assert recorder.rows == [m.Have(3)]
    assert most < 100
    assert recorder.chatters == 1


def test_many_haves_and_requests_at_once_are_the_single_ones() -> None:
    assert encode_haves([1, 2]) == encode(m.Have(1)) + encode(m.Have(2))
    assert encode_requests([(1, 2, 3)]) == encode(m.Request(1, 2, 3))


@given(st.binary(max_size=600), st.integers(1, 40))
def test_any_bytes_parse_or_raise_the_one_error(data: bytes, step: int) -> None:
    try:
        recorder, most = read(data, step)
    except WireError:
        with pytest.raises(WireError):
            read(data, len(data))
        return
    assert most <= MAX_PARTIAL_BYTES
    assert recorder.rows == read(data, max(1, len(data)))[0].rows


@given(st.lists(st.tuples(st.sampled_from(sorted(KNOWN)), st.binary(max_size=60)), max_size=20))
def test_framed_rubbish_parses_or_raises_the_one_error(rows: list[tuple[int, bytes]]) -> None:
    data = b"".join(
        (len(body) + 1).to_bytes(4, "big") + bytes([kind]) + body for kind, body in rows
    )
    try:
        whole = read(data, max(1, len(data)))[0].rows
    except WireError:
        with pytest.raises(WireError):
            read(data, 1)
        return
    assert read(data, 1)[0].rows == whole
    assert b"".join(encode(row) for row in whole) == data  # type: ignore[arg-type]


def test_the_limits_are_those_that_the_docs_name() -> None:
    assert (MAX_REQUEST_BYTES, MAX_MESSAGE_BYTES) == (131_072, 1_048_576)
