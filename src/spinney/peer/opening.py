"""From what a user types to what it means: a descriptor or a magnet link."""

from __future__ import annotations

from dataclasses import dataclass

from spinney.content.descriptor import Descriptor
from spinney.content.magnet import Magnet, is_magnet, parse_magnet
from spinney.content.rules import MAX_TORRENT_BYTES
from spinney.errors import DescriptorError, NetworkError, NotFoundError, StorageError, UsageError
from spinney.net.host import Address, Host

HASH_DIGITS = {40: "urn:btih:", 64: "urn:btmh:1220"}


@dataclass(frozen=True, slots=True)
class Opened:
    """What a link means.  `descriptor` is None while only its hash is known."""

    magnet: Magnet
    descriptor: Descriptor | None = None

    @property
    def transfer(self) -> str:
        """The name in events: v1 where there is one, else v2, in hex."""
        return self.magnet.infohash

    @property
    def private(self) -> bool:
        return self.descriptor is not None and self.descriptor.private

    @property
    def trackers(self) -> tuple[tuple[str, ...], ...]:
        if self.descriptor is not None:
            return self.descriptor.trackers
        return tuple((url,) for url in self.magnet.trackers)

    @property
    def peers(self) -> tuple[Address, ...]:
        return self.magnet.peers


async def open_link(host: Host, link: str) -> Opened:
    """A magnet link, a bare infohash, the path of a `.torrent`, or the URL of one.

    A `.torrent` of version 2 may lack its piece layers: see `layering.lacks_layers`.

    Raises `DescriptorError`, `StorageError`, `NetworkError`, `UsageError`: what to do.
    """
    text = link.strip()
    if is_magnet(text):
        try:
            return Opened(parse_magnet(text))
        except DescriptorError as error:
            error.args = (f"this magnet link cannot be used, was it copied whole? {error}",)
            raise
    if text.partition("://")[0].lower() in ("http", "https"):
        from spinney.peer.fetching import fetch_torrent  # with all of HTTP

        try:
            descriptor = parse_torrent(await fetch_torrent(host, text), text)
        except NetworkError as error:
            if text[:200] in str(error):
                raise
            raise type(error)(
                f"cannot fetch {text[:200]}: {error}; is the address right, and its server up?"
            ) from error
    elif len(text) in HASH_DIGITS and all(c in "0123456789abcdefABCDEF" for c in text):
        return Opened(parse_magnet(f"magnet:?xt={HASH_DIGITS[len(text)]}{text}"))
    elif "://" in text:
        scheme = text.partition("://")[0]
        raise UsageError(f"{scheme}:// cannot be fetched: only http:// and https:// can")
    else:
        descriptor = await read_torrent(host, link)
    return Opened(Magnet.of(descriptor), descriptor)


async def read_torrent(host: Host, path: str) -> Descriptor:
    """Raises `NotFoundError`, `DescriptorError`, `StorageError`."""

    if not path.strip():
        raise UsageError(
            "the link is empty: give a .torrent file, the URL of one, or a magnet link"
        )

    def read() -> bytes:
        info = host.storage.info(path, follow=True)
        if info is None:
            raise NotFoundError(
                f"there is no file {path}: give a .torrent file, the URL of one, or a magnet link"
            )
        if info.kind == "folder":
            raise StorageError(f"{path} is a folder: give a .torrent file")
        if info.size_bytes > MAX_TORRENT_BYTES:
            raise DescriptorError(
                f"{path} is no torrent: it is too large (to serve a file: spinney share)",
                "torrent-bytes",
            )
        file = host.storage.open(path, "read")
        try:
            return file.read(0, info.size_bytes)
        finally:
            file.close()

    return parse_torrent(await host.work(read), path)


def parse_torrent(data: bytes, origin: str) -> Descriptor:
    """Raises `DescriptorError` that names where the bytes came from."""
    try:
        return Descriptor.parse(data, allow_missing_layers=True)
    except DescriptorError as error:
        error.args = (f"{origin} is no torrent that can be used: {error}",)
        raise
