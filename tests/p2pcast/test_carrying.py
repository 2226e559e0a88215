"""Peers on slow lines: what the stream asks of them, what they are told, and who finds it out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from spinney.errors import CannotCarryError, InputError, WireError
from spinney.lab._crowds import HOP, PORT, Crowd
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.asking import Ask
from spinney.p2pcast.carrying import least_of, shortfall, slots_of
from spinney.p2pcast.node import ForestNode
from spinney.p2pcast.place import NOBODY, Name
from spinney.p2pcast.registry.link import StreamLink, parse_link
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.trust.identity import HashSigner
from spinney.sim import Link, World

RATE = 1_000.0
"""Of one stripe; beats stand for it."""
SEEDS = (1, *(pytest.param(seed, marks=pytest.mark.night) for seed in range(2, 9)))


def crowded(seed: int, *, least: int | None, spare: int = 1, beat_s: float = 0.25) -> Crowd:
    settings = Settings(stripe_bytes_per_s=RATE, least_slots=least, beat_s=beat_s, join_s=35.0)
    return Crowd(
        World(seed, link=HOP),
        Random(seed),
        stripes=4,
        spare=spare,
        settings=settings,
        signers=HashSigner,
    )


def play(crowd: Crowd, story: Callable[[], object]) -> None:
    with crowd.world:
        crowd.world.run(story())  # type: ignore[arg-type]


# -- what is asked, and what a line carries -----------------------------------------------------


def test_a_line_carries_as_many_slots_as_stripes_fit() -> None:
    settings = Settings(stripe_bytes_per_s=1_000.0)
    assert slots_of(3_999.0, settings, 4, 1) == 3
    assert slots_of(9_999.0, settings, 4, 1) == 5, "no more than f and the spare ones"
    assert slots_of(None, settings, 4, 1) == 5, "who says nothing carries all"
    assert slots_of(1.0, Settings(), 4, 1) == 5, "nor is anything known where the rate is not"
    assert least_of(settings, 4) == 4
    assert least_of(Settings(least_slots=2), 4) == 2
    text = str(shortfall(3, settings, 4))
    for said in ("cannot carry its share", "4 slots", "4000 bytes/s", "it has 3", "3000 bytes/s"):
        assert said in text


def test_the_rules_are_the_sources_and_travel_in_the_link() -> None:
    link = StreamLink(bytes(32), (), None, 4, 1, 50_000, 2)
    assert parse_link(str(link)) == link
    for bad in ("f=4&m=5", "f=4&b=x", "f=4&b=99999999999", "f=4&m=-1"):
        with pytest.raises(InputError):
            parse_link("p2pcast:" + "ab" * 32 + "?" + bad)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_cannot_carry_its_share_is_told_so_at_once(seed: int) -> None:
    crowd = crowded(seed, least=None)

    async def story() -> None:
        await crowd.open()
        await crowd.plant(12)
        name = crowd.name(False)
        crowd.uploads[name] = 3_500.0
        asked = crowd.source.station.krpc
        before, began = len(crowd.source.peers), crowd.now
        crowd.start(name)
        await crowd.joined(1.0)
        assert crowd.now - began < 0.5
        error = crowd.refused[name]
        assert isinstance(error, CannotCarryError)
        assert "needs 4 slots of 1000 bytes/s each (4000 bytes/s up), and it has 3" in str(error)
        assert len(crowd.source.peers) == before
        assert asked is crowd.source.station.krpc

    play(crowd, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_where_the_stream_allows_it_others_make_up_for_who_is_slow(seed: int) -> None:
    crowd = crowded(seed, least=2, spare=2)

    async def story() -> None:
        await crowd.open()
        await crowd.plant(12)
        slow: list[Name] = []
        for at in range(16):
            name = crowd.name(False)
            if at % 4 == 3:
                slow.append(name)
                crowd.uploads[name] = 2_200.0
            crowd.start(name)
            await asyncio.sleep(1.0)
        await crowd.joined(60.0)
        await crowd.whole(20.0)
        assert not crowd.refused
        for name in slow:
            place = crowd.nodes[name].place
            assert place.spare == -2
            assert place.out_degree <= 2
        for _ in range(3):
            crowd.fall(crowd.rng.choice([name for name in crowd.live if name not in slow]))
            await asyncio.sleep(3.0)
        await crowd.whole(20.0)
        assert not any(crowd.lacking())
        assert all(crowd.nodes[name].place.out_degree <= 2 for name in slow)
        roots = {row[0] for row in crowd.source.source.place.children}
        assert not roots & set(slow), "nor is one of them the root of a tree"

    play(crowd, story)


def test_where_the_spare_slots_are_taken_the_slow_are_told_so() -> None:
    crowd = crowded(1, least=1)

    async def story() -> None:
        await crowd.open()
        await crowd.plant(12)
        for _ in range(8):
            name = crowd.name(False)
            crowd.uploads[name] = 1_000.0
            crowd.start(name)
            await asyncio.sleep(1.0)
        while crowd.joining:
            await asyncio.sleep(1.0)
        assert crowd.refused, "12 spare slots carry four of these"
        for error in crowd.refused.values():
            assert isinstance(error, CannotCarryError)
            assert "spare slots of others" in str(error)

    play(crowd, story)


def test_who_thinks_the_rules_laxer_than_they_are_is_refused_by_who_it_asks() -> None:
    crowd = crowded(1, least=None)

    async def story() -> None:
        await crowd.open()
        await crowd.plant(12)
        host = crowd.world.host("lax")
        lax = Settings(stripe_bytes_per_s=RATE, least_slots=1)
        name = crowd.name(False)
        node = ForestNode(
            host,
            b"a stream",
            (crowd.source_host.address, PORT),
            name=name,
            stripes=4,
            spare=1,
            settings=lax,
            signer=HashSigner(name),
            upload_bytes_per_s=2_000.0,
        )

        async def joins() -> None:
            await node.open((host.address, PORT))
            await node.join()

        with pytest.raises(CannotCarryError, match=r"needs 4 slots .* and it has 2"):
            await host.start(joins())
        assert node.station.refusal is not None, "others said so"
        node.close()
        await crowd.whole(5.0)

    play(crowd, story)


# -- measured ------------------------------------------------------------------------------------

BEAT_S = 0.025
"""Forty beats a second to each child weigh some seven kilobytes: much more than looking for a
parent, as data would."""


async def told(crowd: Crowd, up_bytes_per_s: float) -> tuple[ForestNode, list[Name]]:
    """A forest in which one says that it carries all, and its line does not."""
    await crowd.open()
    await crowd.plant(12)
    name = max(crowd.live, key=lambda each: crowd.nodes[each].place.out_degree)
    link = Link(up_bytes_per_s=up_bytes_per_s, queue_bytes=96 << 10)
    crowd.hosts[name].set_link(link)
    node = crowd.nodes[name]
    return node, [child for _, child in node.place.edges() if child in crowd.nodes]


@pytest.mark.parametrize("seed", SEEDS)
def test_who_delivers_late_is_left_and_offers_what_is_left(seed: int) -> None:
    crowd = crowded(seed, least=1, spare=2, beat_s=BEAT_S)

    async def story() -> None:
        node, children = await told(crowd, 15_000.0)
        assert len(children) >= 4
        await asyncio.sleep(40.0)
        counts = crowd.counts()
        assert counts["left: late"]
        assert node.station.counts["offers less"]
        assert node.place.spare < 2, "than it said that it carries"
        assert node.place.out_degree <= 4 + node.place.spare
        assert node.problem is None
        await crowd.whole(20.0)

    play(crowd, story)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_delivers_late_where_all_must_carry_f_is_told_and_goes(seed: int) -> None:
    crowd = crowded(seed, least=None, beat_s=BEAT_S)

    async def story() -> None:
        node, children = await told(crowd, 15_000.0)
        said: list[Exception] = []
        node.on_problem = said.append
        await asyncio.sleep(40.0)
        assert isinstance(node.problem, CannotCarryError)
        assert "cannot carry its share" in str(said[0])
        assert "its children say" in str(said[0])
        assert node.seat.leaves
        assert not any(node.name in crowd.nodes[child].place.parents for child in children)
        honest = [each for name, each in crowd.nodes.items() if name != node.name]
        assert not any(each.problem for each in honest), "nobody else is thought to be slow"

    play(crowd, story)


def test_only_children_are_heard_and_one_of_many_is_not_enough() -> None:
    crowd = crowded(1, least=1)

    async def story() -> None:
        await crowd.open()
        await crowd.plant(14)
        name = max(crowd.live, key=lambda each: crowd.nodes[each].place.out_degree)
        node = crowd.nodes[name]
        tree, before = node.place.stripe, node.place
        row = [child for child in before.children[tree] if child in crowd.nodes]
        strange = [each for each in crowd.live if each not in row and each != name]
        for each in strange[:4]:
            node.carrying.told(m.Late(each, name, tree, 5_000))
        assert not node.carrying._said
        for _ in range(3):
            node.carrying.told(m.Late(row[0], name, tree, 5_000))
        node.carrying.told(m.Late(row[0], name, 15, 5_000))
        assert node.place == before
        node.carrying.told(m.Late(row[1], name, tree, 5_000))
        assert node.place.spare == before.out_degree - 2 - 4

    play(crowd, story)


def test_who_is_late_itself_is_not_left() -> None:
    """What is above it is to blame; if that goes on for long it is left, whatever it says."""
    crowd = crowded(1, least=1)

    async def story() -> None:
        await crowd.open()
        await crowd.plant(14)
        child, tree, parent = next(
            (node, tree, crowd.nodes[name])
            for node in crowd.nodes.values()
            for tree, name in enumerate(node.place.parents)
            if name in crowd.nodes
        )
        behind = child.carrying.behind
        child.carrying.behind = (  # type: ignore[method-assign]
            lambda at, number: 5.0 if at == tree else behind(at, number)
        )
        child.carrying._asking[tree] = parent.name
        await child.carrying._ask(tree, parent.name, False)
        assert child.place.parents[tree] == parent.name
        child.carrying._asking[tree] = parent.name
        await child.carrying._ask(tree, parent.name, True)
        assert child.place.parents[tree] != parent.name
        await asyncio.sleep(2.0)

    play(crowd, story)


def test_lates_bytes() -> None:
    late = m.Late(5, 6, 3, 2_500)
    assert codec.read_late(codec.pack_late(late)) == late
    for bad in (b"", codec.pack_late(m.Late(5, 6, 16, 1)), codec.pack_late(late) + b"x", 7):
        with pytest.raises(WireError):
            codec.read_late(bad)


def test_an_orphan_that_hears_no_answer_does_not_leave_who_is_its_parent_elsewhere() -> None:
    """On a slow line answers come late: all parents that were asked would have sent it away."""
    crowd = crowded(1, least=None)

    async def story() -> None:
        await crowd.open()
        await crowd.plant(14)
        child, tree, parent = next(
            (node, tree, crowd.nodes[name])
            for node in crowd.nodes.values()
            for tree, name in enumerate(node.place.parents)
            if name in crowd.nodes
        )
        await asyncio.sleep(25.0)  # until all have tickets
        parent.station.adopting.asked = lambda query, body: None  # type: ignore[method-assign]
        others = [at for at in range(4) if child.place.parents[at] != parent.name]
        other = next(at for at in others if at != child.place.stripe)
        asked = Ask(parent.name, NOBODY, False)
        assert await child.mending._asked(other, asked, 1.0) is None
        await asyncio.sleep(0.5)
        assert child.name in parent.place.children[tree]

    play(crowd, story)
