"""Whole peers of MC-FTP on a simulated LAN: transfer, directory and node, that crash and return."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.mcftp.lans import QUICK, Lan, directory
from tests.mcftp.stage import transfer_on

from content.moving import Content, MemorySink
from spinney.content.transfer import Transfer
from spinney.groups.ip import IpGroups
from spinney.mcftp.checks import LeaderCheck
from spinney.mcftp.lan_directory import LanDirectory
from spinney.mcftp.node import McftpNode
from spinney.mcftp.settings import Settings
from spinney.mcftp.view import McftpEvent
from spinney.sim import SimHost

RATE = 1_000_000


class Peer:
    """One machine.  What it held survives a crash (its sink is its disk)."""

    def __init__(self, room: Room, host: SimHost, settings: Settings, **more: Any) -> None:
        self.room, self.host, self.settings, self.more = room, host, settings, more
        self.events: list[McftpEvent] = []
        self.done_at: float | None = None
        self.pieces: list[int] = []
        self.transfer: Transfer
        self.directory: LanDirectory
        self.node: McftpNode

    async def start(self, *, full: bool = False, pieces: list[int] | None = None) -> Peer:
        """Runs as a program of its machine, so that it dies with it."""
        await self.host.start(self._start(full, pieces))
        return self

    async def _start(self, full: bool, pieces: list[int] | None) -> None:
        content = self.room.content
        self.transfer = await transfer_on(self.host, content, full=full, pieces=pieces)
        self.transfer.on_complete(self._done)
        self.directory = await directory(self.host)
        self.node = McftpNode(
            self.host,
            self.transfer,
            IpGroups(self.host),
            self.directory,
            self.settings,
            on_event=self.events.append,
            **self.more,
        )
        await self.node.start()
        self.room.peers.append(self)

    def _done(self) -> None:
        if self.done_at is None:
            self.done_at = asyncio.get_running_loop().time()

    async def close(self) -> None:
        self.room.peers.remove(self)
        await self.node.close()
        await self.directory.close()

    def crash(self) -> None:
        """The machine stops at once."""
        self.room.peers.remove(self)
        self.room.check()
        self.pieces = list(self.transfer.have)
        self.host.crash()

    @property
    def bytes_right(self) -> bool:
        sink = self.transfer.sink
        assert isinstance(sink, MemorySink)
        content, length = self.room.content, self.room.content.piece_length
        return all(
            sink.space[piece * length : piece * length + len(content.piece(piece))]
            == content.piece(piece)
            for piece in self.transfer.have
        )

    @property
    def leads(self) -> bool:
        return self.node.leading is not None

    def happened(self, what: str) -> list[McftpEvent]:
        return [event for event in self.events if event.what == what]


class Room(Lan):
    """A LAN with one content and peers around it."""

    def __init__(
        self,
        seed: int,
        machines: int,
        *,
        size: int = 3_000_000,
        piece: int = 1 << 16,
        link: Any = QUICK,
        **settings: Any,
    ) -> None:
        super().__init__(seed, machines, link)
        self.content = Content([size], piece, seed=seed)
        self.peers: list[Peer] = []
        self.settings = Settings(**{"rate_bytes_per_s": RATE, **settings})
        self.leaders = LeaderCheck()

    def peer(self, number: int, settings: Settings | None = None, **more: Any) -> Peer:
        return Peer(self, self.hosts[number], settings or self.settings, **more)

    def check(self) -> None:
        """Safety: at any moment."""
        self.leaders.look(peer.node for peer in self.peers)
        for peer in self.peers:
            assert peer.bytes_right

    async def until(self, ready: Callable[[], bool], limit_s: float, step_s: float = 0.05) -> float:
        """Waits for something, looking for broken rules meanwhile; returns the time it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not ready():
            assert loop.time() - began < limit_s, "it takes too long"
            self.leaders.look(peer.node for peer in self.peers)
            await asyncio.sleep(step_s)
        self.check()
        return loop.time() - began

    def all_done(self) -> bool:
        return all(peer.transfer.complete for peer in self.peers)

    @property
    def leader(self) -> Peer | None:
        return next((peer for peer in self.peers if peer.leads), None)
