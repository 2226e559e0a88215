"""`Viewer`: a peer of a stream, by its link; and `Broadcast`: its source, with a registry.

    broadcast = Broadcast(host, Keys(host.entropy(32)), stripes=4, spare=1)
    await broadcast.open(("0.0.0.0", 6970), reached_at=("192.0.2.7", 6970))
    broadcast.link                                     # for viewers

    viewer = Viewer(host, parse_link(text))
    await viewer.open(("0.0.0.0", 0))
    await viewer.join()        # `NoPeersError` that says why, after `Settings.join_s`
    await viewer.leave()
    viewer.close()

What streams carry is not built yet: it goes where beats go (`Seat.beat`, `Station.pass_on`).
"""

from __future__ import annotations

from dataclasses import replace

from spinney.errors import InputError, NoPeersError
from spinney.net.host import Address, Datagrams, Host
from spinney.p2pcast import reaching
from spinney.p2pcast.at_registry import AtRegistry
from spinney.p2pcast.carried import Carried
from spinney.p2pcast.node import ForestNode
from spinney.p2pcast.registry.contacts import ContactsSettings, RegistryContacts
from spinney.p2pcast.registry.link import RegistryPlace, StreamLink
from spinney.p2pcast.registry.messages import stream_of
from spinney.p2pcast.registry.node import RegistryNode
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.p2pcast.registry.streams import Newcomer
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.source import SourceNode
from spinney.p2pcast.station import Station
from spinney.p2pcast.trust.identity import STREAM_TAG_BYTES, KeySigner, name_of
from spinney.trust.keys import Keys
from spinney.wire.krpc import Krpc

KEYS_TRIED = 64
CONTACTS = ContactsSettings(timeout_s=0.7, attempts=2, rounds=1)
"""A viewer asks again by itself: each question ends soon."""


class Viewer:
    """`keys`: of this stream alone; None: fresh ones.  `upload_bytes_per_s`: what its line carries;
    None: enough.  `is_closed`: nobody reaches it from outside; with `Settings.nat` its name says
    so, also where a registry hands it out.  What the stream asks of each peer is the source's to
    say: it is in the link."""

    def __init__(
        self,
        host: Host,
        link: StreamLink,
        *,
        keys: Keys | None = None,
        settings: Settings | None = None,
        upload_bytes_per_s: float | None = None,
        is_closed: bool = False,
    ) -> None:
        if not link.registries:
            raise InputError("the link names no registry: ask for one that does")
        if not link.stripes:
            raise InputError("the link does not say into how many stripes its stream is cut")
        self.host = host
        self.link = link
        nat = settings is not None and settings.nat
        self.keys = keys or (_keys_that_tell(host, is_closed) if nat else Keys(host.entropy(32)))
        self.settings = replace(
            settings or Settings(),
            stripe_bytes_per_s=float(link.stripe_bytes_per_s),
            least_slots=link.least_slots or None,
        )
        self.upload_bytes_per_s = upload_bytes_per_s
        self.node: ForestNode
        self.finder: AtRegistry
        self._datagrams: Datagrams | None = None
        self._stand_in: RegistryNode | None = None

    async def open(self, local: Address) -> None:
        host, link = self.host, self.link
        krpc = Krpc(host)
        self._datagrams = await host.open_datagrams(krpc, local)
        krpc.use(self._datagrams)
        signer = KeySigner(self.keys, link.stream)

        def finder(station: Station) -> AtRegistry:
            assert station.guard is not None
            family = 6 if ":" in local[0] else 4
            contacts = RegistryContacts(
                krpc,
                self.keys,
                link.registries,
                CONTACTS,
                family=family,  # type: ignore[arg-type]
                counter=station.guard.counter,
            )
            self.finder = AtRegistry(station, signer, contacts, link.stream)
            return self.finder

        self.node = ForestNode(
            host,
            link.stream[:STREAM_TAG_BYTES],
            link.registries[0].address,
            name=signer.name,
            stripes=link.stripes,
            spare=link.spare,
            settings=self.settings,
            finder=finder,
            signer=signer,
            upload_bytes_per_s=self.upload_bytes_per_s,
        )
        self.node.use(krpc)

    async def join(self) -> None:
        """Raises `NoPeersError` after `Settings.join_s`: no registry, or no place; and
        `CannotCarryError` where the line is too slow for this stream."""
        try:
            await self.node.join()
        except NoPeersError as error:
            raise NoPeersError(str(self.finder.problem or error)) from None

    async def stand_in(self) -> RegistryPlace:
        """Answers for the registry from now on, and names those whom it knows.  A link may name
        it after the registry."""
        node, link = self.node, self.link
        assert self._datagrams is not None
        assert node.station.guard is not None
        settings = RegistrySettings(streams=frozenset({link.stream}))
        self._stand_in = RegistryNode(self.host, settings, None)
        await self._stand_in.share(node.station.krpc)
        known = dict(node.station.guard.ids)
        for name, peer in known.items():
            address = node.station.book.find(name) if name != node.name else None
            if address is not None:
                newcomer = Newcomer(peer, address, (0, 0), is_source=name < 0)
                self._stand_in.enter(link.stream, newcomer)
        self.finder.serves = self._stand_in.answer
        return RegistryPlace(self._datagrams.local_address)

    async def leave(self) -> None:
        await self.node.leave()

    def close(self) -> None:
        self.node.close()
        if self._datagrams is not None:
            self._datagrams.close()

    async def end(self) -> None:
        """`close`, and a stand-in's end as well."""
        self.close()
        if self._stand_in is not None:
            await self._stand_in.close()


def _keys_that_tell(host: Host, is_closed: bool) -> Keys:
    """Half of all keys have a name that says that their holder is behind a NAT."""
    for _ in range(KEYS_TRIED):
        keys = Keys(host.entropy(32))
        if reaching.is_closed(name_of(keys.peer)) == is_closed:
            return keys
    raise AssertionError("2^64 to one: entropy that is none")


class Broadcast:
    """`keys`: the source's, whose hash names the stream; they sign the registry's tickets, too."""

    def __init__(
        self,
        host: Host,
        keys: Keys,
        *,
        stripes: int,
        spare: int,
        settings: Settings | None = None,
        registry: RegistrySettings | None = None,
    ) -> None:
        self.host = host
        self.keys = keys
        self.stream = stream_of(keys.public)
        self.settings = settings or Settings()
        self._registry_settings = registry
        self.registry = RegistryNode(host, registry, keys)
        self.source = SourceNode(
            host,
            self.stream[:STREAM_TAG_BYTES],
            stripes=stripes,
            spare=spare,
            settings=self.settings,
            signer=KeySigner(keys, self.stream),
        )
        self.link: StreamLink
        self._datagrams: Datagrams | None = None

    async def open(self, local: Address, reached_at: Address | None = None) -> None:
        """`reached_at`: how viewers reach it, if that is not `local`."""
        krpc = Krpc(self.host)
        self._datagrams = await self.host.open_datagrams(krpc, local)
        krpc.use(self._datagrams)
        address = reached_at or self._datagrams.local_address
        await self._carry(krpc, address)
        self.source.use(krpc, address)
        self.source.station.outside = self.registry.answer
        place = RegistryPlace(address, self.keys.public)

        shape = self.source.stripes, self.source.spare
        rules = int(self.settings.stripe_bytes_per_s), self.settings.least_slots or 0
        self.link = StreamLink(self.stream, (place,), None, *shape, *rules)

    async def _carry(self, krpc: Krpc, address: Address) -> None:
        await self.registry.share(krpc)
        self.registry.carry(self.stream, self.keys.peer, address)
        self.source.peers = self.source.addresses = Carried(
            self.host, self.registry.desk.registry, self.stream
        )

    async def close_registry(self) -> None:
        """It answers nothing any more; the forest goes on without it."""
        self.source.station.outside = lambda query: None
        await self.registry.close()

    async def open_registry(self) -> None:
        """Again: another one, that knows what the state folder holds."""
        self.registry = RegistryNode(self.host, self._registry_settings, self.keys)
        await self._carry(self.source.station.krpc, self.link.registries[0].address)
        self.source.station.outside = self.registry.answer

    async def close(self) -> None:
        self.source.close()
        await self.registry.close()
        if self._datagrams is not None:
            self._datagrams.close()
