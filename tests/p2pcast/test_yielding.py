"""A tree that is short of slots gets an owner, though nobody is without children.

The forests here were found by chance: a dozen peers, twenty, thirty, that fell and came until
somebody had no parent any more, for ever.  They are put down as they stood then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest

from spinney.lab._crowds import HOP, PORT, Crowd
from spinney.lab._forest_process import settings_of
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.attaching import Candidate, candidates
from spinney.p2pcast.place import INCOMPLETE, NOBODY, SOURCE, SPECIAL, Name, Place, Sight
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.yielding import (
    GIVES_WAY_S,
    free_slots,
    given_way,
    may_give_way,
    sent_away,
    would_find_room,
)
from spinney.sim import Constant, Link, World

DOZEN = """
    source>13 13>11,6,9,5,2 5>4,7,special,12 6>3,10,8
    source>11 11>5,13,3,7,12 3>4,special,8 7>9,6,10,2
    source>8 8>9,2,5,10,7 2>3,12,13,11,6 12>4
    source>4 4>12,special,11,9,10 9>13,7,6,5,8 10>3,2
"""
"""The special node has no parent in tree 2: two owners there are full; 12 lends a slot there."""
TWENTY = """
    source>10 10>19,15,special,9,6 9>16,20,4,3 15>12,7,17 16>8 3>2,13,5 12>14 17>11,18,21
    source>20 7>13,2,10,4,16 13>14,18,6,12,17 14>special,15,5 20>8,11,9,7,3 2>19,21
    source>19 19>18,20,6,9,4 18>16,8,11,3,13 16>14 6>10,21,special,12,5 21>17
    source>4 8>19,17,21,special,18 11>7,16,14,2,5 4>6,15,11,8 5>3,13,20,9 21>12,10
"""
"""Three have no parent in tree 2, whose three owners are full; everybody has children."""
THIRTY = """
    source>16 16>15,6,14,25,19 14>26,18,22,30,27 19>28,special,7,8,10 6>24,4,5,17,9 26>3,31,13,11\
 15>23,20,21,12 9>29,2
    source>23 23>24,26
    source>24 24>special,28,2,7,10 28>23,27,25,16,13 27>14,6,18,12,22 18>4,31,5,19 7>26,8,3,17\
 10>15,20,21,9,29 12>30,11
    source>31 31>5,special,3,4 3>16,6,18,2,25 2>26,27,14,13,19 13>23,20,24,8,11 4>30,15,17,21,9\
 5>22,29,10,12 29>7 23>28
"""
"""Tree 1 has an incomplete root, 23: its children stay leaves, and all others have no parent."""
WORK_FOR = {DOZEN: {12: 3}, TWENTY: {16: 0, 21: 3}, THIRTY: {23: 1}}
"""Who has children in several trees: their stripes."""
NAMES = {"source": SOURCE, "special": SPECIAL}


def forest(text: str, idle: int = 0) -> dict[Name, Place]:
    """A line for each tree, of PARENT>CHILD,CHILD.  Who has no children works for tree `idle`."""
    lines = text.strip().splitlines()
    stripes = len(lines)
    parents: dict[Name, list[Name]] = {}
    rows: dict[Name, list[tuple[Name, ...]]] = {}

    def known(word: str) -> Name:
        name = NAMES.get(word) or int(word)
        parents.setdefault(name, [NOBODY] * stripes)
        rows.setdefault(name, [()] * stripes)
        return name

    for tree, line in enumerate(lines):
        for words in line.split():
            above, _, below = words.partition(">")
            children = tuple(map(known, below.split(",")))
            rows[known(above)][tree] = children
            for child in children:
                parents[child][tree] = known(above)
    made = {}
    for name in sorted(parents):
        own = [tree for tree, row in enumerate(rows[name]) if row]
        stripe = WORK_FOR.get(text, {}).get(name, own[0] if own else idle) if name >= 0 else -1
        several = name >= 0 and any(tree != stripe for tree in own)
        cohort = ((stripe, name),) if several else ()
        spare = 0 if name == SPECIAL else 1
        made[name] = Place(
            name, stripe, tuple(parents[name]), tuple(rows[name]), cohort, spare, 0.0, 1
        )
    return made


def orphans(places: Mapping[Name, Place]) -> list[Name]:
    return [name for name in places if name != SOURCE and NOBODY in places[name].parents]


def healed(
    places: Mapping[Name, Place],
    seed: int,
    limit_s: float,
    link: Link = HOP,
    settings: Settings | None = None,
) -> Crowd:
    """The forest heals by itself in so many seconds."""
    world = World(seed, link=link)
    crowd = Crowd(world, Random(seed), stripes=4, spare=1, settings=settings)

    async def story() -> None:
        await crowd.open()
        await crowd.put(places)
        await crowd.whole(limit_s)
        await asyncio.sleep(5.0)
        await crowd.whole(0.0)

    with world:
        world.run(story())
    return crowd


# -- who gives way --------------------------------------------------------------------------------

OWNER = Place(1, 0, (8, 9, 7), ((2, 3), (), ()), (), 1, 0.0, 5)


def test_its_children_in_other_trees_go_and_it_works_for_the_orphans_tree() -> None:
    assert may_give_way(OWNER, 1, 0)
    assert sent_away(OWNER, 1) == [(0, 2), (0, 3)]
    assert given_way(OWNER, 1) == replace(OWNER, stripe=1, children=((), (), ()), version=6)


def test_an_incomplete_peer_gives_way_also_for_its_own_tree_and_keeps_its_children_there() -> None:
    place = replace(OWNER, children=((2,), (3,), ()), cohort=((0, 1), (2, 6)))
    assert may_give_way(place, 0, 0)
    after = given_way(place, 0)
    assert (after.stripe, after.children, after.cohort) == (0, ((2,), (), ()), ())
    assert may_give_way(place, 1, INCOMPLETE), "it has a child there already"


@pytest.mark.parametrize(
    ("place", "tree", "above"),
    [
        (OWNER, 0, 0),  # it serves that tree already
        (OWNER, 1, INCOMPLETE),  # an only-child there, which stays a leaf
        (replace(OWNER, parents=(8, NOBODY, 7)), 1, 0),  # cut off there itself
        (replace(OWNER, spare=0), 1, 0),  # nobody has a slot to spare
        (replace(OWNER, children=((), (), ())), 1, 0),  # it can come over as it is
        (replace(OWNER, name=SPECIAL), 1, 0),
    ],
)
def test_who_does_not_give_way(place: Place, tree: int, above: int) -> None:
    assert not may_give_way(place, tree, above)


# -- whom an orphan asks --------------------------------------------------------------------------


def sight(place: Place, above: tuple[int, ...] = (0, 0, 0)) -> m.Seen:
    return m.Seen(Sight(place, (3, 3, 3), above, (NOBODY,) * 3), (9, 9, 9))


OTHER = replace(OWNER, name=20, parents=(8, 9, 6), children=((21, 22, 23), (), ()))


def test_only_those_are_asked_for_whose_children_slots_were_seen_elsewhere() -> None:
    assert free_slots([sight(OTHER)]) == [{20: 1}, {}, {}]
    assert free_slots([sight(OTHER, (0, 2, 0))]) == [{20: 1}, {9: 2}, {}]
    assert not would_find_room(OWNER, 1, free_slots([sight(OWNER), sight(OTHER)]))
    roomy = replace(OTHER, children=((21, 22), (), ()))
    assert would_find_room(OWNER, 1, free_slots([sight(OWNER), sight(roomy)]))


def test_an_orphan_asks_so_only_when_it_is_urgent_and_the_fewest_are_sent_away() -> None:
    roomy = replace(OTHER, children=((21,), (), ()))
    seen = [sight(OWNER), sight(roomy)]
    assert candidates(1, 4, seen) == {}
    found = candidates(1, 4, seen, urgent=True)
    assert found == {1: Candidate(1, 4, True, 2), 20: Candidate(20, 4, True, 1)}


def test_the_call_says_so() -> None:
    call = m.TakeOn(1, 2, 3, 4, 0, NOBODY, True, {}, True)
    assert codec.read_take_on(codec.pack_take_on(call)) == call
    plain = m.TakeOn(1, 2, 3, 4)
    assert codec.read_take_on(codec.pack_take_on(plain)) == plain


# -- in forests -----------------------------------------------------------------------------------


def test_a_lender_becomes_an_owner_for_the_special_node_of_a_dozen() -> None:
    places = forest(DOZEN)
    assert orphans(places) == [SPECIAL]
    crowd = healed(places, 1, 8.0)
    assert crowd.source.layouts == 0
    assert crowd.counts()["gave way"] == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_owner_with_few_leaves_changes_its_tree_among_twenty(seed: int) -> None:
    places = forest(TWENTY)
    assert orphans(places) == [2, 7, 15]
    crowd = healed(places, seed, 10.0)
    assert 1 <= crowd.counts()["gave way"] <= 3


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_incomplete_root_sends_its_other_child_away_and_everybody_finds_a_parent(
    seed: int,
) -> None:
    places = forest(THIRTY, idle=1)
    assert len(orphans(places)) == 28
    healed(places, seed, 15.0)


def test_the_source_lays_out_few_peers_for_its_special_node() -> None:
    """Eleven peers cannot do without somebody who lends: two owners of a tree have ten slots."""
    places = forest(
        """
        source>1 1>2,3,4,5 2>6,7,8,9 3>10,11,special
        source>4 4>5,6,1,2 5>3,7,8,9 6>10,11,special
        source>7 7>8,9,1,2 8>3,4,5,6 9>10,11,special
        source>10 10>11,1,2,3,4 11>5,6,7,8,9
        """
    )
    assert orphans(places) == [SPECIAL]
    crowd = healed(places, 1, 15.0)
    assert crowd.source.layouts == 1
    assert "gave way" not in crowd.counts()


SLOW = Link(latency=Constant(0.35))
"""A question takes 0.7 s, as on a machine with too much to do."""


def test_where_everybody_is_slow_an_orphan_waits_longer_each_round() -> None:
    healed(forest(TWENTY), 1, 40.0, SLOW, settings_of(2.0))


def test_few_that_are_slow_are_not_torn_down_by_a_layout_without_them() -> None:
    world = World(1, link=Link(latency=Constant(0.55)))
    crowd = Crowd(world, Random(1), stripes=4, spare=1, settings=settings_of(2.0))

    async def story() -> None:
        await crowd.open()
        await crowd.put(forest(DOZEN))
        for _ in range(20):
            crowd.source.place_special()
            await asyncio.sleep(1.0)
            lost = [name for name in crowd.live if set(crowd.nodes[name].place.parents) == {NOBODY}]
            assert not lost
            assert set(crowd.source.source.place.children) != {(SPECIAL,)}

    with world:
        world.run(story())


# -- what a stranger may disturb ------------------------------------------------------------------


def test_who_has_given_way_does_so_not_again_at_once_nor_for_whom_a_branch_would_go() -> None:
    world = World(1, link=HOP)
    crowd = Crowd(world, Random(1), stripes=4, spare=1)

    async def ask(name: Name, child: Name, tree: int) -> m.Taking:
        station = crowd.source.station
        station.book.learn({name: (crowd.hosts[name].address, PORT)})
        call = m.TakeOn(name, child, tree, 0, urgent=True)
        data = await station.ask_orphan(call, codec.pack_take_on(call))
        return codec.read_taken(data).taking

    async def story() -> None:
        await crowd.open()
        await crowd.put(forest(DOZEN))
        await asyncio.sleep(1.0)
        assert await ask(13, 99, 1) is m.Taking.FULL, "its children have children"
        assert await ask(6, 99, 2) is m.Taking.TAKEN
        assert crowd.nodes[6].place.children == ((), (), (99,), ())
        assert crowd.nodes[6].place.stripe == 2
        word = codec.pack_here(m.Here(99, 6, 1 << 2, 0, 5))
        for _ in range(int(GIVES_WAY_S) - 1):
            crowd.source.station.tell(6, b"p2pcast.here", word)
            await asyncio.sleep(0.4)
            assert await ask(6, 98, 1) is m.Taking.FULL, "just now"
            await asyncio.sleep(0.6)
        await asyncio.sleep(1.0)
        assert await ask(6, 97, 1) is m.Taking.TAKEN

    with world:
        world.run(story())
