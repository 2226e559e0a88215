"""Material of the swarm tests: a torrent, its members on any host, and a peer made by hand."""

from __future__ import annotations

import asyncio
import random
from hashlib import sha1
from typing import Any

from spinney.bittorrent.codec import encode, encode_handshake
from spinney.bittorrent.messages import Handshake, Message
from spinney.bittorrent.node import BitTorrent
from spinney.bittorrent.reader import Reader
from spinney.bittorrent.settings import Settings
from spinney.bittorrent.swarm import Swarm
from spinney.content.descriptor import Descriptor
from spinney.content.store import FolderStore
from spinney.content.transfer import Transfer
from spinney.net.host import Address, Host
from spinney.net.limits import Bucket
from spinney.wire import bencode

LOCAL = ("127.0.0.1",)


class Torrent:
    """One file of `size` made-up bytes."""

    def __init__(self, size: int, piece_length: int = 65_536, seed: int = 1) -> None:
        self.data = random.Random(seed).randbytes(size)
        pieces = b"".join(
            sha1(self.data[at : at + piece_length]).digest() for at in range(0, size, piece_length)
        )
        self.info_bytes = bencode.encode(
            {b"length": size, b"name": b"leaf", b"piece length": piece_length, b"pieces": pieces}
        )
        self.descriptor = Descriptor.from_info(self.info_bytes)
        self.infohash = sha1(self.info_bytes).digest()


class Member:
    """One node with one transfer.  `seed`: it has the data."""

    def __init__(
        self,
        host: Host,
        torrent: Torrent,
        folder: str,
        *,
        seed: bool = False,
        magnet: bool = False,
        settings: Settings | None = None,
        up: float | None = None,
        down: float | None = None,
        private: bool = False,
    ) -> None:
        self.host, self.torrent, self.folder = host, torrent, folder
        self.seed, self.magnet, self.private = seed, magnet, private
        self.settings = settings or Settings(addresses=LOCAL)
        self.up, self.down = Bucket(up), Bucket(down)
        self.done_at: float | None = None
        self.node: BitTorrent
        self.swarm: Swarm
        self.transfer: Transfer

    async def start(self) -> Member:
        self.node = BitTorrent(self.host, self.settings, up=self.up, down=self.down)
        await self.node.start()
        if self.seed:
            await self.host.work(self._write)
        if self.magnet:
            self.swarm = self.node.add((self.torrent.infohash,), private=self.private)
        else:
            await self._open()
            self.swarm = self.node.add(
                (self.torrent.infohash,),
                transfer=self.transfer,
                info_bytes=self.torrent.info_bytes,
                private=self.private,
            )
        return self

    def _write(self) -> None:
        self.host.storage.make_folders(self.folder)
        file = self.host.storage.open(f"{self.folder}/leaf", "create")
        file.write(0, [self.torrent.data])
        file.close()

    async def _open(self) -> None:
        store = FolderStore(self.host.storage, self.torrent.descriptor, self.folder)
        self.transfer = Transfer(self.host, self.torrent.descriptor, store)
        await self.transfer.start(trust=self.seed)
        self.finished = asyncio.Event()
        self.transfer.on_complete(self._done)

    def _done(self) -> None:
        self.done_at = self.host.time()
        self.finished.set()

    async def describe(self) -> None:
        """A magnet link: waits for the description, then begins."""
        info = await self.swarm.metadata()
        assert info == self.torrent.info_bytes
        await self._open()
        self.swarm.begin(self.transfer, info)

    @property
    def address(self) -> Address:
        name = self.settings.addresses[0]
        if name in ("0.0.0.0", "::"):
            name = self.host.interfaces()[-1].addresses[0][0]
        return name, self.node.port

    def knows(self, *others: Member) -> None:
        self.swarm.found([other.address for other in others], "user")

    async def wait(self, timeout_s: float) -> None:
        await asyncio.wait_for(self.finished.wait(), timeout_s)

    def read_back(self) -> bytes:
        file = self.host.storage.open(f"{self.folder}/leaf", "read")
        try:
            return file.read(0, len(self.torrent.data))
        finally:
            file.close()

    async def close(self) -> None:
        await self.node.close()
        if hasattr(self, "transfer"):
            await self.transfer.close()


class Stranger(asyncio.Protocol):
    """A peer made by hand: says what a test wants, and records what it hears."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.blocks: list[tuple[int, int, bytes]] = []
        self.asked: list[tuple[int, int, int]] = []
        self.haves: list[int] = []
        self.handshake = b""
        self.lost = asyncio.Event()
        self.news = asyncio.Event()
        self._kept = b""
        self._reader = Reader(self)
        self.transport: asyncio.Transport

    @classmethod
    async def dial(cls, host: Host, address: Address) -> Stranger:
        _, stranger = await host.connect(cls, address)
        return stranger

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._kept += data
        if len(self.handshake) < 68:
            self.handshake, self._kept = self._kept[:68], self._kept[68:]
            if len(self.handshake) < 68:
                self._kept = self.handshake
                self.handshake = b""
                return
        self._kept = self._kept[self._reader.consume(memoryview(self._kept)) :]
        self.news.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()
        self.news.set()

    def block(self, piece: int, begin: int, data: memoryview) -> None:
        self.blocks.append((piece, begin, bytes(data)))

    def requests(self, ranges: Any) -> None:
        self.asked.extend(ranges)

    def have(self, piece: int) -> None:
        self.haves.append(piece)

    def message(self, message: Message) -> None:
        self.heard.append(message)

    def chatter(self) -> None: ...

    def greet(
        self,
        infohash: bytes,
        peer_id: bytes = b"-XX0000-stranger0001",
        *,
        fast: bool = True,
        extended: bool = True,
    ) -> None:
        reserved = bytes([0, 0, 0, 0, 0, 0x10 if extended else 0, 0, 0x04 if fast else 0])
        self.transport.write(encode_handshake(Handshake(reserved, infohash, peer_id)))

    def say(self, *messages: Message) -> None:
        self.transport.write(b"".join(encode(message) for message in messages))

    async def until(self, condition: Any, timeout_s: float = 10.0) -> None:
        """Waits until `condition()` holds; news are looked at as they come."""

        async def wait() -> None:
            while not condition():
                self.news.clear()
                await self.news.wait()

        await asyncio.wait_for(wait(), timeout_s)

    def heard_of(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.heard if isinstance(message, kind)]
