"""Tracker messages: BEP 3, 7, 12, 23, 24, 31, 48, in the order of BEP 3; and the lecture's."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinney.bittorrent.tracker import codec
from spinney.bittorrent.tracker import messages as m
from spinney.errors import WireError
from spinney.wire import bencode

HASH = bytes(range(20))
PEER_ID = b"-SP0001-abcdefghijkl"
MINIMAL = f"info_hash={codec.escape(HASH)}&peer_id={codec.escape(PEER_ID)}&port=6881"

# lecture: "Example Peer/Tracker Exchange"; the blanks before each & are the slide's layout.
LECTURE_QUERY = (
    "info_hash=3%82%0d%b6%dd%5eY%28%d2%3b%c8%11%bb%ac%2fJ%e9L%b8%82"
    "&peer_id=-UT1810-_1%02A%ba%d4%9a%0c%e8JBB"
    "&port=11541&uploaded=0&downloaded=0&left=732766208"
    "&corrupt=0&key=82D434AB&event=started&numwant=200"
    "&compact=1&no_peer_id=1&ipv6=192.168.1.2"
)
LECTURE_CONTENT_LENGTH = 362


def lecture_reply() -> bytes:
    """The slide shows the first bytes of the peers, `<.#`; the other 297 are ours."""
    peers = b"<.#" + bytes(3) + bytes(1 + at % 250 for at in range(294))
    return b"d8:completei1328e10:incompletei97e8:intervali1800e5:peers300:" + peers + b"e"


def test_the_lectures_announce_is_read_whole() -> None:
    request = codec.decode_announce(LECTURE_QUERY)
    # 14 escapes and 6 plain letters: the slide's info_hash is a whole one of 20 bytes.
    assert request.infohash.hex() == "33820db6dd5e5928d23bc811bbac2f4ae94cb882"
    assert request.peer_id == b"-UT1810-_1\x02A\xba\xd4\x9a\x0c\xe8JBB"
    assert request == m.AnnounceRequest(
        infohash=request.infohash,
        peer_id=request.peer_id,
        port=11541,
        left_bytes=732_766_208,
        event="started",
        numwant=200,
        key=b"82D434AB",
        ipv6="192.168.1.2",
    )


def test_the_lectures_announce_comes_out_again() -> None:
    again = codec.encode_announce(codec.decode_announce(LECTURE_QUERY))
    slide = dict(pair.split("=") for pair in LECTURE_QUERY.split("&"))
    ours = dict(pair.split("=") for pair in again.split("&"))
    assert {name: value.lower() for name, value in ours.items()} == {
        # `-` and `_` need no escape; the slide's client escaped in small letters.
        name: value.lower()
        for name, value in slide.items()
    }


def test_the_lectures_reply_has_its_content_length_and_its_numbers() -> None:
    data = lecture_reply()
    assert len(data) == LECTURE_CONTENT_LENGTH
    reply = codec.decode_announce_reply(data)
    assert isinstance(reply, m.AnnounceReply)
    assert (reply.complete, reply.incomplete, reply.interval_s) == (1328, 97, 1800)
    assert len(data[data.index(b"300:") + 4 : -1]) // 6 == 50
    assert len(reply.peers) + reply.ignored_peers == 50


# Requests


def test_every_byte_of_an_infohash_survives_the_query() -> None:
    for start in range(0, 256, 20):
        infohash = bytes((start + at) % 256 for at in range(20))
        request = m.AnnounceRequest(infohash, PEER_ID, 1)
        assert codec.decode_announce(codec.encode_announce(request)).infohash == infohash


def test_a_plus_is_a_plus() -> None:
    query = f"info_hash={'+' * 20}&peer_id={codec.escape(PEER_ID)}&port=1"
    assert codec.decode_announce(query).infohash == b"+" * 20


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "info_hash is missing"),
        (f"peer_id={codec.escape(PEER_ID)}&port=1", "info_hash is missing"),
        (MINIMAL.replace("info_hash=", "info_hash=x"), "21 bytes"),
        (MINIMAL.replace("peer_id=-", "peer_id="), "19 bytes"),
        (f"info_hash={codec.escape(HASH)}&port=1", "peer_id is missing"),
        (MINIMAL.replace("port=6881", ""), "port"),
        (MINIMAL.replace("6881", "65536"), "port"),
        (MINIMAL.replace("6881", "-1"), "port"),
        (MINIMAL.replace("6881", "٣"), "port"),
        (MINIMAL + "&left=-5", "left"),
        (MINIMAL + "&left=" + "9" * 21, "left"),
        (MINIMAL + "&uploaded=1.5", "uploaded"),
        (MINIMAL + "&event=exploded", "event"),
        (MINIMAL + "&port=6881", "twice"),
        (MINIMAL + "&numwant=many", "numwant"),
        (MINIMAL + "&a" * 200, "parameters"),
        (MINIMAL + "&a=" + "x" * 9000, "bytes is over"),
    ],
)
def test_a_wrong_announce_is_refused_with_its_reason(query: str, why: str) -> None:
    with pytest.raises(WireError, match=why):
        codec.decode_announce(query)


def test_only_numeric_addresses_can_be_claimed() -> None:
    def claimed(text: str) -> str | None:
        return codec.decode_announce(MINIMAL + "&ip=" + text).ip

    assert claimed("10.0.0.7") == "10.0.0.7"
    assert claimed("%5B2001%3Adb8%3A%3A1%5D%3A6881") == "2001:db8::1"
    for text in ("example.org", "", "1.2.3", "999.1.1.1", "fe80::1%25eth0", "x" * 200, "%ff"):
        assert claimed(text) is None


def test_numwant_minus_one_is_the_trackers_choice() -> None:
    assert codec.decode_announce(MINIMAL + "&numwant=-1").numwant is None
    assert codec.decode_announce(MINIMAL + "&numwant=0").numwant == 0


def test_a_scrape_asks_for_several_torrents() -> None:
    hashes = tuple(hashlib.sha1(bytes([at])).digest() for at in range(74))
    assert codec.decode_scrape(codec.encode_scrape(hashes)) == hashes
    with pytest.raises(WireError, match="more than 74"):
        codec.decode_scrape("&".join(f"info_hash={at:020}" for at in range(75)))
    with pytest.raises(WireError, match="19 bytes"):
        codec.decode_scrape("info_hash=" + "x" * 19)


def test_the_scrape_address_follows_the_announce_address() -> None:
    # BEP 48's own table.
    assert codec.scrape_path("/announce") == "/scrape"
    assert codec.scrape_path("/x/announce") == "/x/scrape"
    assert codec.scrape_path("/announce.php") == "/scrape.php"
    assert codec.scrape_path("/a") is None
    assert codec.scrape_path("/announce/x") is None
    assert codec.scrape_path("") is None


# Replies


def answer(**fields: object) -> m.AnnounceReply:
    table = {name.replace("_", " ").encode(): value for name, value in fields.items()}
    reply = codec.decode_announce_reply(bencode.encode(table))
    assert isinstance(reply, m.AnnounceReply)
    return reply


def test_compact_peers_of_both_families_take_turns() -> None:
    reply = answer(
        peers=bytes([10, 0, 0, 1, 0x1A, 0xE1, 10, 0, 0, 2, 0x1A, 0xE1]),
        peers6=bytes.fromhex("20010db8" + "00" * 11 + "01" + "1ae1"),
    )
    assert reply.peers == (("10.0.0.1", 6881), ("2001:db8::1", 6881), ("10.0.0.2", 6881))


def test_wordy_peers_are_read_and_names_are_not_resolved() -> None:
    reply = answer(
        peers=[
            {b"ip": b"10.0.0.1", b"port": 6881, b"peer id": PEER_ID},
            {b"ip": b"2001:db8::1", b"port": 6881},
            {b"ip": b"tracker-chosen.example.org", b"port": 6881},
            {b"ip": b"10.0.0.1", b"port": 70000},
            {b"ip": b"10.0.0.1"},
            {b"ip": 7, b"port": 6881},
            b"10.0.0.3:6881",
        ]
    )
    assert reply.peers == (("10.0.0.1", 6881), ("2001:db8::1", 6881))
    assert reply.ignored_peers == 5


def test_peers_that_nobody_can_dial_are_dropped() -> None:
    reply = answer(
        peers=bytes([10, 0, 0, 1, 0, 0])  # port 0
        + bytes([0, 0, 0, 0, 0, 1])  # unspecified
        + bytes([239, 1, 1, 1, 0, 1])  # a group
        + bytes([10, 0, 0, 1, 0, 1]) * 2
    )
    assert reply.peers == (("10.0.0.1", 1),)
    assert reply.ignored_peers == 3


def test_a_giant_list_is_cut() -> None:
    many = b"".join(bytes([10, 0, at >> 8, at & 255, 0, 1]) for at in range(1, 5000))
    reply = answer(peers=many)
    assert len(reply.peers) == m.REPLY_PEERS_MAX
    assert reply.ignored_peers == 4999 - m.REPLY_PEERS_MAX
    rows = [{b"ip": b"10.0.%d.%d" % divmod(at, 256), b"port": 1} for at in range(1, 3000)]
    assert len(answer(peers=rows).peers) == m.REPLY_PEERS_MAX


@pytest.mark.parametrize("peers", [b"12345", 7, {b"ip": b"10.0.0.1"}])
def test_peers_of_no_known_form_are_rubbish(peers: object) -> None:
    with pytest.raises(WireError):
        answer(peers=peers)


@pytest.mark.parametrize(
    ("said", "kept"), [(0, 30), (1, 30), (600, 600), (10**9, 21600), (-5, 1800), (b"600", 1800)]
)
def test_intervals_are_kept_within_bounds(said: object, kept: int) -> None:
    assert answer(interval=said).interval_s == kept


def test_min_interval_and_counts_of_wrong_types_are_as_good_as_absent() -> None:
    reply = answer(min_interval=10**12, complete=b"many", incomplete=-1, downloaded=[1])
    assert reply.min_interval_s == 3600
    assert (reply.complete, reply.incomplete, reply.downloaded) == (None, None, None)


def test_a_warning_is_one_bounded_line() -> None:
    reply = answer(warning_message=b"your\nclient \x1b[31mis old" + b"!" * 5000)
    assert reply.warning is not None
    assert reply.warning.startswith("your client [31mis old!")
    assert len(reply.warning) <= m.TEXT_BYTES_MAX


def test_external_ip_and_tracker_id() -> None:
    assert answer(external_ip=bytes([192, 0, 2, 7])).external_ip == "192.0.2.7"
    assert answer(external_ip=b"2001:db8::7").external_ip == "2001:db8::7"
    assert answer(external_ip=b"nonsense").external_ip is None
    assert answer(tracker_id=b"abc").tracker_id == b"abc"
    assert answer(tracker_id=b"x" * 257).tracker_id is None


def test_a_failure_reason_beats_everything_else() -> None:
    data = bencode.encode({b"failure reason": b"not registered", b"peers": 7})
    assert codec.decode_announce_reply(data) == m.Refusal("not registered")
    assert codec.decode_scrape_reply(data) == m.Refusal("not registered")
    with pytest.raises(WireError):
        codec.decode_announce_reply(bencode.encode({b"failure reason": 7}))


def test_retry_in_is_minutes_or_never() -> None:
    def refusal(value: object) -> m.Refusal:
        data = bencode.encode({b"failure reason": b"no", b"retry in": value})
        reply = codec.decode_announce_reply(data)
        assert isinstance(reply, m.Refusal)
        return reply

    assert refusal(5).retry_in_s == 300
    assert refusal(b"5").retry_in_s == 300
    assert refusal(10**9).retry_in_s == 24 * 3600
    assert refusal(b"never").never
    assert refusal(-1) == m.Refusal("no")
    for sent in (m.Refusal("no", 61), m.Refusal("no", never=True), m.Refusal("no")):
        back = codec.decode_announce_reply(codec.encode_refusal(sent))
        assert isinstance(back, m.Refusal)
        assert back.never == sent.never
        assert back.retry_in_s == (120 if sent.retry_in_s else None)


def test_a_scrape_comes_back_as_it_was_sent() -> None:
    sent = m.ScrapeReply({HASH: m.ScrapeCounts(5, 50, 10)}, 300)
    data = codec.encode_scrape_reply(sent)
    # BEP 48's example, with its flags.
    assert data == (
        b"d5:filesd20:" + HASH + b"d8:completei5e10:downloadedi50e10:incompletei10eee"
        b"5:flagsd20:min_request_intervali300eee"
    )
    assert codec.decode_scrape_reply(data) == sent


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b"le",
        b"i5e",
        b"d",
        b"d5:peers",
        b"d5:peers999999999:e",
        b"d" * 5000,
        b"l" * 100_000,
    ],
)
def test_rubbish_is_one_error(data: bytes) -> None:
    for decode in (codec.decode_announce_reply, codec.decode_scrape_reply):
        with pytest.raises(WireError):
            decode(data)


def test_an_answer_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(WireError, match="over"):
        codec.decode_announce_reply(b"d5:peers600000:" + bytes(600_000) + b"e")


# Any bytes

values = st.recursive(
    st.integers() | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(
                [
                    b"peers",
                    b"peers6",
                    b"interval",
                    b"files",
                    b"flags",
                    b"complete",
                    b"ip",
                    b"port",
                    b"failure reason",
                    b"retry in",
                    b"external ip",
                    b"warning message",
                    HASH,
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(st.binary(max_size=200) | values.map(bencode.encode))
def test_any_reply_parses_or_is_a_wire_error(data: bytes) -> None:
    for decode in (codec.decode_announce_reply, codec.decode_scrape_reply):
        try:
            reply = decode(data)
        except WireError:
            continue
        if isinstance(reply, m.AnnounceReply):
            assert m.INTERVAL_MIN_S <= reply.interval_s <= m.INTERVAL_MAX_S
            assert all(0 < port < 65536 for _, port in reply.peers)


@given(
    st.text(max_size=200)
    | st.lists(
        st.sampled_from(
            ["info_hash", "peer_id", "port", "left", "event", "numwant", "ip", "key"]
        ).flatmap(lambda name: st.text(max_size=25).map(lambda value: f"{name}={value}")),
        max_size=9,
    ).map("&".join)
)
def test_any_query_parses_or_is_a_wire_error(query: str) -> None:
    for decode in (codec.decode_announce, codec.decode_scrape):
        try:
            decode(query)
        except WireError:
            continue


@given(
    st.builds(
        m.AnnounceRequest,
        infohash=st.binary(min_size=20, max_size=20),
        peer_id=st.binary(min_size=20, max_size=20),
        port=st.integers(0, 65535),
        uploaded_bytes=st.integers(0, m.COUNT_MAX),
        downloaded_bytes=st.integers(0, m.COUNT_MAX),
        left_bytes=st.integers(0, m.COUNT_MAX),
        event=st.sampled_from(m.EVENTS),
        numwant=st.none() | st.integers(0, 500),
        compact=st.booleans(),
        no_peer_id=st.booleans(),
        key=st.binary(max_size=16),
        corrupt_bytes=st.integers(0, m.COUNT_MAX),
        ip=st.none() | st.ip_addresses(v=4).map(str),
        ipv4=st.none() | st.ip_addresses(v=4).map(str),
        tracker_id=st.none() | st.binary(max_size=50),
    )
)
def test_a_request_survives_the_wire(sent: m.AnnounceRequest) -> None:
    assert codec.decode_announce(codec.encode_announce(sent)) == sent
