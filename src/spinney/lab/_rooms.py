"""Groups for experiments: machines of one LAN, each with files, a directory, and nodes."""

from __future__ import annotations

from collections.abc import Sequence

from spinney.content.store import FolderStore
from spinney.content.transfer import Transfer
from spinney.groups.group import GroupReceiver
from spinney.groups.ip import IpGroup, IpGroups
from spinney.lab._torrents import FILE, Torrent
from spinney.mcftp.lan_directory import LanDirectory, lan_address
from spinney.mcftp.node import Leaderships, McftpNode
from spinney.mcftp.settings import Settings
from spinney.net.host import Buffer
from spinney.sim.host import SimHost


class Tally:
    """What one machine says by multicast, and in how many groups it is."""

    def __init__(self) -> None:
        self.control_bytes = 0
        self.control_datagrams = 0
        self.groups = 0
        self.most_groups = 0


class CountedGroup(IpGroup):
    """Single payloads are control, bursts are data."""

    tally: Tally
    counted = False

    def send(self, payload: Buffer) -> None:
        self.tally.control_bytes += len(payload)
        self.tally.control_datagrams += 1
        super().send(payload)

    def close(self) -> None:
        if self.counted:
            self.counted = False
            self.tally.groups -= 1
        super().close()


class CountedGroups(IpGroups):
    """Groups by IP multicast of one machine, counted."""

    def __init__(self, host: SimHost) -> None:
        super().__init__(host)
        self.tally = Tally()

    async def join(
        self, address: bytes, receiver: GroupReceiver, *, send_only: bool = False
    ) -> IpGroup:
        group = await super().join(address, receiver, send_only=send_only)
        group.__class__ = CountedGroup
        assert isinstance(group, CountedGroup)
        group.tally, group.counted = self.tally, True
        self.tally.groups += 1
        self.tally.most_groups = max(self.tally.most_groups, self.tally.groups)
        return group


class Machine:
    """One machine with transfers of several files, of which it runs nodes as it likes."""

    def __init__(self, host: SimHost, *, leaderships: int = 20) -> None:
        self.host = host
        self.groups = CountedGroups(host)
        self.directory = LanDirectory(host, self.groups, lan_address(self.groups))
        self.leaderships = Leaderships(leaderships)
        self.done_at_s: dict[bytes, float] = {}
        self.nodes: list[McftpNode] = []

    async def start(self) -> None:
        await self.directory.start()

    async def transfer(self, torrent: Torrent, *, full: bool = False) -> Transfer:
        folder, storage = torrent.infohash.hex(), self.host.storage
        storage.make_folders(folder)
        if full:
            file = storage.open(f"{folder}/{FILE}", "create")
            file.write(0, [torrent.data])
            file.close()
        store = FolderStore(storage, torrent.descriptor, folder)
        transfer = Transfer(self.host, torrent.descriptor, store)
        await transfer.start(trust=full)
        transfer.on_complete(lambda: self._whole(torrent.infohash))
        return transfer

    def _whole(self, infohash: bytes) -> None:
        self.done_at_s.setdefault(infohash, self.host.time())

    async def node(self, transfer: Transfer, settings: Settings) -> McftpNode:
        node = McftpNode(
            self.host,
            transfer,
            self.groups,
            self.directory,
            settings,
            leaderships=self.leaderships,
        )
        await node.start()
        self.nodes.append(node)
        return node


def leader_of(nodes: Sequence[McftpNode]) -> McftpNode | None:
    return next((node for node in nodes if node.leading is not None), None)
