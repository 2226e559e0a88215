"""Adversaries on the wire: one clear error for each, and the forest stays whole."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest
from tests.p2pcast.strangers import Stranger, stands
from tests.p2pcast.viewers import PORT, Audience, play

from spinney.errors import CallError
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.asking import Asking
from spinney.p2pcast.attaching import with_child, with_parent
from spinney.p2pcast.book import Book
from spinney.p2pcast.place import NOBODY, SOURCE, Name, Place, Sight, empty_place
from spinney.p2pcast.seat import Seat
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.transactions import Lock
from spinney.p2pcast.trust.papers import LIES_S, NO_TICKETS_S
from spinney.p2pcast.trust.rights import MOST_ORDERS, Orders, check_order
from spinney.p2pcast.trust.signing import (
    FORGED,
    LATE,
    NOT_YOURS,
    REPLAYED,
    UNSIGNED,
)
from spinney.p2pcast.viewer import Viewer
from spinney.trust.keys import Keys
from spinney.wire.krpc_messages import Arguments, Query

SEEDS = (1, 2, *(pytest.param(seed, marks=pytest.mark.night) for seed in range(3, 9)))


def told(audience: Audience) -> dict[Name, Place]:
    return dict(audience.places())


# -- forged ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_forged_calls_change_nothing(seed: int) -> None:
    async def story(audience: Audience) -> None:
        await stands(audience)
        stranger = Stranger(audience)
        victim = audience.inner()[0]
        place = audience.viewers[victim].node.place
        child = next(child for _, child in place.edges() if child in audience.viewers)
        lock = Lock(b"12345678", place.version, without(place), SOURCE)
        mine = replace(lock, coordinator=stranger.signer.name)
        here = codec.pack_here(m.Here(child, victim, 0, 0, 1))
        take = codec.pack_take_on(m.TakeOn(victim, child, place.stripe, 0, 0))
        order = codec.pack_lock(m.LockCall(victim, mine))
        beat = codec.pack_beat(m.Beat(0, 1 << 30, place.parents[0], 0, 1, gone=True))
        direct, update = b"p2pcast.direct", b"p2pcast.update"
        before = told(audience)
        codes = await stranger.say(
            [
                (victim, direct, {b"b": order, b"s": stranger.tag}),
                (victim, direct, stranger.signed(b"p2pcast.hold", order)),
                (victim, direct, stranger.signed(direct, order)),
                (
                    victim,
                    direct,
                    stranger.signed(direct, codec.pack_lock(m.LockCall(victim, lock))),
                ),
                (victim, b"p2pcast.here", stranger.signed(b"p2pcast.here", here)),
                (victim, b"p2pcast.takeon", stranger.signed(b"p2pcast.takeon", take, o=1)),
                (victim, update, {b"b": beat, b"s": stranger.tag}),
            ]
        )
        assert codes == [UNSIGNED, FORGED, *[NOT_YOURS] * 5]
        assert told(audience) == before
        await audience.whole(0.0)

    play(story, seed)


def without(place: Place) -> Place:
    """The same place without children, one version later."""
    return replace(place, children=((),) * len(place.parents), version=place.version + 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_replayed_calls_are_refused(seed: int) -> None:
    """All that a peer was told while others fell and came, said again from elsewhere."""

    async def story(audience: Audience) -> None:
        await stands(audience)
        victim = audience.inner()[0]
        krpc = audience.viewers[victim].node.station.krpc
        handler, amplification = krpc._handlers[b"p2pcast"]
        heard: list[tuple[Name, bytes, Arguments]] = []

        def listens(query: Query) -> Arguments | None:
            if b"z" in query.arguments:
                heard.append((victim, query.method, query.arguments))
            return handler(query)

        krpc.serve(b"p2pcast", listens, amplification=amplification)
        audience.fall(next(name for name in audience.inner() if name != victim))
        await audience.come()
        await audience.whole(10.0)
        krpc.serve(b"p2pcast", handler, amplification=amplification)
        methods = Counter(method for _, method, _ in heard)
        assert methods[b"p2pcast.here"] > 3
        assert methods[b"p2pcast.ticket"]
        rows = heard[-60:]
        codes = Counter(await Stranger(audience).say(rows))
        assert set(codes) <= {REPLAYED, LATE, NOT_YOURS}
        assert codes[REPLAYED] > 3
        await audience.whole(5.0)

    play(story, seed)


# -- lies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_who_lies_about_its_depth_is_left(seed: int) -> None:
    async def story(audience: Audience) -> None:
        await stands(audience, 14)
        nodes = {name: viewer.node for name, viewer in audience.viewers.items()}

        def deep(name: Name) -> int:
            place = nodes[name].place
            return nodes[name].seat.limbs[place.stripe].depth if place.out_degree else -1

        liar = max(nodes, key=deep)
        assert deep(liar) >= 1
        seat, said = nodes[liar].seat, nodes[liar].seat._said
        seat._said = lambda tree: replace(said(tree), depth=-1)  # type: ignore[method-assign]
        seat._beats = [None] * len(seat._beats)
        children = [child for _, child in seat.place.edges() if child in nodes]
        await asyncio.sleep(LIES_S + 6.0)
        for child in children:
            assert liar not in nodes[child].place.parents
            assert nodes[child].station.counts["distrusted: lies about its depth"] == 1
        honest = [name for name in nodes if name != liar]
        assert not any(
            nodes[name].station.distrusts(other) for name in honest for other in honest
        ), "who was lied to passes the truth on"

    play(story, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fake_island_keeps_nobody(seed: int) -> None:
    """Somebody without a place says that it has one, takes a child and sends it beats."""

    async def story(audience: Audience) -> None:
        await stands(audience)
        host = audience.world.host("island", ["21.9.9.9"])
        island = Viewer(host, audience.link, keys=Keys(b"\x09" * 32))
        victim = audience.viewers[sorted(audience.viewers)[0]].node
        tree = next(tree for tree in range(4) if tree != victim.place.stripe)

        async def rises() -> None:
            await island.open((host.address, PORT))
            node = island.node
            fake = replace(
                empty_place(node.name, 4, spare=1),
                stripe=tree,
                parents=(SOURCE,) * 4,
                version=1,
            )
            assert node.station.guard is not None
            node.station.guard.papers.tick = _nothing  # type: ignore[method-assign]
            node.seat.take(with_child(fake, tree, victim.name), host.time())
            node.station.book.learn({victim.name: (audience.hosts[victim.name].address, PORT)})
            for _ in range(200):
                for limb in node.seat.limbs:
                    limb.sequence = audience.broadcast.source._sequence + 100_000
                    limb.fresh = limb.heard = host.time()
                node.station.pass_on(node.seat, tree)
                await asyncio.sleep(0.2)

        raised = host.start(rises())
        await asyncio.sleep(0.5)
        name = island.node.name
        victim.station.book.learn({name: (host.address, PORT)})
        victim.station.take(victim.seat, with_parent(victim.place, tree, name))
        await asyncio.sleep(3.0)
        assert victim.place.parents[tree] == name, "its beats are believed until then"
        await asyncio.sleep(NO_TICKETS_S)
        assert victim.place.parents[tree] not in (name, NOBODY)
        assert victim.station.distrusts(name)
        assert victim.station.counts["distrusted: no tickets"] == 1
        await asyncio.sleep(10.0)
        assert name not in victim.place.parents
        raised.cancel()
        island.close()

    play(story, seed)


def _nothing(now: float) -> None:
    return None


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_who_takes_and_does_not_serve_is_left_and_not_asked_again(seed: int) -> None:
    async def story(audience: Audience) -> None:
        await stands(audience)
        name = audience.inner()[0]
        nodes = {each: viewer.node for each, viewer in audience.viewers.items()}
        station, seat = nodes[name].station, nodes[name].seat
        children = [child for _, child in seat.place.edges() if child in nodes]
        pass_on = station.pass_on

        def idles(seat: object, tree: int, *, idle: bool = False) -> None:
            pass_on(nodes[name].seat, tree, idle=True)

        station.pass_on = idles  # type: ignore[method-assign, assignment]
        await asyncio.sleep(14.0)
        for child in children:
            assert nodes[child].place.parents[seat.place.stripe] != name
        assert any(nodes[child].station.counts["avoided"] for child in children)
        await asyncio.sleep(18.0)
        watched = [audience.broadcast.source.station, *(nodes[child].station for child in children)]
        assert any(each.counts["distrusted: kept it back"] for each in watched)
        refused = nodes.keys() - set(audience.broadcast.source.peers)
        assert refused == {name}, "it alone is no longer handed out"
        assert not audience.broadcast.registry.desk.counts["false accusations"]

    play(story, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_false_death_is_not_believed(seed: int) -> None:
    """A member says that its parent is dead, to have its place."""

    async def story(audience: Audience) -> None:
        await stands(audience, 14)
        nodes = {each: viewer.node for each, viewer in audience.viewers.items()}
        liar, tree, parent, above = next(
            (node, tree, parent, nodes[parent].place.parents[tree])
            for node in nodes.values()
            for tree, parent in enumerate(node.place.parents)
            if parent in nodes and nodes[parent].place.parents[tree] in nodes
        )
        await nodes[liar.name].finder.delete(parent, tree)
        sequence = liar.seat.limbs[tree].sequence - 5
        call = m.TakeOn(above, liar.name, tree, sequence, liar.place.stripe, parent, True)
        liar.station.book.learn({above: (audience.hosts[above].address, PORT)})
        answer = asyncio.ensure_future(liar.station.ask_orphan(call, codec.pack_take_on(call)))
        await asyncio.sleep(2.0)
        assert answer.done()
        assert parent in nodes[above].place.children[tree]
        assert parent in audience.broadcast.source.peers
        await audience.whole(10.0)

    play(story, seed)


# -- rights ---------------------------------------------------------------------------------------


def place_with(parents: tuple[Name, ...], *children: Name) -> Place:
    return Place(7, 0, parents, (children, ()), (), 1, 0.0, 1)


OLD = place_with((1, 2), 3, 4)


@pytest.mark.parametrize(
    ("new", "coordinator", "allowed"),
    [
        (None, 99, True),  # hold
        (place_with((8, 9)), SOURCE, True),
        (place_with((8, 2), 3, 4), 1, True),  # the parent hands its place on
        (place_with((1, 2), 3, 5), 4, True),
        (place_with((99, 2), 3, 4), 99, True),  # a newcomer puts itself above
        (place_with((1, 2), 3, 99), 99, True),  # ... and below
        (place_with((99, 8), 3, 4), 99, True),
        (place_with((8, 2), 3, 4), 99, False),
        (place_with((1, 2), 3), 99, False),
        (place_with((99, 2)), 99, False),  # takes the children away
        (place_with((8, 9), 5, 99), 99, False),  # changes everything and itself among it
    ],
)
def test_who_may_ask_for_a_change(new: Place | None, coordinator: Name, allowed: bool) -> None:
    if not allowed:
        with pytest.raises(CallError) as error:
            check_order(OLD, new, coordinator, has_shown=False)
        assert error.value.code == NOT_YOURS
    else:
        check_order(OLD, new, coordinator, has_shown=False)
    check_order(OLD, new, coordinator, has_shown=True)


def test_orders_are_counted() -> None:
    orders = Orders()
    for _ in range(MOST_ORDERS):
        orders.count(1, 10.0)
    orders.count(2, 10.0)
    with pytest.raises(CallError):
        orders.count(1, 11.0)
    orders.count(1, 70.0)


def test_nobody_tells_a_depth_that_is_less_than_its_tickets_show() -> None:
    place = Place(1, 0, (8, 9), ((2,), ()), (), 1, 0.0, 5)
    seat = Seat(place, Settings(), Book(("21.0.0.1", PORT)), 0.0)
    seat.limbs[0].depth = 2  # as the parent says
    assert codec.read_beat(seat.beat(0)).depth == 2
    seat.proves(0, 6)
    assert codec.read_beat(seat.beat(0)).depth == 6
    assert seat.seen().sight.depths[0] == 6
    seat.limbs[0].depth = 7
    assert seat.seen().sight.depths[0] == 7


# -- Sybils ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_of_two_who_have_room_the_one_in_another_network_is_asked_first(seed: int) -> None:
    def first(hosts: dict[Name, str], apart: bool = True) -> Name:
        book = Book((hosts[8], PORT))
        book.learn({name: (host, PORT) for name, host in hosts.items()})
        place = Place(1, 1, (NOBODY, 8), ((), ()), (), 1, 0.0, 5)
        seat = Seat(place, Settings(parents_apart=apart), book, 0.0)
        seat.limbs[0].sequence = 4
        rows = []
        for name in (20, 30):
            owner = Place(name, 0, (70, 71), ((90,), ()), (), 1)
            rows.append(m.Seen(Sight(owner, (3, 3), (0, 0), (NOBODY, NOBODY)), (9, 9)))
        gathering = SimpleNamespace(seen=rows, is_over=True, silent=set())
        asking = Asking(seat, 0, 50, 0, Random(seed))
        asked = asking.next(gathering)  # type: ignore[arg-type]
        assert asked is not None
        return asked.name

    near = {8: "21.0.0.1", 20: "21.0.0.2", 30: "21.0.1.2"}
    assert first(near) == 30
    assert first({**near, 30: "21.0.0.3"}) in (20, 30), "where there is no choice"
    six = {8: "2001:db8:1::1", 20: "2001:db8:1::2", 30: "2001:db8:2::2"}
    assert first({**six, 20: "2a00:1::1", 30: "2a00:2::1", 8: "2a00:1::9"}) == 30


def test_local_addresses_are_in_no_network_and_the_rule_is_a_setting() -> None:
    book = Book(("10.0.0.1", PORT))
    for host, apart, beside in (("10.0.0.", True, False), ("21.0.0.", True, True)):
        book.learn({8: (host + "1", PORT), 20: (host + "2", PORT)})
        place = Place(1, 1, (NOBODY, 8), ((), ()), (), 1, 0.0, 5)
        assert Seat(place, Settings(), book, 0.0).is_beside_parent(20, 0) is beside
        seat = Seat(place, Settings(parents_apart=False), book, 0.0)
        assert not seat.is_beside_parent(20, 0), apart


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_who_is_only_avoided_keeps_its_places_in_other_trees(seed: int) -> None:
    """A parent that brought nothing may be cut off itself: it stays a neighbour, and lives."""

    async def story(audience: Audience) -> None:
        await stands(audience)
        nodes = {each: viewer.node for each, viewer in audience.viewers.items()}
        child, parent = next(
            (node, parent)
            for node in nodes.values()
            for parent in node.place.parents
            if parent in nodes
        )
        guard, source = child.station.guard, audience.broadcast.source.station
        assert guard is not None
        assert source.guard is not None
        guard.avoid(parent)
        refused = dict(guard.refused)
        assert await child.station.look(parent) is not None
        with pytest.raises(CallError):
            await child.station.ask_orphan(m.TakeOn(parent, child.name, 0, 1), b"")
        source.guard.distrust(parent, "cheats", 10.0)
        audience.broadcast.source.accused(parent)
        for _ in range(40):
            await asyncio.sleep(0.1)
            assert parent in audience.broadcast.source.peers, "who is not asked is not called dead"
        assert guard.refused == refused, "what it signs is heard"

    play(story, seed)
