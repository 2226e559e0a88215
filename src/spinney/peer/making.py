"""From a path to what is shared: a descriptor, the files behind it, and its `.torrent`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spinney import __version__
from spinney.config import ShareOptions
from spinney.content.descriptor import Descriptor
from spinney.content.making import make_descriptor
from spinney.content.rules import MAX_TORRENT_BYTES
from spinney.content.shared import SharedFiles
from spinney.content.sinks import Sink
from spinney.content.transfer import Transfer
from spinney.errors import (
    ChangedFileError,
    DescriptorError,
    NotFoundError,
    NotWritableError,
    StorageError,
    UsageError,
)
from spinney.net import whole_files
from spinney.net.host import Host
from spinney.peer.layering import require_layers
from spinney.peer.locating import locate
from spinney.peer.opening import open_link, parse_torrent
from spinney.trust.keys import Keys

Preparing = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Made:
    """What `Peer.share` serves.  `hashed`: just now, so that no check is needed."""

    descriptor: Descriptor
    sink: Sink
    torrent: str
    hashed: bool
    sha256: str | None = None

    def require_whole(self, transfer: Transfer) -> None:
        """Raises `ChangedFileError` if the data is not what the descriptor says."""
        if not transfer.complete:
            good, count = transfer.have.count, self.descriptor.piece_count
            raise ChangedFileError(
                f"the data is not what {self.torrent} says: {good} of {count} pieces are right;"
                f" see which with: spinney verify {self.torrent} PATH"
            )


async def describe_for_sharing(
    host: Host, path: str, options: ShareOptions, on_preparing: Preparing | None
) -> Made:
    """Hashes what lies at `path`, or takes the descriptor that `torrent` names.

    Raises `NotFoundError`, `StorageError`, `UsageError`, `DescriptorError`.
    """
    if path == "-":
        raise UsageError("share needs a file or folder: only the command shares standard input")
    info = await host.work(lambda: host.storage.info(path, follow=True))
    if info is None and "://" in path:
        raise UsageError(f"share needs a file or folder: {path} cannot be shared yet")
    if info is None:
        raise NotFoundError(
            f"there is no file or folder {path or 'without a name'}: give the path of one"
        )
    if info.kind not in ("file", "folder", "block"):
        raise UsageError(f"{path} is neither a file nor a folder nor a block device")
    given = options.get("torrent")
    if given is not None:
        opened = await open_link(host, given)
        if opened.descriptor is None:
            raise UsageError(f"{given} is no .torrent: a magnet link does not list pieces")
        descriptor = require_layers(opened.descriptor, given)
        paths = await host.work(locate, host.storage, descriptor, path)
        sink = SharedFiles(host.storage, descriptor, paths)
        return Made(descriptor, sink, given, hashed=False)
    made = await make_descriptor(
        host,
        plain_path(path),
        version=options.get("format") or "v1",
        piece_length=options.get("piece_length"),
        private=bool(options.get("private")),
        trackers=[[url] for url in dict.fromkeys(options.get("trackers", ()))],
        comment=options.get("comment"),
        created_by=f"Spinney {__version__}",
        creation_date=int(host.wall_time()),
        paper=bool(options.get("paper")),
        keys=Keys(seed) if (seed := options.get("signing_seed")) is not None else None,
        progress=on_preparing,
    )
    torrent = await write_torrent(host, made.descriptor, options.get("torrent_out"))
    sink = SharedFiles(host.storage, made.descriptor, made.paths)
    return Made(made.descriptor, sink, torrent, hashed=True, sha256=made.sha256)


def plain_path(path: str) -> str:
    """Without `.` and doubled slashes, so that the last part is the name: `photos/.`, `x//`."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return ("/" if path.startswith("/") else "") + "/".join(parts)


async def write_torrent(host: Host, descriptor: Descriptor, wish: str | None) -> str:
    """Writes the `.torrent` (default NAME.torrent in the working folder); returns its path.

    Raises `StorageError` rather than write over a file that is something else.
    """
    path = str(wish or f"{safe_name(descriptor)}.torrent")  # Python's callers may hand in a `Path`
    data = descriptor.encode()

    def write() -> None:
        info = host.storage.info(path, follow=True)
        if info is not None and (info.kind != "file" or not _same(host, path, descriptor)):
            raise StorageError(
                f"{path} exists and is something else: choose another place with --torrent-out"
            )
        try:
            whole_files.replace(host.storage, path, [data])
        except (NotWritableError, NotFoundError) as error:
            raise NotWritableError(
                f"cannot write {path}: choose another place with --torrent-out ({error})"
            ) from None

    await host.work(write)
    return path


def safe_name(descriptor: Descriptor) -> str:
    """The first part of its paths: `name` may hold what no file name may."""
    return descriptor.files[0].path[0] if descriptor.files else descriptor.name


def _same(host: Host, path: str, descriptor: Descriptor) -> bool:
    """Is this file a `.torrent` of the same content (perhaps of yesterday, or other trackers)?"""
    file = host.storage.open(path, "read")
    try:
        if file.size() > MAX_TORRENT_BYTES:
            return False
        present = parse_torrent(file.read(0, file.size()), path)
    except DescriptorError:
        return False
    finally:
        file.close()
    return present.info_bytes == descriptor.info_bytes
