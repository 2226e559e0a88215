"""The registry in the simulated world: JOIN, renewals, crashes, a flash crowd, nobody there."""

from __future__ import annotations

import asyncio

import pytest
from tests.p2pcast.registries import PORT, REGISTRY, SOURCE, STREAM, OnHost
from tests.p2pcast.registry_worlds import (
    FOLDER,
    SEEDS,
    WILD,
    known,
    open_peers,
    open_registry,
    open_source,
    place,
)

from spinney.errors import CallError, NoAnswerError, NotWritableError, StorageError
from spinney.p2pcast.registry.contacts import ContactsSettings
from spinney.p2pcast.registry.node import METHODS, RegistryNode
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.p2pcast.registry.streams import Newcomer
from spinney.sim import Link, Uniform, World
from spinney.wire.krpc import Krpc
from spinney.wire.krpc_messages import Arguments, Query

# JOIN, renewals, leaving; a restart with its disk


def a_day_of_a_registry(seed: int) -> str:
    with World(seed, link=WILD) as world:
        server = world.host("registry", ["20.200.0.1"])

        async def scenario() -> None:
            node = await open_registry(server)
            source = await open_source(world, [place(server)])
            peers = await open_peers(world, [f"p{n}" for n in range(20)], [place(server)])
            joined = await asyncio.gather(*(peer.join() for peer in peers))
            everybody = {peer.keys.peer for peer in peers}
            assert known(node) == everybody | {SOURCE.peer}
            addresses = {
                peer.keys.peer: (peer.host.address, peer.datagrams.local_address[1])
                for peer in peers
            }  # type: ignore[union-attr, attr-defined]
            for peer, answer in zip(peers, joined, strict=True):
                assert peer.contacts.ticket is not None
                assert peer.contacts.ticket.is_valid(REGISTRY.public, peer.host.wall_time(), 600)
                for contact in answer.contacts:
                    assert contact.peer != peer.keys.peer
                    assert addresses.get(contact.peer, contact.address) == contact.address
            for peer in peers:
                peer.host.start(peer.contacts.stay(STREAM))  # type: ignore[attr-defined]
            await asyncio.sleep(300)
            assert known(node) == everybody | {SOURCE.peer}, "all renew, through loss"

            await asyncio.gather(*(peer.contacts.leave(STREAM) for peer in peers[:5]))
            for peer in peers[:5]:
                peer.host.stop()  # type: ignore[attr-defined]
            staying = {peer.keys.peer for peer in peers[5:]} | {SOURCE.peer}
            left = known(node)
            assert left >= staying
            assert len(left - staying) <= 1, "a goodbye that is lost three times is missed later"

            await asyncio.sleep(6)
            server.crash()
            await asyncio.sleep(20)
            server.restart()
            node = await open_registry(server)
            assert known(node) >= staying, "its disk held them"
            late = (await open_peers(world, ["late"], [place(server)]))[0]
            assert {one.peer for one in (await late.join(wanted=16)).contacts} <= staying | left
            await asyncio.sleep(130)
            assert known(node) == staying | set(), "the late one did not stay"
            for peer in peers[5:]:
                peer.host.crash()  # type: ignore[attr-defined]
            await asyncio.sleep(140)
            assert known(node) == {SOURCE.peer}
            source.close()
            await node.close()

        world.run(scenario())
        return world.digest()


@pytest.mark.parametrize("seed", SEEDS)
def test_peers_join_stay_and_leave_and_a_restart_forgets_nobody(seed: int) -> None:
    a_day_of_a_registry(seed)


def test_the_same_seed_is_the_same_run() -> None:
    assert a_day_of_a_registry(3) == a_day_of_a_registry(3)


def test_a_restart_without_its_disk_is_healed_by_renewals() -> None:
    with World(1, link=WILD) as world:
        server = world.host("registry", ["20.200.0.1"])

        async def scenario() -> None:
            settings = RegistrySettings(addresses=("0.0.0.0",))
            await open_registry(server, settings)
            await open_source(world, [place(server)])
            peers = await open_peers(world, [f"p{n}" for n in range(10)], [place(server)])
            for peer in peers:
                await peer.join()
                peer.host.start(peer.contacts.stay(STREAM))  # type: ignore[attr-defined]
            server.crash()
            server.restart()
            node = await open_registry(server, settings)
            assert not known(node)
            await asyncio.sleep(140)
            assert len(known(node)) == 11

        world.run(scenario())


@pytest.mark.parametrize("seed", range(12))
def test_power_lost_at_any_moment_leaves_a_whole_state(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The state is written all the time; what the disk held is an old one or the new one."""
    with World(seed) as world:
        server = world.host("registry", ["20.200.0.1"])
        moments = world.rng_for("moments")

        async def scenario() -> None:
            settings = RegistrySettings(
                addresses=("0.0.0.0",), state_folder=FOLDER, state_every_s=0.001
            )
            names = set()
            for life in range(6):
                node = await open_registry(server, settings)
                assert names <= known(node)
                if not life:
                    source = await open_source(world, [place(server)])
                (peer,) = await open_peers(world, [f"p{life}"], [place(server)])
                await source.join()
                await peer.join()
                names.add(peer.keys.peer)
                await asyncio.sleep(0.01 + 0.005 * moments.random())
                server.crash()
                await asyncio.sleep(1)
                server.restart()

        world.run(scenario())
        assert caplog.records == []


def test_a_torn_state_is_set_aside_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with World(1) as world:
        server = world.host("registry", ["20.200.0.1"])

        async def scenario() -> None:
            node = await open_registry(server)
            await open_source(world, [place(server)])
            await node.close()
            path = f"{FOLDER}/registry.state"
            file = server.storage.open(path, "write")
            file.truncate(file.size() - 7)
            file.close()
            again = await open_registry(server)
            assert not known(again)
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            assert server.storage.info(path + ".broken") is not None
            await again.close()

        world.run(scenario())


def test_a_full_disk_is_a_warning_and_the_old_state_stays(caplog: pytest.LogCaptureFixture) -> None:
    with World(1) as world:
        server = world.host("registry", ["20.200.0.1"], disk_bytes=2 * 65_536)

        async def scenario() -> None:
            node = await open_registry(server)
            await open_source(world, [place(server)])
            await asyncio.sleep(10)
            assert not caplog.records
            node.desk.registry.streams[STREAM].bad = {
                n.to_bytes(20, "big"): 1e9 for n in range(4_000)
            }
            await asyncio.sleep(30)
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            server.crash()
            server.restart()
            assert len(known(await open_registry(server))) == 1

        world.run(scenario())


# A flash crowd


def test_a_flash_crowd_of_a_thousand_joins_in_ten_seconds_is_served() -> None:
    link = Link(latency=Uniform(0.01, 0.1), loss=0.01)
    with World(1, link=link) as world:
        server = world.host("registry", ["20.200.0.1"])

        async def scenario() -> None:
            settings = RegistrySettings(
                addresses=("0.0.0.0",), peers_per_network=None, told_per_network=None
            )
            node = await open_registry(server, settings)
            await open_source(world, [place(server)])
            rng = world.rng_for("arrivals")
            crowd = await open_peers(world, [f"p{n}" for n in range(1_000)], [place(server)])
            waits = []

            async def arrive(peer: OnHost) -> None:
                await asyncio.sleep(10 * rng.random())
                began = peer.host.time()
                joined = await peer.join(wanted=16)
                waits.append(peer.host.time() - began)
                assert joined.contacts

            await asyncio.gather(*(arrive(peer) for peer in crowd))
            assert len(known(node)) == 1_001
            waits.sort()
            assert waits[-1] < 8, "the worst lost three datagrams"
            assert waits[500] < 0.5, "a token and an answer: two round trips"

        world.run(scenario())


# Nobody there; one who stands in


QUICK = ContactsSettings(timeout_s=0.2, attempts=2, rounds=2, pause_s=0.1)


def test_a_registry_that_is_down_is_one_clear_error_in_bounded_time() -> None:
    with World(1) as world:
        nowhere = world.host("nowhere")

        async def scenario() -> None:
            host = world.host("p")
            peer = await OnHost(host, "p", [place(nowhere)], settings=QUICK).open()
            with pytest.raises(NoAnswerError) as caught:
                await peer.join()
            for word in ("no registry of this stream answers", nowhere.address, "source", "link"):
                assert word in str(caught.value)
            assert world.loop.time() < 5
            await peer.contacts.leave(STREAM)  # never raises
            assert peer.krpc.outstanding == 0

        world.run(scenario())


def test_a_stream_whose_source_is_not_on_the_air_is_told() -> None:
    with World(1) as world:
        server = world.host("registry")

        async def scenario() -> None:
            await open_registry(server)
            (peer,) = await open_peers(world, ["p"], [place(server)])
            with pytest.raises(CallError, match="its source is not on the air"):
                await peer.join()

        world.run(scenario())


@pytest.mark.parametrize("seed", SEEDS)
def test_any_peer_stands_in_for_a_registry_that_is_down(seed: int) -> None:
    """A peer answers the same calls on the port that it has anyway, from what it knows."""
    with World(seed, link=WILD) as world:
        server = world.host("registry", ["20.200.0.1"])

        async def scenario() -> None:
            await open_registry(server)
            await open_source(world, [place(server)])
            host = world.host("standing in", ["20.201.0.1"])
            krpc = Krpc(host)
            krpc.use(await host.open_datagrams(krpc, ("0.0.0.0", PORT)))
            settings = RegistrySettings(streams=frozenset({STREAM}))
            stand_in = RegistryNode(host, settings)
            await host.start(stand_in.share(krpc))

            def served(query: Query) -> Arguments:
                assert query.method in METHODS
                return stand_in.answer(query)

            krpc.serve(b"p2pcast", served)
            places = [place(server), place(host, None)]
            peers = await open_peers(world, [f"p{n}" for n in range(6)], places)
            for peer in peers[:2]:
                await peer.join()
            server.crash()
            for peer in peers:
                await peer.contacts.renew(STREAM)  # the first that answers
            told = await peers[0].join()
            assert {one.peer for one in told.contacts} == {p.keys.peer for p in peers[1:]}
            peers[3].host.crash()  # type: ignore[attr-defined]
            for stripe in range(2):
                await peers[stripe].contacts.delete(STREAM, peers[3].keys.peer, stripe)
            await asyncio.sleep(3)
            assert peers[3].keys.peer not in known(stand_in)
            living = {peer.keys.peer for peer in peers} - {peers[3].keys.peer}
            for peer in peers[:3] + peers[4:]:
                peer.host.start(peer.contacts.stay(STREAM))  # type: ignore[attr-defined]
            await asyncio.sleep(100)
            assert known(stand_in) >= living
            server.restart()
            node = await open_registry(server)
            await asyncio.sleep(120)
            assert known(node) == living | {SOURCE.peer}, "all are back where newcomers ask"
            await stand_in.close()

        world.run(scenario())


def test_a_source_carries_a_registry_on_its_own_port() -> None:
    """Its stream is open as long as it lives, without a call to itself."""
    with World(1, link=WILD) as world:
        home = world.host("source", ["20.200.0.1"])

        async def scenario() -> None:
            krpc = Krpc(home)
            krpc.use(await home.open_datagrams(krpc, ("0.0.0.0", PORT)))
            node = RegistryNode(home, RegistrySettings(), SOURCE)
            krpc.serve(b"p2pcast", node.answer)
            await home.start(node.share(krpc))
            node.carry(STREAM, SOURCE.peer, (home.address, PORT))
            await asyncio.sleep(400)
            (peer, late) = await open_peers(world, ["p", "q"], [place(home, SOURCE)])
            assert [one.peer for one in (await peer.join()).contacts] == [SOURCE.peer]
            neighbour = Newcomer(b"n" * 20, ("20.7.7.7", 9), (0, 0), depth=3)
            node.enter(STREAM, neighbour)
            told = {one.peer: one.depth for one in (await late.join()).contacts}
            assert told == {SOURCE.peer: None, peer.keys.peer: None, b"n" * 20: 3}
            await asyncio.sleep(150)
            assert known(node) == {SOURCE.peer}, "the others did not renew"
            await node.close()

        world.run(scenario())


def test_a_second_registry_on_one_folder_is_refused() -> None:
    with World(1) as world:
        server = world.host("registry")

        async def scenario() -> None:
            node = await open_registry(server)
            other = RegistryNode(server, RegistrySettings(port=7_000, state_folder=FOLDER))
            with pytest.raises(StorageError, match=r"another registry may be running.*--state"):
                await server.start(other.start())
            await node.close()
            await server.start(other.start())
            await other.close()

        world.run(scenario())


def test_a_folder_that_cannot_be_written_is_told_at_the_start() -> None:
    with World(1) as world:
        server = world.host("registry")

        async def scenario() -> None:
            server.storage.make_folders("there")
            server.storage.set_read_only("there")
            for folder in ("there", "there/below"):
                node = RegistryNode(server, RegistrySettings(state_folder=folder))
                with pytest.raises(NotWritableError, match=r"there.*--state"):
                    await server.start(node.start())

        world.run(scenario())
