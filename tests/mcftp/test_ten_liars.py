"""A hundred receivers of which ten report wrongly, each a peer of its own on the wire: to the
leader what they hold and what they lost, to the senders what they lack."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.mcftp.peers import Room

from spinney.errors import WireError
from spinney.groups.group import Group, GroupReceiver, Sent
from spinney.groups.ip import IpGroups
from spinney.mcftp import codec
from spinney.mcftp import messages as m
from spinney.mcftp import packets as p
from spinney.mcftp.members import held_bytes
from spinney.mcftp.stream import Stream
from spinney.sim import SimHost
from spinney.trust.envelope import file_tag, make, parse
from spinney.trust.keys import Keys
from spinney.trust.seal import seal

HONEST, LIARS = 90, 10


class WrongReporter(GroupReceiver):
    """Answers each request of the leader by a report that is wrong in one of three ways, and asks
    every sender for as much repair as a report may name.  Never sends a symbol."""

    def __init__(self, host: SimHost, number: int, infohash: bytes, blocks: int) -> None:
        self.host, self.number, self.blocks = host, number, blocks
        self.infohash, self.file = infohash, file_tag(infohash)
        self.keys = Keys(bytes([number]) * 32)
        self.groups = IpGroups(host)
        self.sequence = self.told = 0
        self.streams: dict[int, Group] = {}
        self.group: Group

    async def join(self, address: bytes) -> None:
        self.group = await self.groups.join(address, self)

    def group_received(self, batch: list[Sent]) -> None:
        for data, _ in batch:
            try:
                said = codec.decode(parse(data).message)
            except WireError:
                continue
            if isinstance(said, m.StatusRequest):
                self.report(said)
            elif isinstance(said, m.KeepAlive):
                for stream in said.streams:
                    asyncio.get_running_loop().create_task(self.ask(said.reign, stream))

    def report(self, asked: m.StatusRequest) -> None:
        """It holds all and is the best to send and to lead; or it lacks all and loses all; or it
        has all and lost what it had, in turn."""
        way = self.number % 3
        holds = way == 0 or (way == 2 and self.told % 2)
        self.told += 1
        status = m.Status(
            number=asked.number, complete=False, have_blocks=self.blocks if holds else 0,
            first=0, count=0 if holds else self.blocks,
            held=b"" if holds else held_bytes(0, 0, self.blocks),
            up_bytes_per_s=1 << 30, down_bytes_per_s=1, port=0, uptime_s=1 << 20,
            loss_permille=1_000, receives=True, sends=True, leads=way == 0,
        )  # fmt: skip
        plain = codec.encode_status(status)
        box = seal(asked.sealing_key, plain, asked.reign, self.host.entropy(32))
        self.sequence += 1
        row = codec.encode(m.SealedStatus(asked.reign, box))
        self.group.send(make(self.keys, self.file, self.sequence, row))

    async def ask(self, reign: bytes, stream: Stream) -> None:
        if stream.number in self.streams:
            return
        group = await self.groups.join(stream.address, GroupReceiver())
        self.streams[stream.number] = group
        prefix = p.prefix_of(p.NEED, stream.number, p.tag_of(self.infohash, reign))
        for turn in range(150):
            lacks = tuple(
                p.Lack(block, 1, 250 * (turn // 4), 250) for block in range(min(self.blocks, 50))
            )
            group.send(p.encode_need(prefix, p.Need(0, 0, 0, 0, lacks), self.keys))
            await asyncio.sleep(0.3)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.night) for seed in range(1, 8))]
)
def test_ten_of_a_hundred_report_wrongly(seed: int) -> None:
    """The honest have it in little more than the time that it takes without them."""

    async def run() -> None:
        settings = replace(room.settings, wait_for=HONEST // 2)
        source = await room.peer(0, settings).start(full=True)
        await room.until(lambda: source.node.group is not None, 5.0)
        group = source.node.group
        assert group is not None
        liars = []
        for number in range(1, LIARS + 1):
            liar = WrongReporter(
                room.hosts[-number], number, source.node.key, source.node.layout.block_count
            )
            liars.append(liar)
            await liar.join(group.address)
        await asyncio.sleep(4.5)  # the leader has asked them
        await asyncio.gather(*(room.peer(number).start() for number in range(1, HONEST)))
        size = len(room.content.space)
        took = await room.until(room.all_done, 60.0, 0.2)
        sent = sum(peer.node.flows.sent_bytes for peer in room.peers)
        print(f"{took:.1f} s, {sent / size:.2f} times the file")
        assert source.node.leading is not None
        leader = source.node.leading.leader
        assert all(leader.members.get(liar.keys.peer) is not None for liar in liars), "believed"
        assert all(liar.streams for liar in liars)
        assert took < 3.0 * size / room.settings.rate_bytes_per_s + 3.0
        assert sent < 2.5 * size
        assert source.leads

    with Room(seed, HONEST + LIARS, size=4_000_000) as room:
        room.world.run(run())
