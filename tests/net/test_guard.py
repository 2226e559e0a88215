"""The guard of outgoing addresses: a table of URLs, redirects, a rebinding resolver, peers."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinney.errors import ForbiddenAddressError, ResolveError
from spinney.net.guard import (
    Purpose,
    Reach,
    allowed,
    may_dial,
    parse_target,
    reach_of,
    resolve_target,
)
from spinney.net.host import Address

NAMES = {
    "tracker.example": ["93.184.216.34"],
    "six.example": ["2001:4860:4860::8888"],
    "home.example": ["192.168.1.1"],
    "self.example": ["127.0.0.1"],
    "localhost": ["::1", "127.0.0.1"],
    "both.example": ["127.0.0.1", "93.184.216.34", "10.0.0.1"],
    "group.example": ["239.1.2.3"],
    # What getaddrinfo makes of numbers in disguise.
    "2130706433": ["127.0.0.1"],
    "0x7f.1": ["127.0.0.1"],
    "127.1": ["127.0.0.1"],
    "0177.0.0.1": ["127.0.0.1"],
    "10.1": ["10.0.0.1"],
}


class Names:
    """The resolving part of a `Host`: a table, or a name that answers anew each time."""

    def __init__(self, table: dict[str, list[str]] | None = None) -> None:
        self.table = NAMES if table is None else table
        self.asked: list[str] = []

    async def resolve(self, name: str, port: int, *, family: Literal[0, 4, 6] = 0) -> list[Address]:
        self.asked.append(name)
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name)
            return [(name, port)]
        if name not in self.table:
            raise ResolveError(f"the name {name} does not resolve")
        return [(host, port) for host in self.table[name]]


def go(url: str, purpose: Purpose, **options: Any) -> list[str]:
    """The hosts that may be dialled; empty if none."""
    host: Any = Names()
    try:
        _, addresses = asyncio.run(resolve_target(host, url, purpose, **options))
    except ForbiddenAddressError:
        return []
    return [address[0] for address in addresses]


# url, purpose, hosts that may be dialled
TABLE: list[tuple[str, Purpose, list[str]]] = [
    # Plain ones
    ("http://tracker.example/announce", "tracker", ["93.184.216.34"]),
    ("https://tracker.example:8443/any/path?key=1", "tracker", ["93.184.216.34"]),
    ("udp://tracker.example:6969", "tracker", ["93.184.216.34"]),
    ("udp://tracker.example:6969/announce", "tracker", ["93.184.216.34"]),
    ("http://six.example/announce", "tracker", ["2001:4860:4860::8888"]),
    ("http://[2001:4860:4860::8888]:80/announce", "tracker", ["2001:4860:4860::8888"]),
    ("http://8.8.8.8:6969/announce", "tracker", ["8.8.8.8"]),
    ("HTTP://TRACKER.example/announce", "tracker", ["93.184.216.34"]),
    ("http://tracker.example/file?x=1", "web-seed", ["93.184.216.34"]),
    ("https://tracker.example/x.torrent", "descriptor", ["93.184.216.34"]),
    # Schemes
    ("ftp://tracker.example/announce", "tracker", []),
    ("file:///etc/passwd", "tracker", []),
    ("file:///etc/passwd", "web-seed", []),
    ("gopher://tracker.example:70/announce", "tracker", []),
    ("udp://tracker.example:6969/file", "web-seed", []),
    ("udp://tracker.example:6969/x.torrent", "descriptor", []),
    ("javascript:alert(1)", "web-seed", []),
    ("wss://tracker.example/announce", "tracker", []),
    ("//tracker.example/announce", "tracker", []),
    ("tracker.example/announce", "tracker", []),
    ("", "tracker", []),
    # No host, no port, nonsense
    ("http:///announce", "tracker", []),
    ("http://:80/announce", "tracker", []),
    ("udp://tracker.example/announce", "tracker", []),
    ("http://tracker.example:0/announce", "tracker", []),
    ("http://tracker.example:65536/announce", "tracker", []),
    ("http://tracker.example:x/announce", "tracker", []),
    ("http://[::1/announce", "tracker", []),
    ("http://user@tracker.example/announce", "tracker", []),
    ("http://tracker.example@127.0.0.1/announce", "tracker", []),
    ("http://tracker.example\\@127.0.0.1/announce", "tracker", []),
    ("http://tracker.example/a\r\nHost: x", "tracker", []),
    ("http://tracker.example/a\x00", "web-seed", []),
    ("http://tracker .example/announce", "tracker", []),
    ("http://tracker.example/" + "a" * 5_000, "tracker", []),
    # This machine
    ("http://127.0.0.1:6969/announce", "tracker", ["127.0.0.1"]),
    ("http://localhost:6969/announce", "tracker", ["::1", "127.0.0.1"]),
    ("udp://127.0.0.1:6969/announce", "tracker", ["127.0.0.1"]),
    ("http://[::1]:6969/announce", "tracker", ["::1"]),
    ("http://127.0.0.1:6969/scrape", "scrape", ["127.0.0.1"]),
    ("http://127.0.0.1:6969/announce", "scrape", []),
    ("http://127.0.0.1:6969/scrape", "tracker", []),
    ("http://127.0.0.1:9091/transmission/rpc", "tracker", []),
    ("http://127.0.0.1:8080/", "tracker", []),
    ("http://127.0.0.1:8080/announce/../api", "tracker", []),
    ("http://127.0.0.1:8080/announce?method=torrent-remove", "tracker", []),
    ("http://127.0.0.1:8080/announcements", "tracker", []),
    ("udp://127.0.0.1:53", "tracker", []),
    ("http://self.example/admin", "tracker", []),
    ("http://2130706433/admin", "tracker", []),
    ("http://0x7f.1/admin", "tracker", []),
    ("http://127.1/admin", "tracker", []),
    ("http://0177.0.0.1/admin", "tracker", []),
    ("http://[::ffff:127.0.0.1]/admin", "tracker", []),
    ("http://[::127.0.0.1]/admin", "tracker", []),
    ("http://[64:ff9b::7f00:1]/admin", "tracker", []),
    ("http://[2002:7f00:1::]/admin", "tracker", []),
    ("http://127.0.0.1:8080/file", "web-seed", []),
    ("http://localhost/file", "web-seed", []),
    ("http://[::1]/file", "web-seed", []),
    ("http://127.0.0.1/x.torrent", "descriptor", []),
    # The own network
    ("http://192.168.1.1:6969/announce", "tracker", ["192.168.1.1"]),
    ("http://192.168.1.1/cgi-bin/announce", "tracker", ["192.168.1.1"]),
    ("http://10.1/announce", "tracker", ["10.0.0.1"]),
    ("http://home.example/file", "web-seed", ["192.168.1.1"]),
    ("http://home.example/reboot?now=1", "web-seed", []),
    ("http://10.0.0.1/reboot?now=1", "web-seed", []),
    ("http://[fd00::1]/reboot?now=1", "web-seed", []),
    ("http://100.64.0.1/reboot?now=1", "web-seed", []),
    ("http://[::ffff:10.0.0.1]/reboot?now=1", "web-seed", []),
    ("http://169.254.169.254/latest/meta-data", "web-seed", []),
    ("http://169.254.169.254/announce", "tracker", []),
    ("http://[fe80::1]/announce", "tracker", []),
    # A name with several answers: only what may be dialled is left
    ("http://both.example/announce.php", "tracker", ["93.184.216.34", "10.0.0.1"]),
    ("http://both.example/file?x=1", "web-seed", ["93.184.216.34"]),
    # Nothing to connect to
    ("http://0.0.0.0:6969/announce", "tracker", []),
    ("http://[::]:6969/announce", "tracker", []),
    ("http://255.255.255.255/announce", "tracker", []),
    ("udp://224.0.0.1:6969/announce", "tracker", []),
    ("udp://group.example:6969/announce", "tracker", []),
    ("http://240.0.0.1/announce", "tracker", []),
    ("http://[ff02::1]/announce", "tracker", []),
]


@pytest.mark.parametrize(("url", "purpose", "expected"), TABLE)
def test_where_a_strangers_url_leads(url: str, purpose: Purpose, expected: list[str]) -> None:
    assert go(url, purpose) == expected


def test_the_table_has_the_60_urls_that_the_plan_asks_for() -> None:
    assert len({(url, purpose) for url, purpose, _ in TABLE}) >= 60


@pytest.mark.parametrize(
    ("url", "purpose"),
    [
        ("http://127.0.0.1:8080/any?x=1", "web-seed"),
        ("http://127.0.0.1:8080/tracker?x=1", "tracker"),
        ("http://127.0.0.1:8080/x.torrent", "descriptor"),
        ("http://169.254.1.1/x.torrent", "descriptor"),
        ("http://home.example/file?x=1", "web-seed"),
    ],
)
def test_what_the_user_typed_may_lead_inside(url: str, purpose: Purpose) -> None:
    assert go(url, purpose) == []
    assert go(url, purpose, by_user=True)


def test_even_the_user_connects_to_no_group_and_by_no_other_scheme() -> None:
    assert go("udp://224.0.0.1:6969/announce", "tracker", by_user=True) == []
    assert go("file:///etc/passwd", "descriptor", by_user=True) == []


@pytest.mark.parametrize(
    ("before", "url", "passes"),
    [
        ("93.184.216.34", "http://tracker.example/announce", True),
        ("93.184.216.34", "http://192.168.1.1/announce", False),
        ("93.184.216.34", "http://127.0.0.1/announce", False),
        ("93.184.216.34", "http://self.example/announce", False),
        ("93.184.216.34", "http://[::ffff:192.168.1.1]/announce", False),
        ("192.168.1.9", "http://192.168.1.1/announce", True),
        ("192.168.1.9", "http://127.0.0.1/announce", False),
        ("192.168.1.9", "http://tracker.example/announce", True),
        ("127.0.0.1", "http://127.0.0.1/announce", True),
        ("127.0.0.1", "http://192.168.1.1/announce", True),
    ],
)
@pytest.mark.parametrize("by_user", [False, True])
def test_a_redirect_never_leads_inwards(before: str, url: str, passes: bool, by_user: bool) -> None:
    hosts = go(url, "tracker", by_user=by_user, redirected_from=reach_of(before))
    assert bool(hosts) is passes


def test_a_name_that_rebinds_is_resolved_once_and_what_was_judged_is_what_is_dialled() -> None:
    class Rebinding(Names):
        async def resolve(
            self, name: str, port: int, *, family: Literal[0, 4, 6] = 0
        ) -> list[Address]:
            self.asked.append(name)
            return [("93.184.216.34" if len(self.asked) == 1 else "127.0.0.1", port)]

    host: Any = Rebinding()
    _, addresses = asyncio.run(resolve_target(host, "http://rebind.example/admin", "tracker"))
    assert addresses == [("93.184.216.34", 80)]
    assert host.asked == ["rebind.example"]
    with pytest.raises(ForbiddenAddressError, match="this machine itself"):
        asyncio.run(resolve_target(host, "http://rebind.example/admin", "tracker"))


def test_a_refusal_says_where_and_why_in_one_sentence() -> None:
    target = parse_target("http://self.example:8080/admin", "tracker")
    with pytest.raises(ForbiddenAddressError) as caught:
        allowed(target, [("127.0.0.1", 8080)], "tracker")
    assert str(caught.value) == (
        "not going to self.example:8080: 127.0.0.1:8080 is this machine itself, "
        "where a tracker is at /announce only"
    )


def test_a_target_is_taken_apart_for_the_http_client() -> None:
    target = parse_target("https://Example.ORG:8443/a/b?c=d&e", "tracker")
    assert (target.scheme, target.host, target.port) == ("https", "example.org", 8443)
    assert target.request_target == "/a/b?c=d&e"
    assert parse_target("http://example.org", "tracker").request_target == "/"


PRIVATE, LOOPBACK, PUBLIC = ("192.168.1.7", 6881), ("127.0.0.1", 6881), ("8.8.8.8", 6881)


@pytest.mark.parametrize(
    ("address", "source", "passes"),
    [
        (PUBLIC, "pex:8.8.4.4", True),
        (PUBLIC, "dht", True),
        (PUBLIC, "whatever", True),
        (PRIVATE, "link", True),
        (PRIVATE, "user", True),
        (PRIVATE, "lan", True),
        (PRIVATE, "lan:192.168.1.7", True),
        (PRIVATE, "incoming", True),
        (PRIVATE, "dht", False),
        (PRIVATE, "dht:192.168.1.1", True),
        (PRIVATE, "pex", False),
        (PRIVATE, "pex:8.8.4.4", False),
        (PRIVATE, "pex:10.0.0.9", True),
        (PRIVATE, "pex:10.0.0.9:6881", True),
        (PRIVATE, "pex:[fd00::9]:6881", True),
        (PRIVATE, "pex:fd00::9", True),
        (PRIVATE, "pex:127.0.0.1", True),
        (PRIVATE, "tracker", False),
        (PRIVATE, "tracker:93.184.216.34", False),
        (PRIVATE, "tracker:192.168.1.2:6969", True),
        (PRIVATE, "tracker:http://192.168.1.2:6969/announce", True),
        (PRIVATE, "tracker:http://tracker.example/192.168.1.2", False),
        (PRIVATE, "tracker:http://8.8.8.8:6969/announce", False),
        (("fe80::7%eth0", 6881), "pex:8.8.4.4", False),
        (("::ffff:10.0.0.7", 6881), "pex:8.8.4.4", False),
        (LOOPBACK, "link", True),
        (LOOPBACK, "lan", True),
        (LOOPBACK, "tracker:127.0.0.1:6969", True),
        (LOOPBACK, "tracker:http://[::1]:6969/announce", True),
        (LOOPBACK, "pex:127.0.0.2", True),
        (LOOPBACK, "pex:192.168.1.7", False),
        (LOOPBACK, "tracker:192.168.1.2", False),
        (LOOPBACK, "pex:8.8.4.4", False),
        (("224.0.0.1", 6881), "link", False),
        (("0.0.0.0", 6881), "link", False),
        (("8.8.8.8", 0), "link", False),
        (("no address", 6881), "link", False),
    ],
)
def test_at_whose_word_a_peer_is_dialled(address: Address, source: str, passes: bool) -> None:
    assert may_dial(address, source) is passes


@given(st.text(max_size=60) | st.from_regex(r"(http|udp)s?://.{0,40}", fullmatch=True))
def test_any_text_is_a_target_or_the_one_error(url: str) -> None:
    for purpose in ("tracker", "web-seed"):
        try:
            target = parse_target(url, purpose)
        except ForbiddenAddressError:
            continue
        assert target.scheme in ("http", "https", "udp")
        assert target.host
        assert 0 < target.port < 65536
        assert not set("\r\n\0") & set(target.request_target)


@given(st.integers(0, 2**32 - 1))
def test_an_address_in_ipv6_clothes_reaches_no_further_in(number: int) -> None:
    plain = str(ipaddress.IPv4Address(number))
    for clothes in (f"::ffff:{plain}", str(ipaddress.IPv6Address((0x64FF9B << 96) | number))):
        assert reach_of(clothes) is reach_of(plain)


def test_reach_orders_addresses_from_inside_out() -> None:
    rows = ["nothing", "127.0.0.1", "10.0.0.1", "8.8.8.8"]
    assert [reach_of(host) for host in rows] == sorted(Reach)
    rng = random.Random(1)
    for _ in range(1_000):
        assert reach_of(f"10.{rng.randrange(256)}.0.1") is Reach.PRIVATE
