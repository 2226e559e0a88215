"""DELETE in the simulated world, and liars as nodes: false accusers, Sybils, forgers, replays."""

from __future__ import annotations

import asyncio

import pytest
from tests.p2pcast.registries import PORT, REGISTRY, SOURCE, STREAM, OnHost, keys_of
from tests.p2pcast.registry_worlds import (
    SEEDS,
    SETTINGS,
    WILD,
    known,
    open_peers,
    open_registry,
    open_source,
    place,
)

from spinney import lab
from spinney.errors import CallError, NoAnswerError
from spinney.net.host import Datagram, DatagramReceiver
from spinney.p2pcast.registry import codec
from spinney.p2pcast.registry import messages as m
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.sim import SimHost, World
from spinney.wire.krpc import Krpc
from spinney.wire.krpc_messages import Arguments, Query, encode_query

# DELETE: the truth, lies, and time


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dead_peer_is_deleted_in_seconds_and_a_living_one_never(seed: int) -> None:
    with World(seed, link=WILD) as world:
        server = world.host("registry", ["20.200.0.1"])

        async def scenario() -> None:
            node = await open_registry(server)
            await open_source(world, [place(server)])
            peers = await open_peers(world, [f"p{n}" for n in range(8)], [place(server)])
            for peer in peers:
                await peer.join()
            dead, living, one, other, liar = peers[:5]
            dead.host.crash()  # type: ignore[attr-defined]
            began = world.loop.time()
            await one.contacts.delete(STREAM, dead.keys.peer, 0)
            await other.contacts.delete(STREAM, dead.keys.peer, 1)
            while dead.keys.peer in known(node):
                await asyncio.sleep(0.05)
                assert world.loop.time() - began < 10
            for stripe in range(6):
                await liar.contacts.delete(STREAM, living.keys.peer, stripe)
                await asyncio.sleep(2)
            assert living.keys.peer in known(node)
            assert 1 <= living.asked <= 10
            assert node.desk.witnesses.is_deaf(STREAM, liar.keys.peer, world.loop.time())
            assert living.keys.peer in {c.peer for c in (await one.join()).contacts}

        world.run(scenario())


@pytest.mark.parametrize("seed", SEEDS)
def test_liars_in_two_stripes_delete_nobody_who_answers(seed: int) -> None:
    with World(seed, link=WILD) as world:
        server = world.host("registry", ["20.200.0.1"])

        async def scenario() -> None:
            node = await open_registry(server)
            await open_source(world, [place(server)])
            peers = await open_peers(world, [f"p{n}" for n in range(8)], [place(server)])
            for peer in peers:
                await peer.join()
            victim, *liars = peers
            for turn in range(6):
                await asyncio.gather(
                    *(
                        liar.contacts.delete(STREAM, victim.keys.peer, (turn + n) % 8)
                        for n, liar in enumerate(liars)
                    )
                )
                await asyncio.sleep(3)
            # Six lost datagrams in a row would be taken for death: the victim then joins again.
            assert victim.keys.peer in known(node)
            now = world.loop.time()
            deaf = [node.desk.witnesses.is_deaf(STREAM, liar.keys.peer, now) for liar in liars]
            assert all(deaf)

        world.run(scenario())


# Sybils, forgers, replays


def test_a_flood_of_names_from_one_network_is_eight_of_a_hundred() -> None:
    with World(1, link=WILD) as world:
        server = world.host("registry", ["20.200.0.1"])

        async def scenario() -> None:
            node = await open_registry(
                server, RegistrySettings(addresses=("0.0.0.0",), peers_per_network=8)
            )
            await open_source(world, [place(server)])
            honest = await open_peers(world, [f"p{n}" for n in range(6)], [place(server)])
            for peer in honest:
                await peer.join()
            refusals = 0
            for n in range(40):
                host = world.host(f"sybil {n}", [f"30.1.1.{n + 1}"])
                sybil = await OnHost(host, f"sybil {n}", [place(server)]).open()
                try:
                    await sybil.join()
                except CallError as error:
                    refusals += error.code == m.FULL and "your network" in str(error)
            assert refusals == 32
            assert len(known(node)) == 7 + 8
            for _ in range(20):
                told = (await honest[0].join(wanted=6)).contacts
                assert sum(one.address[0].startswith("30.1.1.") for one in told) <= 1

        world.run(scenario())


class Forger(DatagramReceiver):
    """Sends what it likes, and hears what comes back."""

    def __init__(self, host: SimHost) -> None:
        self.host = host
        self.heard: list[bytes] = []

    def datagrams_received(self, batch: list[Datagram]) -> None:
        self.heard += [data for data, _, _ in batch]

    async def open(self) -> Forger:
        self.socket = await self.host.open_datagrams(self, ("0.0.0.0", PORT))
        return self

    async def says(self, method: bytes, arguments: Arguments, server: SimHost) -> bytes:
        self.heard.clear()
        self.socket.send(encode_query(b"tttt", method, arguments), (server.address, PORT))
        await asyncio.sleep(1)
        return b"".join(self.heard)


def test_replayed_tokens_forged_signatures_and_rubbish_change_nothing() -> None:
    with World(1) as world:
        server = world.host("registry", ["20.200.0.1"])
        forger_host = world.host("forger", ["30.1.1.1"])

        async def scenario() -> None:
            node = await open_registry(server)
            await open_source(world, [place(server)])
            (peer,) = await open_peers(world, ["p"], [place(server)])
            await peer.join()
            before = known(node)
            forger = await Forger(forger_host).open()
            ((_, token),) = peer.contacts._tokens.items()
            mallory = keys_of("mallory")
            stolen = codec.sign(mallory, 1, m.Join(STREAM, token))
            answer = await forger.says(m.Join.method, stolen, server)
            assert b"i301e" in answer, "the token is another address's"
            assert len(answer) < 150
            own = codec.decode_token(
                await peer.krpc.ask(
                    (server.address, PORT), m.AskToken.method, codec.encode_ask(m.AskToken(STREAM))
                )
            ).token
            replayed = codec.sign(peer.keys, 10**15, m.Leave(STREAM, own))
            assert b"i301e" in await forger.says(m.Leave.method, replayed, server)
            for data in (b"", b"rubbish", b"d1:ad1:e3:abce1:q12:p2pcast.join1:t4:tttt1:y1:qe"):
                forger.socket.send(data, (server.address, PORT))
            answer = await forger.says(b"p2pcast.alive", {}, server)
            assert b"no peer" in answer
            assert known(node) == before

        world.run(scenario())


def test_a_forged_registry_is_found_out_by_its_ticket() -> None:
    with World(1) as world:
        false, true = world.host("false", ["20.200.0.1"]), world.host("true", ["20.200.1.1"])

        async def scenario() -> None:
            await open_registry(false, SETTINGS, keys_of("mallory"))
            node = await open_registry(true)
            await open_source(world, [place(true)])
            for keys, there in ((SOURCE, false), (keys_of("crony"), false)):
                (crony,) = await open_peers(
                    world, [f"crony {keys}"], [place(there, keys_of("mallory"))], keys
                )
                await crony.join()
            (peer,) = await open_peers(world, ["p"], [place(false), place(true)])
            await peer.join()
            assert peer.keys.peer in known(node), "the next registry was asked"
            (fooled,) = await open_peers(world, ["q"], [place(false)])
            with pytest.raises(NoAnswerError, match=r"can be believed .*ticket.*fresh link"):
                await fooled.join()

        world.run(scenario())


def test_a_registry_cannot_send_us_to_our_own_network() -> None:
    """A public one names private and loopback addresses: they are not believed."""
    with World(1) as world:
        server = world.host("registry", ["20.200.0.1"])

        async def scenario() -> None:
            liar = Krpc(server)
            named = ["192.168.1.1", "127.0.0.1", "10.0.0.7", "224.0.0.1", "21.1.1.1"]
            contacts = tuple(m.Contact(bytes(20), (each, 9)) for each in named)

            def served(query: Query) -> Arguments:
                if query.method == m.AskToken.method:
                    return codec.encode_token(m.Token(bytes(8)))
                said, sealed = codec.read_said(query.method, query.arguments)
                ticket = m.Ticket.issue(REGISTRY, STREAM, sealed.peer_id, 1)
                return codec.encode_joined(
                    m.Joined(said.token, 45, 1, query.remote, contacts, ticket)
                )

            liar.serve(b"p2pcast", served)
            liar.use(await server.open_datagrams(liar, ("0.0.0.0", PORT)))
            (peer,) = await open_peers(world, ["p"], [place(server)])
            assert [one.address for one in (await peer.join()).contacts] == [("21.1.1.1", 9)]

        world.run(scenario())


# The laboratory's table of the same


def test_what_a_flood_of_names_gains_is_its_share_of_networks() -> None:
    given = {"peers": 30, "names": 32, "networks": [1, 10], "per_network": [0, 8]}
    done = lab.run("p2pcast-registry", 2, given, workers=1)
    assert done.failures == []
    for row in done.rows:
        assert isinstance(row["told_share"], float)
        assert row["told_share"] <= 1.6 * row["networks"] / (30 + row["networks"])  # type: ignore[operator]
        if row["networks"] == 1:
            assert row["names_in"] == (row["per_network"] or 32)
        assert row["victim_in"] == 1
