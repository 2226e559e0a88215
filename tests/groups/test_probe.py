"""Measuring multicast between machines: the wire, the measurement, the words."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinney.errors import WireError
from spinney.groups.advice import advice, described
from spinney.groups.facts import Buffer, Card, Facts, Here, learn
from spinney.groups.ip import IpGroups
from spinney.groups.probe import (
    PAYLOAD_BYTES,
    TRAIN_MAX_BYTES,
    Link,
    Probe,
    Train,
    _train_count,
)
from spinney.groups.probe import PORT as PROBE_PORT
from spinney.groups.probe_wire import (
    CONTROL_MAX_BYTES,
    NAME_MAX_BYTES,
    OTHERS_MAX,
    Done,
    Echo,
    End,
    Go,
    Hello,
    Message,
    Result,
    decode,
    encode,
    header,
)
from spinney.net.host import Datagram, DatagramReceiver
from spinney.sim import Constant, SimHost, World
from spinney.sim import Link as Line
from spinney.sim.datagrams import SimDatagrams

ME, YOU = b"12345678", b"87654321"


# -- the wire


MESSAGES: list[Message] = [
    Hello(3, "böx", 6_782, (ME, YOU)),
    Hello(0, "", 0, ()),
    Echo(YOU, 7),
    Go(YOU),
    End(7_000),
    Result(YOU, 6_999, 1_000, 400, 3),
    Done(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_messages_survive_the_wire(message: Message) -> None:
    assert decode(encode(message, ME)) == (ME, message)


def test_control_datagrams_are_short() -> None:
    longest = Hello(0xFFFF_FFFF, "x" * 999, 65_535, (ME,) * 99)
    data = encode(longest, ME)
    assert len(data) <= CONTROL_MAX_BYTES
    _, found = decode(data)
    assert isinstance(found, Hello)
    assert (len(found.name), len(found.heard)) == (NAME_MAX_BYTES, OTHERS_MAX)


@given(st.binary(max_size=120), st.integers(0, 9))
def test_any_bytes_are_a_message_or_a_wire_error(body: bytes, kind: int) -> None:
    for data in (body, header(kind, ME) + body, header(kind, ME) + b"d" + body + b"e"):
        try:
            ident, message = decode(data)
        except WireError:
            continue
        assert decode(encode(message, ident)) == (ident, message)


# -- the measurement


class Deaf(SimDatagrams):
    """A socket behind a filter that lets no group in."""

    __slots__ = ()

    def join(self, group: str, interface: str | None = None, source: str | None = None) -> None: ...


class Street:
    """`size` machines on one simulated LAN, all running the measurement."""

    def __init__(self, size: int = 2, **line: Any) -> None:
        self.world = World(5)
        self.lan = self.world.lan("lan", link=Line(latency=Constant(0.001), **line))
        self.hosts = [self.world.host(f"h{n}", on=self.lan) for n in range(size)]

    def measured(
        self, *, sixes: tuple[bool, ...] = (False, True), named: bool = False, start_s: float = 0.7
    ) -> list[list[Link]]:
        """What each found; each starts `start_s` after the one before."""

        async def one(n: int, host: SimHost) -> list[Link]:
            await asyncio.sleep(n * start_s)
            families = [IpGroups(host, six=six) for six in sixes]
            others = [(other.address, PROBE_PORT) for other in self.hosts if other is not host]
            probe = Probe(
                host,
                families,
                others=others if named else (),
                rate_bytes_per_s=500_000,
                train_s=0.5,
            )
            return await probe.run(8.0)

        async def all_of_them() -> list[list[Link]]:
            tasks = [asyncio.ensure_future(one(n, host)) for n, host in enumerate(self.hosts)]
            return [await task for task in tasks]

        found = self.world.run(all_of_them())
        self.world.close()
        return found

    def deafen(self, host: SimHost, port: int) -> None:
        """A filter: what is sent to groups on this port does not come in."""
        keep = host.open_datagrams

        async def opened(receiver: Any, local: Any, *options: Any) -> Any:
            made = await keep(receiver, local, *options)
            if made.local_address[1] == port:
                made.__class__ = Deaf
            return made

        host.open_datagrams = opened  # type: ignore[method-assign]


def test_two_machines_measure_both_ways_over_both_families() -> None:
    street = Street()
    found = street.measured()
    count = 500_000 // 2 // PAYLOAD_BYTES
    for links in found:
        assert [link.family for link in links] == [4, 6]
        for link in links:
            assert link.heard
            assert link.hears_us
            assert link.round_trip_s == pytest.approx(0.002, abs=0.001)
            for train in (link.there, link.back):
                assert train is not None
                assert (train.sent, train.received, train.overflowed) == (count, count, 0)
                assert train.rate_bytes_per_s == pytest.approx(500_000, rel=0.1)
    assert [links[0].name for links in found] == ["h1", "h0"]


def test_loss_is_seen_on_both_sides() -> None:
    for links in Street(loss=0.2).measured():
        for train in (each for link in links for each in (link.there, link.back)):
            assert train is not None
            assert 0.08 < train.loss < 0.35


def test_three_machines_take_turns() -> None:
    found = Street(3).measured(sixes=(False,))
    assert [len(links) for links in found] == [2, 2, 2]
    for link in (link for links in found for link in links):
        assert link.there is not None
        assert link.back is not None
        assert link.there.loss == link.back.loss == 0


def test_alone_it_waits_as_long_as_it_was_told() -> None:
    street = Street(1)
    assert street.measured() == [[]]
    assert street.world.loop.now == pytest.approx(8.0, abs=1.0)


def test_one_way_only() -> None:
    street = Street()
    street.deafen(street.hosts[1], 6_780)
    near, far = street.measured(sixes=(False,), named=True)
    assert near[0].heard
    assert not near[0].hears_us
    assert not far[0].heard
    assert far[0].hears_us
    assert near[0].there is None, "nobody heard it, so no train was sent"
    assert near[0].back is not None
    assert near[0].back.received == near[0].back.sent > 0


def test_a_network_that_does_not_multicast() -> None:
    street = Street()
    for host in street.hosts:
        street.deafen(host, 6_780)
    for links in street.measured(sixes=(False,), named=True):
        assert [(link.heard, link.hears_us) for link in links] == [(False, False)]
        assert all(link.there is link.back is None for link in links)
    # Without being named they cannot know of each other.
    street = Street()
    for host in street.hosts:
        street.deafen(host, 6_780)
    assert street.measured(sixes=(False,)) == [[], []]


@pytest.mark.parametrize("dies_s", [2.0, 3.0, 4.5])
def test_it_ends_when_the_other_machine_vanishes(dies_s: float) -> None:
    street = Street()
    street.world.loop.call_later(dies_s, street.hosts[1].crash)

    async def one() -> float:
        host = street.hosts[0]
        probe = Probe(host, [IpGroups(host)], rate_bytes_per_s=500_000)
        other = Probe(street.hosts[1], [IpGroups(street.hosts[1])], rate_bytes_per_s=500_000)
        task = asyncio.ensure_future(other.run(8.0))
        await probe.run(8.0)
        task.cancel()
        return host.time()

    assert street.world.run(one()) < 25.0
    street.world.close()


def test_a_train_is_bounded() -> None:
    for rate, seconds in ((10**12, 99.0), (10**12, 1.0), (10_000_000, 99.0)):
        assert _train_count(rate, seconds) * PAYLOAD_BYTES <= TRAIN_MAX_BYTES
    assert _train_count(1, 0.001) == 1


class Silent(DatagramReceiver):
    def __init__(self) -> None:
        self.count = 0

    def datagrams_received(self, batch: list[Datagram]) -> None:
        self.count += len(batch)


def test_what_comes_from_far_away_starts_no_conversation() -> None:
    """Security: a greeting with a forged source must not have us write to that address."""
    world = World(5)
    lan = world.lan("lan", prefix4="20.1.1.0/24")
    host = world.host("h", on=lan)
    stranger = world.host("stranger", on=lan)

    async def check() -> None:
        ear = Silent()
        mouth = await stranger.open_datagrams(ear, (stranger.address, 0))
        probe = Probe(host, [IpGroups(host)])
        task = asyncio.ensure_future(probe.run(3.0))
        for number in range(5):
            await asyncio.sleep(0.2)
            hello = Hello(number, "stranger", mouth.local_address[1], ())
            mouth.send(encode(hello, YOU), (host.address, PROBE_PORT))
        assert await task == []
        assert ear.count == 0

    world.run(check())
    world.close()


def test_it_takes_notice_of_so_many_only() -> None:
    world = World(5)
    lan = world.lan("lan")
    host, crowd = world.host("h", on=lan), world.host("crowd", on=lan)

    async def check() -> None:
        mouth = await crowd.open_datagrams(DatagramReceiver(), (crowd.address, 0))
        probe = Probe(host, [IpGroups(host)])
        task = asyncio.ensure_future(probe.run(0.5))
        await asyncio.sleep(0.2)
        for n in range(50):
            hello = Hello(1, f"c{n}", 9, ())
            mouth.send(encode(hello, n.to_bytes(8, "big")), (host.address, PROBE_PORT))
        await asyncio.sleep(0.2)
        assert len(probe.lanes[0].links) == OTHERS_MAX
        task.cancel()

    world.run(check())
    world.close()


# -- the words


WIRED = Card("eth0", ("192.0.2.5",), 1_500, True, True, False, True, False)
RADIO = Card("wlan0", ("192.0.2.6",), 1_500, True, True, True, True, False)
GOOD = Facts("box", (WIRED,), Buffer(4 << 20, 3_640, 4 << 20), (Here(4, True, True, ""),))


def train(received: int, overflowed: int = 0) -> Train:
    return Train(1_000, received, 0.1, True, overflowed)


def link(**changes: Any) -> Link:
    good = Link(4, "other", ("192.0.2.7", 1), True, True, 0.001, train(1_000), train(1_000))
    for key, value in changes.items():
        setattr(good, key, value)
    return good


CASES: list[tuple[Facts, list[Link], str]] = [
    (GOOD, [], ""),
    (GOOD, [link()], ""),
    (GOOD, [link(heard=False, hears_us=False)], "querier"),
    (GOOD, [link(heard=False)], "this firewall"),
    (GOOD, [link(hears_us=False)], "through there"),
    (GOOD, [link(there=train(900))], "lower --rate"),
    (GOOD, [link(back=train(900, 90))], "larger buffer"),
    (GOOD, [link(round_trip_s=0.2)], "power-saving"),
    (Facts("box", (), GOOD.buffer, GOOD.here), [], "No interface"),
    (Facts("box", (RADIO,), GOOD.buffer, GOOD.here), [], "Wi-Fi"),
    (Facts("box", (WIRED,), Buffer(4 << 20, 92, 212_992), GOOD.here), [], "net.core.rmem_max"),
    (Facts("box", (WIRED,), GOOD.buffer, (Here(4, False, False, ""),)), [], "nft list"),
    (Facts("box", (Card("eth0", ("192.0.2.5",), 1_400, True, True, False, True, False),),
           GOOD.buffer, GOOD.here), [], "MTU"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "links", "word"), CASES, ids=[case[2] for case in CASES])
def test_advice(facts: Facts, links: list[Link], word: str) -> None:
    rows = advice(facts, links)
    if word:
        assert word in " ".join(rows)
        assert len(rows) == 1
    else:
        assert rows == []
    text = described(facts, links)
    assert text
    assert all("\n" not in line for line in text)


def test_the_facts_of_a_simulated_machine() -> None:
    world = World(1)
    host = world.host("h", on=world.lan("lan"))
    facts = world.run(learn(host))
    assert [(card.name, card.four, card.six) for card in facts.cards] == [("eth0", True, True)]
    assert [(here.family, here.works) for here in facts.here] == [(4, True), (6, True)]
    assert facts.buffer.limit_bytes is None
    world.close()
