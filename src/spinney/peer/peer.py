"""`Peer`: one program's part in the network; several transfers, one port, one set of limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from os import PathLike, fspath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from spinney.bittorrent.lan import LanDiscovery
from spinney.bittorrent.node import BitTorrent
from spinney.bittorrent.settings import Settings as NodeSettings
from spinney.bittorrent.swarm import PeerSource
from spinney.config import (
    FIRST_PORT,
    LAST_PORT,
    GetOptions,
    Settings,
    ShareOptions,
    TransferOptions,
)
from spinney.content.pipe import Write
from spinney.content.transfer import Transfer
from spinney.errors import NetworkError, PortTakenError, UsageError
from spinney.events import Done, Listener
from spinney.net.address import format_address, is_local
from spinney.net.bound import BoundHost
from spinney.net.host import Host
from spinney.net.limits import Bucket, Limit
from spinney.peer.ending import end_all
from spinney.peer.getting import Getting
from spinney.peer.local import given_or_live
from spinney.peer.making import describe_for_sharing
from spinney.peer.moving import SwarmMoving
from spinney.peer.opening import open_link
from spinney.peer.reachable import listening_addresses, told_addresses
from spinney.peer.sharing import Sharing
from spinney.peer.sources import require_urls, resolve_peers, tiers_of

if TYPE_CHECKING:
    from spinney.groups.fanout import FanoutGroups
    from spinney.peer.multicasting import Multicast

Path = str | PathLike[str]
Preparing = Callable[[int, int], None]
"""(bytes hashed or checked, bytes in all), before a transfer is ready."""


class Peer:
    """All that one program runs.  Use it as a context, or call `start` and `close`.

    async with Peer.live() as peer:
        sharing = await peer.share("holiday.mp4")
        getting = await peer.get(link, "downloads")
        print((await getting.wait()).paths)
    """

    def __init__(self, host: Host, settings: Settings = Settings()) -> None:
        self.host: Host = host
        self.settings = settings
        self._node: BitTorrent | None = None
        self._up = Bucket(settings.up_bytes_per_s)
        self._down = Bucket(settings.down_bytes_per_s)
        self._lan: LanDiscovery | None = None
        self._multicast: dict[bool | None, Multicast | NetworkError] = {}
        self._fan_out: FanoutGroups | None = None
        self._listening: tuple[str, ...] = ()
        self._running: list[SwarmMoving[Any]] = []
        self._close_host: Callable[[], None] | None = None

    @classmethod
    def live(cls, settings: Settings = Settings()) -> Peer:
        """On this machine."""
        stack = ExitStack()
        peer = cls(stack.enter_context(given_or_live(None)), settings)
        peer._close_host = stack.close
        return peer

    # -- life

    async def start(self) -> None:
        """Listens.  Raises `PortTakenError`, `UsageError` (no such interface)."""
        if self._node is not None:
            return
        settings = self.settings
        self._listening = listening_addresses(self.host.interfaces(), settings.interface)
        self.host = BoundHost(self.host, self._listening)
        if settings.port is not None:
            self._node = await self._listen(settings.port)
            return
        for port in [*range(FIRST_PORT, LAST_PORT + 1), 0]:
            try:
                self._node = await self._listen(port)
                return
            except PortTakenError:
                if port == 0:
                    raise

    async def _listen(self, port: int) -> BitTorrent:
        settings = self.settings
        node = BitTorrent(
            self.host,
            NodeSettings(
                port=port,
                addresses=self._listening,
                upload_bytes_per_s=settings.up_bytes_per_s,
            ),
            up=self._up,
            down=self._down,
        )
        try:
            await node.start()
        except PortTakenError:
            if not port:
                raise
            raise PortTakenError(
                f"port {port} is taken by another program: choose another with --port,"
                " or leave it out"
            ) from None
        return node

    async def close(self) -> None:
        """Ends every transfer in good order: what is verified stays."""
        await end_all(
            *(moving.close for moving in self._running),
            self._close_lan,
            self._close_node,
            self._close_all_of_the_host,
        )

    async def _close_lan(self) -> None:
        """Whatever speaks by multicast, and the fan-out that stands in for it."""
        found, self._multicast = list(self._multicast.values()), {}
        lan, self._lan = self._lan, None
        fan_out, self._fan_out = self._fan_out, None
        await end_all(
            *([lan.close] if lan is not None else []),
            *(each.close for each in found if not isinstance(each, NetworkError)),
            *([fan_out.close] if fan_out is not None else []),
        )

    async def _close_node(self) -> None:
        node, self._node = self._node, None
        if node is not None:
            await node.close()

    def _close_all_of_the_host(self) -> None:
        close, self._close_host = self._close_host, None
        if close is not None:
            close()

    async def __aenter__(self) -> Peer:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # -- transfers

    async def share(
        self,
        path: Path,
        *,
        on_event: Listener | None = None,
        on_preparing: Preparing | None = None,
        **options: Unpack[ShareOptions],
    ) -> Sharing:
        """Makes a descriptor (or checks the data against one) and serves; ready on return.

        Raises `StorageError` (no such file, not readable), `DescriptorError` (the data is not
        what `torrent` says), `UsageError`, `NetworkError`.
        """
        await self.start()
        private = bool(options.get("private"))
        if private and not options.get("trackers") and not options.get("torrent"):
            raise UsageError("a private torrent is found by its trackers only: give --tracker URL")
        require_urls(options.get("trackers", ()))
        given = await resolve_peers(self.host, options.get("peers", ()))
        made = await describe_for_sharing(self.host, fspath(path), options, on_preparing)
        transfer = Transfer(self.host, made.descriptor, made.sink)
        await transfer.start(trust=made.hashed, check=not made.hashed, progress=on_preparing)
        try:
            made.require_whole(transfer)
            told = [(host, self.port) for host in self.addresses()]
            sharing = Sharing(
                self,
                transfer,
                torrent=made.torrent,
                sha256=made.sha256,
                options=options,
                told=told,
                given=given,
            )
            if on_event is not None:
                sharing.listen(on_event)
            await sharing.join()
        except BaseException:
            await transfer.close()
            raise
        self._running.append(sharing)
        return sharing

    async def get(
        self,
        link: Path,
        output: Path = ".",
        *,
        on_event: Listener | None = None,
        on_preparing: Preparing | None = None,
        stream: Write | None = None,
        **options: Unpack[GetOptions],
    ) -> Getting:
        """Begins to fetch a magnet link, a `.torrent` or the URL of one; returns at once.

        With the output `-`, `stream` is awaited with the bytes of the one file, in order.

        Raises what can be known at once: `DescriptorError`, `StorageError`, `UsageError`;
        `Getting.wait` raises the rest.
        """
        await self.start()
        require_urls(options.get("trackers", ()))
        given = await resolve_peers(self.host, options.get("peers", ()))
        opened = await open_link(self.host, fspath(link))
        getting = Getting(self, opened, fspath(output), options, given, on_preparing, stream)
        if on_event is not None:
            getting.listen(on_event)
        self._running.append(getting)
        getting.begin()
        return getting

    # -- what transfers ask

    @property
    def node(self) -> BitTorrent:
        assert self._node is not None, "start the peer first"
        return self._node

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.node.port

    def addresses(self) -> tuple[str, ...]:
        """This machine's addresses as others may reach it, the likeliest first."""
        return told_addresses(self.host.interfaces(), self._listening)

    def forget(self, moving: SwarmMoving[Any]) -> None:
        if moving in self._running:
            self._running.remove(moving)

    async def sources(
        self,
        infohashes: Sequence[bytes],
        own: Sequence[Sequence[str]],
        options: TransferOptions,
        *,
        private: bool,
    ) -> list[PeerSource]:
        """Who is asked for peers: the LAN (not for a private torrent) and the trackers."""
        rows: list[PeerSource] = []
        if self.settings.lan and options.get("lan", True) and not private:
            lan = await self._lan_discovery()
            if lan is not None:
                rows.append(lan)
        typed = options.get("trackers", ())
        tiers = tiers_of(own, typed, private=private)
        if tiers:
            from spinney.bittorrent.tracker.client import TrackerSource  # with all of HTTP

            only = self._listening[0] if len(self._listening) == 1 else None
            rows.append(
                TrackerSource(self.host, tiers, infohashes=infohashes, typed=typed, local=only)
            )
        return rows

    def limits(self, up: Bucket, down: Bucket) -> tuple[Limit, Limit]:
        """A transfer's own and the program's, for sending and for receiving."""
        return Limit((self._up, up)), Limit((self._down, down))

    async def multicast(self, group: str | None = None) -> Multicast:
        """What its transfers share.  Raises `NetworkError`, always the same: no multicast here."""
        from spinney.peer.multicasting import Multicast

        six = None if group is None else group.count(":") > 1
        found = self._multicast.get(six)
        if found is None:
            try:
                found = await Multicast.open(self.host, self.settings, six=six)
            except NetworkError as error:
                found = error
            self._multicast[six] = found
        if isinstance(found, NetworkError):
            raise found
        return found

    async def fan_out(self) -> FanoutGroups | None:
        """The UDP port, of the number that links name, where those come whom multicast does not
        reach: machines of this network only.  None where it cannot be opened."""
        from spinney.groups.fanout import FanoutGroups

        if self._fan_out is None:
            groups = FanoutGroups(self.host, (self.addresses()[0], self.port), allowed=is_local)
            try:
                await groups.open()
            except NetworkError:
                return None  # another program has it
            self._fan_out = groups
        return self._fan_out

    async def _lan_discovery(self) -> LanDiscovery | None:
        if self._lan is None:
            lan = LanDiscovery(self.host, interface=self.settings.interface)
            try:
                await lan.start()
            except NetworkError:
                return None  # no multicast here: the other sources remain
            self._lan = lan
        return self._lan

    def __repr__(self) -> str:
        where = ", ".join(format_address((host, self.port)) for host in self.addresses())
        return f"<Peer at {where}, {len(self._running)} transfers>"


async def share(
    path: Path,
    *,
    settings: Settings = Settings(),
    on_event: Listener | None = None,
    **options: Unpack[ShareOptions],
) -> Sharing:
    """Shares a file or folder with a peer of its own; ready on return.

    Close it (or leave its context) to end: that ends the peer too.
    """
    peer = Peer.live(settings)
    try:
        sharing = await peer.share(path, on_event=on_event, **options)
    except BaseException:
        await peer.close()
        raise
    sharing.own(peer)
    return sharing


async def get(
    link: Path,
    output: Path = ".",
    *,
    settings: Settings = Settings(),
    on_event: Listener | None = None,
    **options: Unpack[GetOptions],
) -> Done:
    """Fetches a link, whole and verified, and returns where it is.

    Raises a `SpinneyError`.  Cancelling keeps what is verified; the same call resumes.
    """
    async with Peer.live(settings) as peer:
        getting = await peer.get(link, output, on_event=on_event, **options)
        return await getting.wait()
