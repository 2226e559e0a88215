"""Magnet links: BEP 9, 52, 53; then what is refused; then any text at all."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tests.content.torrents import hybrid, torrent

from needs import require_module
from spinney.content.descriptor import Descriptor
from spinney.content.magnet import MAX_SELECTED_FILES, Magnet, is_magnet, parse_magnet
from spinney.content.rules import RULES
from spinney.errors import DescriptorError

ONE, TWO = bytes(range(20)), bytes(range(32))
BTIH = f"magnet:?xt=urn:btih:{ONE.hex()}"


def test_infohashes_in_every_spelling() -> None:
    thirty_two = base64.b32encode(ONE).decode()
    for link in (
        BTIH,
        BTIH.upper().replace("MAGNET:?XT", "magnet:?xt"),
        f"magnet:?xt=urn:btih:{thirty_two}",
        f"magnet:?xt=urn:btih:{thirty_two.lower()}",
        f"  magnet:?dn=x&xt=urn:sha1:AAAA&xt.1=urn:btih:{ONE.hex()}\n",
        f"MAGNET:?xt=urn%3Abtih%3A{ONE.hex()}",
    ):
        assert parse_magnet(link).infohash_v1 == ONE
        assert parse_magnet(link).infohash == ONE.hex()
    two = parse_magnet(f"magnet:?xt=urn:btmh:1220{TWO.hex()}")
    assert (two.infohash_v1, two.infohash_v2, two.infohash) == (None, TWO, TWO.hex())
    both = parse_magnet(f"{BTIH}&xt=urn:btmh:1220{TWO.hex()}")
    assert both.swarm_hashes == (ONE, TWO[:20])


def test_everything_beside_it() -> None:
    magnet = parse_magnet(
        BTIH + "&dn=a+b%20%C3%A4&xl=5&tr=http%3A%2F%2Fa%2F%3Fx%3D1&tr.1=udp://b:1&tr=udp://b:1"
        "&ws=http://w/&x.pe=1.2.3.4:5&x.pe=[::1]:6&x.pe=host.example:7&so=4,0-2,6&xs=http://no/"
    )
    assert magnet == Magnet(
        infohash_v1=ONE,
        name="a b ä",
        length=5,
        trackers=("http://a/?x=1", "udp://b:1"),
        web_seeds=("http://w/",),
        peers=(("1.2.3.4", 5), ("::1", 6), ("host.example", 7)),
        select=(0, 1, 2, 4, 6),
    )
    assert parse_magnet(str(magnet)) == magnet
    assert "so=0-2,4,6" in str(magnet)


def test_the_link_of_a_descriptor() -> None:
    info, layers = hybrid({b"a": 40_000})
    descriptor = Descriptor.parse(torrent(info, layers, announce=b"http://t/announce"))
    magnet = Magnet.of(descriptor, [("198.18.0.1", 6881)])
    assert parse_magnet(str(magnet)) == magnet
    assert magnet.swarm_hashes == descriptor.swarm_hashes
    assert magnet.infohash == descriptor.infohash
    libtorrent = require_module("libtorrent")
    theirs = libtorrent.parse_magnet_uri(str(magnet))
    assert theirs.info_hashes.v1.to_bytes() == descriptor.infohash_v1
    assert theirs.info_hashes.v2.to_bytes() == descriptor.infohash_v2
    assert (theirs.name, theirs.trackers) == (descriptor.name, ["http://t/announce"])
    assert theirs.peers == [("198.18.0.1", 6881)]
    made = libtorrent.make_magnet_uri(
        libtorrent.torrent_info(libtorrent.bdecode(descriptor.encode()))
    )
    assert parse_magnet(made).swarm_hashes == descriptor.swarm_hashes


@pytest.mark.parametrize(
    ("link", "rule"),
    [
        ("", "magnet"),
        ("http://a/", "magnet"),
        ("magnet:xt=urn:btih:" + ONE.hex(), "magnet"),
        (BTIH + "&dn=" + "x" * 70_000, "magnet"),
        (BTIH + "&x=y" * 2_000, "magnet"),
        ("magnet:?", "magnet-topic"),
        ("magnet:?dn=x", "magnet-topic"),
        ("magnet:?xt=urn:sha1:" + ONE.hex(), "magnet-topic"),
        ("magnet:?xt=urn:btih:", "magnet-btih"),
        ("magnet:?xt=urn:btih:" + ONE.hex()[1:], "magnet-btih"),
        ("magnet:?xt=urn:btih:" + "g" * 40, "magnet-btih"),
        ("magnet:?xt=urn:btih:" + "1" * 32, "magnet-btih"),
        ("magnet:?xt=urn:btih:" + "٣" * 40, "magnet-btih"),
        ("magnet:?xt=urn:btmh:1220", "magnet-btmh"),
        ("magnet:?xt=urn:btmh:1114" + ONE.hex(), "magnet-btmh"),
        ("magnet:?xt=urn:btmh:1220" + TWO.hex() + "00", "magnet-btmh"),
        (f"{BTIH}&xt=urn:btih:{TWO[:20].hex()[::-1]}", "magnet-topics"),
        (f"{BTIH}&x.pe=1.2.3.4", "magnet-peer"),
        (f"{BTIH}&x.pe=1.2.3.4:0", "magnet-peer"),
        (f"{BTIH}&x.pe=1.2.3.4:65536", "magnet-peer"),
        (f"{BTIH}&x.pe=a b:1", "magnet-peer"),
        (f"{BTIH}&x.pe=[::1:5", "magnet-peer"),
        (f"{BTIH}&tr=http://a b/", "url"),
        (f"{BTIH}&tr=http://a/%0d%0aX:y", "url"),
        (f"{BTIH}&so=", "none"),
        (f"{BTIH}&so=a", "magnet-select"),
        (f"{BTIH}&so=3-1", "magnet-select"),
        (f"{BTIH}&so=0-99999999", "magnet-select"),
        (f"{BTIH}&so=0-{MAX_SELECTED_FILES}", "magnet-select"),
        (f"{BTIH}&so=0-60000&so=70000-130000", "magnet-select"),
        (f"{BTIH}&so=1,,2", "magnet-select"),
        (f"{BTIH}&so=-1", "magnet-select"),
    ],
)
def test_what_is_refused(link: str, rule: str) -> None:
    if rule == "none":  # An empty parameter says nothing.
        assert parse_magnet(link).select is None
        return
    with pytest.raises(DescriptorError) as refused:
        parse_magnet(link)
    assert refused.value.rule == rule
    assert len(str(refused.value)) < 400


def test_lists_are_bounded() -> None:
    peers = "".join(f"&x.pe=1.2.3.4:{port}" for port in range(1, 300))
    trackers = "".join(f"&tr=http://{number}/" for number in range(300))
    magnet = parse_magnet(BTIH + peers + trackers)
    assert (len(magnet.peers), len(magnet.trackers)) == (100, 100)


ADDRESSES = some.tuples(
    some.ip_addresses().map(str) | some.just("host.example"), some.integers(1, 65_535)
)
URLS = some.builds("http://{}/{}".format, some.text("ab.", min_size=1), some.text("ä&=?%#+/"))
MAGNETS = some.builds(
    Magnet,
    infohash_v1=some.binary(min_size=20, max_size=20),
    infohash_v2=some.none() | some.binary(min_size=32, max_size=32),
    name=some.none()
    | some.text(some.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    length=some.none() | some.integers(0, 10**17),
    trackers=some.lists(URLS, max_size=4, unique=True).map(tuple),
    web_seeds=some.lists(URLS, max_size=4, unique=True).map(tuple),
    peers=some.lists(ADDRESSES, max_size=4, unique=True).map(tuple),
    select=some.none()
    | some.sets(some.integers(0, 500), min_size=1).map(lambda chosen: tuple(sorted(chosen))),
)


@given(MAGNETS)
def test_every_link_reads_back(magnet: Magnet) -> None:
    assert parse_magnet(str(magnet)) == magnet


@given(some.text(max_size=60) | MAGNETS.map(str), some.text(max_size=5), some.integers(0, 200))
def test_any_text_parses_or_raises_the_one_error(text: str, new: str, at: int) -> None:
    for link in (text, "magnet:?" + text, text[:at] + new + text[at + 1 :]):
        try:
            magnet = parse_magnet(link)
        except DescriptorError as error:
            if error.rule not in RULES:
                raise AssertionError(error.rule) from error
            continue
        assert is_magnet(link.strip())
        assert parse_magnet(str(magnet)) == magnet
