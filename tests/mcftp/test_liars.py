"""Members that lie: each a peer of its own on the wire, with the honest code's messages."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from tests.mcftp.peers import Peer, Room
from tests.mcftp.test_messages import MESSAGES

from spinney.groups.group import Group, GroupReceiver, Sent
from spinney.groups.ip import IpGroups
from spinney.mcftp import codec
from spinney.mcftp import messages as m
from spinney.mcftp.stream import Stream
from spinney.trust.envelope import make, parse
from spinney.trust.keys import Keys


class Liar(GroupReceiver):
    """Hears everything and says what it likes."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.keys = Keys(b"\7" * 32)
        self.sequence = 0
        self.heard: list[bytes] = []
        self.group: Group

    async def join(self) -> Liar:
        group = self.peer.node.group
        assert group is not None
        host = self.peer.room.hosts[-1]
        self.group = await IpGroups(host).join(group.address, self)
        return self

    def group_received(self, batch: list[Sent]) -> None:
        self.heard += [data for data, _ in batch]

    def say(self, message: m.Message) -> None:
        self.sequence += 1
        self.group.send(make(self.keys, self.peer.node.file, self.sequence, codec.encode(message)))

    async def keep_alive(self) -> bytes:
        """The next of the true leader's."""
        while True:
            for data in self.heard:
                if isinstance(codec.decode(parse(data).message), m.KeepAlive):
                    return data
            await asyncio.sleep(0.05)


def test_a_forged_keep_alive_moves_nobody() -> None:
    """Altered, said again, in the name of the same term, or of an older one."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        one = await room.peer(1).start()
        await asyncio.sleep(3.0)
        liar = await Liar(source).join()
        data = await liar.keep_alive()
        true = codec.decode(parse(data).message)
        assert isinstance(true, m.KeepAlive)
        for _ in range(50):
            liar.group.send(data)
            liar.group.send(data.replace(b"1:ei1e", b"1:ei9e"))
            row: dict[str, Any] = {name: getattr(true, name) for name in true.__slots__}
            liar.say(m.KeepAlive(**{**row, "serial": 1 << 40, "streams": ()}))
            liar.say(m.KeepAlive(**{**row, "term": 0, "streams": ()}))
            liar.say(m.HandOver(true.reign, true.term, liar.keys.peer))
            liar.say(m.PreVote(true.reign, 9, (9, 9)))
            liar.say(m.Vote(true.reign, 9, (9, 9)))
            await asyncio.sleep(0.02)
        assert source.leads
        assert one.node.election.leader == source.node.keys.peer
        assert one.node.election.leader_term == 1
        await room.until(room.all_done, 10.0)
        assert source.node.flows.sent_bytes <= 1.02 * len(room.content.space)

    with Room(1, 3, size=5_000_000) as room:
        room.world.run(run())


def test_a_leader_that_says_nonsense_breaks_nobody() -> None:
    """It founds a reign of its own, and its streams are no groups and no blocks of ours."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        one = await room.peer(1).start()
        await asyncio.sleep(2.5)
        liar = await Liar(source).join()
        bad = [
            Stream(1, b"ip4:10.0.0.1:80", liar.keys.peer, 0, 1, ((0, 1),)),
            Stream(2, b"ip4:239.255.1.1:6780", liar.keys.peer, 0, 1, ((1 << 20, 1 << 20),)),
            Stream(3, b"ip4:239.255.1.1:6780", one.node.keys.peer, 0, 1, ((0, 2), (1, 2))),
            Stream(4, b"ip4:239.255.1.1:6780", one.node.keys.peer, 0, 1, ((0, 1 << 24),)),
        ]
        for number in range(20):
            liar.say(
                m.KeepAlive(
                    reign=b"%08d" % number,
                    term=number + 1,
                    serial=1,
                    page=0,
                    pages=1,
                    interval_ms=1000,
                    age_ms=0,
                    members=1 << 40,
                    complete=0,
                    started=True,
                    sealing_key=bytes(32),
                    electorate=m.Electorate((1, 0), (liar.keys.peer,)),
                    proposed=None,
                    streams=tuple(bad),
                )
            )
            await asyncio.sleep(0.05)
            assert not one.node.flows.sending
        # It falls silent: the true ones found a reign again, and the file arrives.
        await room.until(room.all_done, 60.0)

    with Room(2, 3, size=5_000_000) as room:
        room.world.run(run())


@pytest.mark.parametrize("seed", range(3))
def test_any_messages_in_any_order(seed: int) -> None:
    """Signed rubbish of every kind but leadership, while a file is on its way."""

    async def run() -> None:
        source = await room.peer(0).start(full=True)
        for number in (1, 2):
            await room.peer(number).start()
        await asyncio.sleep(2.0)
        liar = await Liar(source).join()
        rng = Random(seed)
        reign = source.node.election.reign
        rows = [message for message in MESSAGES if not isinstance(message, m.KeepAlive)]
        for _ in range(400):
            table = codec.encode(rng.choice(rows))
            if b"r" in table:
                table[b"r"] = rng.choice([reign, b"12345678"])
            for key in table:
                if type(table[key]) is int and rng.random() < 0.3:
                    table[key] = rng.choice([0, 1, 255, 1 << 20, codec.NUMBER_MAX])
            liar.sequence += rng.choice([1, 1, 1, 100])
            liar.group.send(make(liar.keys, source.node.file, liar.sequence, table))
            if rng.random() < 0.1:
                liar.group.send(rng.randbytes(rng.randrange(1_200)))
            await asyncio.sleep(0.004)
        await room.until(room.all_done, 20.0)
        assert source.leads

    with Room(seed, 4, size=4_000_000) as room:
        room.world.run(run())
