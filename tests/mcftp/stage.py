"""Material of the data path's tests: keys that need no cryptography, senders and receivers on
simulated machines (or real ones), each with a transfer of its own."""

from __future__ import annotations

import asyncio
from hashlib import blake2b, sha256
from typing import Any, cast

from content.moving import Content, MemorySink
from spinney.content.transfer import Settings, Transfer
from spinney.events import SourceBytes
from spinney.groups.ip import IpGroups
from spinney.mcftp.datasettings import DATA_SETTINGS, DataSettings
from spinney.mcftp.layout import BlockLayout
from spinney.mcftp.packets import tag_of
from spinney.mcftp.receiving import Receiving
from spinney.mcftp.sending import Sending
from spinney.mcftp.stream import Stream
from spinney.net.host import Address, Host
from spinney.sim import Constant, Link, SimHost, World

GROUP = b"ip4:239.255.7.7:6780"


class PlainKeys:
    """A keyed hash for a signature: whoever has the public part can sign, so only for tests."""

    def __init__(self, name: str) -> None:
        self.public = sha256(name.encode()).digest()
        self.peer = sha256(self.public).digest()[:20]

    def sign(self, data: bytes) -> bytes:
        return blake2b(data, key=self.public, digest_size=64).digest()

    def verify(self, peer: bytes, public: bytes, data: bytes, signature: bytes) -> bool:
        return (
            sha256(public).digest()[:20] == peer
            and blake2b(data, key=public, digest_size=64).digest() == signature
        )


class Notes:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int]] = []

    def stalled(self, stream: Stream, silent_s: float) -> None:
        self.rows.append(("stalled", stream.number))

    def resumed(self, stream: Stream) -> None:
        self.rows.append(("resumed", stream.number))

    def dismissed(self, stream: Stream) -> None:
        self.rows.append(("dismissed", stream.number))

    def spoiled(self, stream: Stream, address: Address) -> None:
        self.rows.append(("spoiled", stream.number))


def lan(
    count: int, *, loss: float = 0.0, seed: int = 1, **line: Any
) -> tuple[World, list[SimHost]]:
    """A world with one LAN of so many machines; each loses `loss` of what comes to it."""
    world = World(seed)
    net = world.lan("lan", link=Link(latency=Constant(0.0002)), prefix4="10.77.0.0/16")
    hosts = [world.host("h0", on=net)]
    receiver = Link(loss=loss, **line)
    hosts += [world.host(f"h{number}", on=net, link=receiver) for number in range(1, count)]
    return world, hosts


async def transfer_on(
    host: Host, content: Content, *, full: bool = False, pieces: list[int] | None = None
) -> Transfer:
    """A started transfer in memory; `full`: it has everything; else it has `pieces`."""
    sink = MemorySink(content)
    transfer = Transfer(host, content.descriptor, cast(Any, sink), settings=Settings())
    if full:
        sink.space[:] = content.space
    await transfer.start(trust=full)
    for piece in pieces or ():
        from content.moving import Script

        feed = transfer.attach(Script("before"))
        feed.deliver(piece * content.piece_length, content.piece(piece))
        await transfer.intake.drain()
        feed.leave()
    return transfer


def sender_stream(
    layout: BlockLayout,
    rate_bytes_per_s: int,
    *,
    number: int = 0,
    name: str = "sender",
    sender_number: int = 0,
    blocks: tuple[tuple[int, int], ...] | None = None,
    address: bytes = GROUP,
) -> Stream:
    return Stream(
        number=number,
        address=address,
        sender=PlainKeys(name).peer,
        sender_number=sender_number,
        rate_bytes_per_s=rate_bytes_per_s,
        blocks=((0, layout.block_count),) if blocks is None else blocks,
    )


class Stage:
    """One content on several machines: the first sends, the others receive."""

    def __init__(
        self, content: Content, settings: DataSettings = DATA_SETTINGS, **groups: Any
    ) -> None:
        self.content = content
        self.settings = settings
        self.layout = BlockLayout(content.descriptor)
        self.tag = tag_of(content.descriptor.infohash_v1 or b"", b"reign")
        self.groups = groups

    def groups_of(self, host: Host) -> IpGroups:
        return IpGroups(host, **self.groups)

    async def sending(
        self, host: Host, stream: Stream, name: str = "sender", **more: Any
    ) -> Sending:
        transfer = more.pop("transfer", None) or await transfer_on(host, self.content, full=True)
        sending = Sending(
            host, self.layout, transfer, self.tag, stream, PlainKeys(name), self.settings, **more
        )
        await sending.start(IpGroups(host, **self.groups))
        return sending

    async def receiving(self, host: Host, *streams: Stream, **more: Any) -> Receiving:
        transfer = more.pop("transfer", None) or await transfer_on(host, self.content)
        receiving = Receiving(
            host, self.layout, transfer, self.tag, PlainKeys(host.name), self.settings, **more
        )
        for stream in streams:
            await receiving.follow(stream, IpGroups(host, **self.groups))
        return receiving


async def complete(receiving: Receiving, limit_s: float) -> float:
    """Waits until everything is verified; returns the time.  Raises `TimeoutError`."""
    done = asyncio.Event()
    receiving.transfer.on_complete(done.set)
    async with asyncio.timeout(limit_s):
        await done.wait()
    return asyncio.get_running_loop().time()


def counted(receiving: Receiving) -> SourceBytes:
    transfer = receiving.transfer
    assert isinstance(transfer, Transfer)
    return transfer.totals()["multicast"]
