"""The tracker's desk: one request in, one answer out; from BEP 3 to the page for people."""

from __future__ import annotations

import hashlib
import json
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinney.bittorrent.tracker import codec
from spinney.bittorrent.tracker import messages as m
from spinney.bittorrent.tracker.desk import Asker, Desk, endpoints_of
from spinney.bittorrent.tracker.settings import TrackerSettings, parse_allowed
from spinney.bittorrent.tracker.state import StateLimits, TrackerState
from spinney.errors import InputError
from spinney.net.address import unpack_compact
from spinney.net.host import Address
from spinney.wire import bencode
from spinney.wire.http_messages import HttpResponse

HASH = b"\x01" * 20


def desk(allowed: dict[bytes, str] | None = None, **settings: object) -> Desk:
    chosen = TrackerSettings(**settings)  # type: ignore[arg-type]
    return Desk(chosen, TrackerState(chosen.limits), random.Random(1), 0.0, allowed)


def query(n: int, **changes: object) -> str:
    fields: dict[str, object] = {
        "infohash": HASH,
        "peer_id": b"-SP0001-%012d" % n,
        "port": 6881,
        "left_bytes": 1,
        "key": b"k",
    }
    fields.update(changes)
    return codec.encode_announce(m.AnnounceRequest(**fields))  # type: ignore[arg-type]


def announce(at: Desk, n: int, remote: str, now: float = 0.0, **changes: object) -> bytes:
    answer = at.answer("GET", "/announce?" + query(n, **changes), remote, now)
    assert answer.status == 200
    return answer.body


def peers(body: bytes) -> tuple[Address, ...]:
    reply = codec.decode_announce_reply(body)
    assert isinstance(reply, m.AnnounceReply), reply
    return reply.peers


def refusal(body: bytes) -> m.Refusal:
    reply = codec.decode_announce_reply(body)
    assert isinstance(reply, m.Refusal), reply
    return reply


# The lecture's exchange


def test_the_lectures_announce_gets_the_lectures_reply() -> None:
    at = desk(interval_s=1800, interval_spread=0.0, numwant_max=50)
    infohash = bytes.fromhex("33820db6dd5e5928d23bc811bbac2f4ae94cb882")
    for n in range(1328 + 96):
        host = f"60.46.{n >> 8}.{n & 255}"
        announce(at, n, host, infohash=infohash, left_bytes=0 if n < 1328 else 9)
    slide = (
        "/announce?info_hash=3%82%0d%b6%dd%5eY%28%d2%3b%c8%11%bb%ac%2fJ%e9L%b8%82"
        "&peer_id=-UT1810-_1%02A%ba%d4%9a%0c%e8JBB&port=11541&uploaded=0&downloaded=0"
        "&left=732766208&corrupt=0&key=82D434AB&event=started&numwant=200&compact=1"
        "&no_peer_id=1&ipv6=192.168.1.2"
    )
    body = at.answer("GET", slide, "203.113.1.2", 1.0).body
    table = bencode.decode(body)
    assert table[b"complete"] == 1328
    assert table[b"incomplete"] == 97
    assert table[b"interval"] == 1800
    assert len(table[b"peers"]) == 300
    # Beside the slide's four keys ours has two more that clients of today use.
    assert sorted(table) == [
        b"complete",
        b"downloaded",
        b"incomplete",
        b"interval",
        b"min interval",
        b"peers",
    ]
    # 192.168.1.2 is what the client calls itself; others are told where it came from.
    everyone = peers(announce(at, 9999, "9.9.9.9", infohash=infohash, numwant=50, left_bytes=0))
    assert ("192.168.1.2", 11541) not in everyone
    assert at.state.torrents[infohash].leechers4.places.get(
        bytes([203, 113, 1, 2]) + (11541).to_bytes(2, "big")
    )


# BEP 3, 7, 23


def test_two_peers_learn_of_each_other_and_not_of_themselves() -> None:
    at = desk()
    assert peers(announce(at, 1, "192.0.2.1", event="started")) == ()
    assert peers(announce(at, 2, "192.0.2.2")) == (("192.0.2.1", 6881),)
    assert peers(announce(at, 1, "192.0.2.1")) == (("192.0.2.2", 6881),)
    assert peers(announce(at, 2, "192.0.2.2", event="stopped")) == ()
    assert peers(announce(at, 1, "192.0.2.1")) == ()


def test_both_families_are_in_one_reply() -> None:
    at = desk()
    announce(at, 1, "192.0.2.1")
    announce(at, 2, "2001:db8::2")
    table = bencode.decode(announce(at, 3, "192.0.2.3"))
    assert unpack_compact(table[b"peers"]) == [("192.0.2.1", 6881)]
    assert unpack_compact(table[b"peers6"], six=True) == [("2001:db8::2", 6881)]


def test_the_wordy_form_is_there_for_who_asks() -> None:
    at = desk()
    announce(at, 1, "192.0.2.1")
    table = bencode.decode(announce(at, 2, "192.0.2.2", compact=False, no_peer_id=False))
    assert table[b"peers"] == [
        {b"ip": b"192.0.2.1", b"peer id": b"-SP0001-%012d" % 1, b"port": 6881}
    ]
    table = bencode.decode(announce(at, 2, "192.0.2.2", compact=False))
    assert table[b"peers"] == [{b"ip": b"192.0.2.1", b"port": 6881}]


def test_numwant_is_obeyed_up_to_200() -> None:
    at = desk()
    for n in range(400):
        announce(at, n, f"198.51.{n >> 8}.{n & 255}")
    for wanted, told in ((None, 50), (0, 0), (7, 7), (200, 200), (10**9, 200)):
        assert len(peers(announce(at, 0, "198.51.0.0", numwant=wanted))) == told


def test_who_does_not_listen_is_told_of_others_and_not_handed_out() -> None:
    at = desk()
    announce(at, 1, "192.0.2.1")
    assert peers(announce(at, 2, "192.0.2.2", port=0)) == (("192.0.2.1", 6881),)
    assert peers(announce(at, 1, "192.0.2.1")) == ()


def test_intervals_spread_around_the_operators_choice() -> None:
    at = desk(interval_s=1000, interval_spread=0.1)
    said = []
    for _ in range(300):
        reply = codec.decode_announce_reply(announce(at, 1, "192.0.2.1"))
        assert isinstance(reply, m.AnnounceReply)
        said.append(reply.interval_s)
        assert reply.min_interval_s == 30
    assert 900 <= min(said) < 910
    assert 1090 < max(said) <= 1100


# Who may claim to be where


def where(remote: str, **claims: str) -> list[Address]:
    asked = m.AnnounceRequest(HASH, b"p" * 20, 5, **claims)  # type: ignore[arg-type]
    return [
        address
        for endpoint in endpoints_of(asked, Asker.at(remote))
        for address in unpack_compact(endpoint, six=len(endpoint) == 18)
    ]


def test_a_stranger_cannot_send_a_swarm_to_a_victim() -> None:
    for claim in ("ip", "ipv4", "ipv6"):
        assert where("8.8.8.8", **{claim: "9.9.9.9"}) == [("8.8.8.8", 5)]
        assert where("8.8.8.8", **{claim: "2a00::9"}) == [("8.8.8.8", 5)]
    assert where("2a00::8", ip="9.9.9.9") == [("2a00::8", 5)]


def test_a_neighbour_may_say_where_it_is() -> None:
    assert where("127.0.0.1", ip="8.8.8.8") == [("8.8.8.8", 5)]
    assert where("192.168.1.2", ipv6="2a00::9") == [("192.168.1.2", 5), ("2a00::9", 5)]
    assert where("::1", ipv4="192.168.1.2") == [("192.168.1.2", 5), ("::1", 5)]
    assert where("fe80::1%eth0") == [("fe80::1", 5)]
    # ... but not that it is everybody's own machine, or a group.
    assert where("192.168.1.2", ip="127.0.0.1") == [("192.168.1.2", 5)]
    assert where("192.168.1.2", ip="239.1.1.1") == [("192.168.1.2", 5)]


def test_loopback_addresses_are_told_on_this_machine_only() -> None:
    at = desk()
    announce(at, 1, "127.0.0.1")
    assert peers(announce(at, 2, "192.0.2.2")) == ()
    assert ("127.0.0.1", 6881) in peers(announce(at, 3, "127.0.0.1", port=7))


# Limits and refusals


@pytest.mark.parametrize(
    "target", ["/announce", "/announce?", "/announce?info_hash=x", "/scrape", "/scrape?info_hash=x"]
)
def test_a_wrong_request_is_told_why_in_bencode(target: str) -> None:
    at = desk()
    assert refusal(at.answer("GET", target, "192.0.2.1", 0.0).body).reason
    assert at.counts.refused == 1
    assert at.state.torrents == {}


def test_an_address_that_asks_too_often_waits_a_minute() -> None:
    at = desk(announces_per_minute=5)
    for _ in range(5):
        peers(announce(at, 1, "8.8.8.8", now=1.0))
    refused = refusal(announce(at, 1, "8.8.8.8", now=2.0))
    assert refused.retry_in_s == 60
    peers(announce(at, 1, "9.9.9.9", now=2.0))
    for _ in range(20):
        peers(announce(at, 1, "192.168.1.1", now=2.0))
    peers(announce(at, 1, "8.8.8.8", now=61.0))
    assert at.counts.limited == 1


def test_a_thousand_torrents_from_one_address_are_not_taken_in() -> None:
    at = desk(announces_per_minute=10_000, limits=StateLimits(entries_per_address=100))
    for n in range(1000):
        announce(at, n, "8.8.8.8", infohash=hashlib.sha1(b"%d" % n).digest())
    assert len(at.state.torrents) == 100
    assert at.counts.refused == 900


def test_only_allowed_torrents_where_there_is_a_list() -> None:
    at = desk(allowed={HASH: "ours"})
    peers(announce(at, 1, "192.0.2.1"))
    assert refusal(announce(at, 1, "192.0.2.1", infohash=b"\x02" * 20)).never
    assert len(at.state.torrents) == 1


def test_the_list_of_allowed_torrents() -> None:
    text = b"# ours\n\n" + b"01" * 20 + b"  The film\n" + b"0A" * 32 + b"\n"
    assert parse_allowed(text) == {HASH: "The film", b"\x0a" * 20: ""}
    for wrong in (b"xyz", b"01" * 19, b"01" * 20 + b"\nzz\n"):
        with pytest.raises(InputError, match="line"):
            parse_allowed(wrong)


# Scrape, page, figures


def test_a_scrape_counts_several_torrents_and_knows_no_list_of_all() -> None:
    at = desk()
    announce(at, 1, "192.0.2.1", left_bytes=0)
    announce(at, 2, "192.0.2.2", event="started")
    announce(at, 2, "192.0.2.2", left_bytes=0, event="completed")
    announce(at, 3, "192.0.2.3")
    unknown = b"\x09" * 20
    body = at.answer("GET", "/scrape?" + codec.encode_scrape([HASH, unknown]), "::1", 0.0).body
    reply = codec.decode_scrape_reply(body)
    assert isinstance(reply, m.ScrapeReply)
    assert reply.torrents == {HASH: m.ScrapeCounts(2, 1, 1)}
    assert "no list" in refusal(at.answer("GET", "/scrape", "::1", 0.0).body).reason


def headers(answer: HttpResponse) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in answer.headers}


def test_the_page_runs_no_script_and_loads_nothing() -> None:
    at = desk(allowed={HASH: "<img src=x onerror=alert(1)>"})
    announce(at, 1, "192.0.2.1")
    answer = at.answer("GET", "/", "192.0.2.1", 5.0)
    fields = headers(answer)
    assert answer.content_type == "text/html; charset=utf-8"
    assert "default-src 'none'" in fields["content-security-policy"]
    assert "script-src" not in fields["content-security-policy"]
    assert "frame-ancestors 'none'" in fields["content-security-policy"]
    assert fields["x-content-type-options"] == "nosniff"
    assert b"<img" not in answer.body
    assert b"&lt;img" in answer.body
    for word in (b"<script", b"src=", b"href=", b"http-equiv", b"onload"):
        assert word not in answer.body.replace(b"&lt;img src=x onerror=alert(1)&gt;", b"")


def test_figures_for_programs() -> None:
    at = desk()
    announce(at, 1, "192.0.2.1")
    answer = at.answer("GET", "/stats.json", "192.0.2.1", 61.0)
    assert answer.content_type == "application/json"
    figures = json.loads(answer.body)
    assert (figures["announces"], figures["peers"], figures["uptime_s"]) == (1, 1, 61)


def test_reloading_the_page_all_the_time_costs_one_page_a_second() -> None:
    at = desk()
    first = at.answer("GET", "/stats.json", "192.0.2.1", 10.0)
    announce(at, 1, "192.0.2.1")
    assert at.answer("GET", "/stats.json?x=2", "192.0.2.9", 10.9) is first
    assert json.loads(at.answer("GET", "/stats.json", "192.0.2.1", 11.0).body)["peers"] == 1
    page = at.answer("GET", "/", "192.0.2.1", 11.0)
    assert page.body.startswith(b"<!doctype html>")
    assert at.answer("HEAD", "/", "192.0.2.1", 11.5) is page


def test_other_paths_and_methods_are_told_so() -> None:
    at = desk()
    assert at.answer("GET", "/../etc/passwd", "::1", 0.0).status == 404
    assert at.answer("GET", "/favicon.ico", "::1", 0.0).status == 404
    answer = at.answer("POST", "/announce?" + query(1), "::1", 0.0)
    assert answer.status == 405
    assert headers(answer)["allow"] == "GET, HEAD"
    assert at.state.torrents == {}


@given(
    st.sampled_from(["/announce?", "/scrape?", "/", ""]),
    st.text(max_size=100) | st.just(query(1)) | st.binary(max_size=60).map(codec.escape),
    st.sampled_from(["8.8.8.8", "127.0.0.1", "2a00::1", "fe80::1%eth0"]),
)
def test_any_target_gets_an_answer(path: str, rest: str, remote: str) -> None:
    at = desk()
    answer = at.answer("GET", path + rest, remote, 0.0)
    assert answer.status in (200, 404)
    if path in ("/announce?", "/scrape?") and answer.status == 200:
        bencode.decode(answer.body)


def test_an_announce_costs_little_in_a_large_swarm() -> None:
    """Choosing 50 of 20,000 must not walk over 20,000.  Processor time; generous by ten times."""
    at = desk()
    for n in range(20_000):
        ask = m.AnnounceRequest(HASH, b"-SP0001-%012d" % n, 6881, key=b"k")
        at.state.announce(ask, (n.to_bytes(4, "big") + b"\x1a\xe1",), b"", 0.0)
    before = time.process_time()
    for n in range(1000):
        announce(at, n, "192.168.1.2", now=1.0)
    assert time.process_time() - before < 0.6
