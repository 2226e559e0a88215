"""The registry joined to the nodes: viewers come by a link, and are told of each other by it."""

from __future__ import annotations

import asyncio

import pytest
from tests.p2pcast.viewers import PORT, Audience, play

from spinney.errors import CallError, InputError, NoPeersError
from spinney.p2pcast.carried import Carried
from spinney.p2pcast.place import NOBODY
from spinney.p2pcast.reaching import is_closed
from spinney.p2pcast.registry.link import StreamLink, parse_link
from spinney.p2pcast.registry.streams import Newcomer, Registry
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.trust.identity import name_of
from spinney.p2pcast.trust.signing import UNSIGNED
from spinney.p2pcast.viewer import Viewer
from spinney.sim import World
from spinney.wire.krpc import Krpc

SEEDS = (1, 2, *(pytest.param(seed, marks=pytest.mark.night) for seed in range(3, 9)))


async def until(audience: Audience, ready: object, limit_s: float) -> float:
    began = audience.world.loop.now
    while not ready():  # type: ignore[operator]
        assert audience.world.loop.now - began < limit_s
        await asyncio.sleep(0.1)
    return audience.world.loop.now - began


@pytest.mark.parametrize("seed", SEEDS)
def test_viewers_join_by_a_link_and_a_fallen_one_is_mended_and_deleted(seed: int) -> None:
    async def story(audience: Audience) -> None:
        await audience.grow(14)
        await audience.whole(10.0)
        desk, peers = audience.broadcast.registry.desk, audience.broadcast.source.peers
        assert desk.registry.open_count(audience.link.stream) == len(audience.viewers)
        assert set(peers.names) == set(audience.viewers)
        dead = audience.inner()[0]
        children = [
            (audience.viewers[child].node, tree)
            for tree, child in audience.places()[dead].edges()
            if child in audience.viewers
        ]
        audience.fall(dead)

        def mended() -> int:
            return sum(node.place.parents[tree] not in (dead, NOBODY) for node, tree in children)

        await until(audience, mended, 3.0)
        assert dead in peers, "the first is mended before the registry believes the death"
        await until(audience, lambda: mended() == len(children), 10.0)
        await audience.whole(10.0)
        await until(audience, lambda: dead not in peers, 12.0)
        assert not desk.counts["false accusations"]

    play(story, seed)


def test_who_leaves_is_told_to_nobody() -> None:
    async def story(audience: Audience) -> None:
        await audience.grow(9)
        await audience.whole(10.0)
        gone = audience.inner()[0]
        viewer, host = audience.viewers[gone], audience.hosts[gone]
        await host.start(viewer.leave())
        assert gone not in audience.broadcast.source.peers
        viewer.close()
        del audience.viewers[gone]
        await audience.whole(10.0)

    play(story)


def test_with_the_registry_down_the_forest_mends_and_a_newcomer_is_told_why() -> None:
    async def story(audience: Audience) -> None:
        await audience.grow(14)
        await audience.whole(10.0)
        audience.broadcast.source.station.outside = _silent
        audience.fall(audience.inner()[0])
        await audience.whole(10.0)
        began = audience.world.loop.now
        with pytest.raises(NoPeersError, match="registry"):
            await audience.come(join_s=8.0)
        assert 8.0 <= audience.world.loop.now - began < 12.0
        await audience.whole(3.0)

    play(story)


def _silent(query: object) -> None:
    return None


def test_a_registry_that_is_down_is_waited_for_once() -> None:
    async def story(audience: Audience) -> None:
        await audience.grow(5)
        viewer = await audience.come()
        audience.broadcast.source.station.outside = _silent
        waits, told = [], 0
        for _ in range(8):
            began = audience.world.loop.now
            told = len((await viewer.finder.some(4)).names)
            waits.append(audience.world.loop.now - began)
            await asyncio.sleep(1.0)
        assert max(waits) >= 0.9
        assert max(waits[4:]) < 0.2
        assert told, "those who were told before"

    play(story)


def test_any_viewer_stands_in_for_the_registry() -> None:
    async def story(audience: Audience) -> None:
        await audience.grow(14)
        await audience.whole(10.0)
        helper = audience.viewers[sorted(audience.viewers)[0]]
        place = await helper.stand_in()
        at = (audience.hosts[helper.node.name].address, PORT)
        assert place.key is None
        audience.broadcast.source.station.outside = _silent
        link = audience.link
        places = (*link.registries, type(place)(at))
        told = StreamLink(link.stream, places, None, link.stripes, link.spare)
        viewer = await audience.come(link=parse_link(str(told)))
        await audience.whole(10.0)
        assert viewer.node.is_placed
        await helper._stand_in.close()  # type: ignore[union-attr]

    play(story)


def test_who_is_asked_whether_it_lives_signs_and_nobody_can_speak_for_it() -> None:
    """Beside a forest a stranger calls: one clear error each, and nothing else happens."""

    async def story(audience: Audience) -> None:
        await audience.grow(6)
        await audience.whole(10.0)
        viewer = audience.viewers[sorted(audience.viewers)[0]]
        host = audience.world.host("stranger")
        at = (audience.hosts[viewer.node.name].address, PORT)

        async def strange() -> list[int]:
            krpc = Krpc(host)
            datagrams = await host.open_datagrams(krpc, (host.address, PORT))
            krpc.use(datagrams)
            codes = []
            calls = [
                (b"p2pcast.join", {b"i": bytes(32)}),
                (b"p2pcast.alive", {b"c": bytes(16), b"i": bytes(32), b"p": bytes(20)}),
                (b"p2pcast.apply", {b"b": bytes(16), b"s": audience.link.stream[:8]}),
                (b"p2pcast.takeon", {b"b": b"", b"s": b"another "}),
            ]
            for method, arguments in calls:
                try:
                    await krpc.call(at, method, arguments, attempts=2)
                except CallError as error:
                    codes.append(error.code)
            krpc.close()
            datagrams.close()
            return codes

        assert await host.start(strange()) == [204, 203, UNSIGNED, 202]
        await audience.whole(1.0)

    play(story)


def test_a_name_is_the_beginning_of_a_peer_id() -> None:
    assert name_of(b"\xff" * 20) == (1 << 63) - 1
    assert name_of(bytes(7) + b"\x02" + bytes(12)) == 1


def test_a_link_without_a_registry_or_a_shape_is_refused() -> None:
    for link in (StreamLink(bytes(32)), parse_link("p2pcast:" + "ab" * 32 + "?r=1.2.3.4:5")):
        with pytest.raises(InputError, match="the link"):
            Viewer(None, link)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", ["f=1", "f=17", "f=x", "f=4&s=5", "f=004", "s=1", "f=-4"])
def test_a_links_shape_is_checked(bad: str) -> None:
    with pytest.raises(InputError):
        parse_link("p2pcast:" + "ab" * 32 + "?r=1.2.3.4:5&" + bad)


def test_a_links_shape_is_read_back() -> None:
    link = StreamLink(bytes(32), (), "a name", 8, 2)
    assert parse_link(str(link)) == link


def test_the_source_sees_its_registry_by_name() -> None:
    class Clock:
        now = 0.0

        def time(self) -> float:
            return self.now

    clock, registry, stream = Clock(), Registry(), bytes(32)
    registry.join(stream, Newcomer(b"s" * 20, ("20.0.0.1", 1), (0, 1), is_source=True), 0.0)
    for at in range(3):
        peer = bytes([at]) * 20
        registry.join(stream, Newcomer(peer, (f"20.0.{at}.1", 1), (0, 1)), 0.0)
    registry.join(stream, Newcomer(b"x" * 20, ("20.0.9.1", 1), (0, 1), is_open=False), 0.0)
    seen = Carried(clock, registry, stream)  # type: ignore[arg-type]
    names = [name_of(bytes([at]) * 20) for at in range(3)]
    assert sorted(seen.names) == sorted(names), "neither the source nor who has no place"
    assert len(seen) == 3
    assert seen[names[1]] == ("20.0.1.1", 1)
    held = seen.names
    registry.delete(stream, bytes([1]) * 20)
    assert [seen[name] for name in held], "who has just gone is no error"
    clock.now = 1.0
    assert names[1] not in seen
    seen.remove(names[0])
    assert registry.open_count(stream) == 1
    seen.expel(names[2])
    assert not registry.open_count(stream), "whom the source found cheating is not handed out"
    registry.join(stream, Newcomer(bytes([2]) * 20, ("20.0.2.1", 1), (0, 2)), 2.0)
    assert not registry.open_count(stream), "nor when it says again that it is here"


@pytest.mark.parametrize("closed", [False, True])
def test_behind_a_nat_the_name_that_a_registry_hands_out_says_so(closed: bool) -> None:
    with World(7) as world:
        for at in range(6):
            viewer = Viewer(
                world.host(f"v{at}"),
                parse_link("p2pcast:" + "ab" * 32 + "?r=1.2.3.4:5&f=4"),
                settings=Settings(nat=True),
                is_closed=closed,
            )
            assert is_closed(name_of(viewer.keys.peer)) is closed
