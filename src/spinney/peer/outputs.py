"""Where `-o` says that the data goes.

A folder, unless it is an existing file or device, `-`, or ends in the file's own name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spinney.content.descriptor import Descriptor
from spinney.content.device import DeviceSink
from spinney.content.pipe import PipeSink, Write
from spinney.content.sinks import Sink
from spinney.content.store import FolderStore
from spinney.errors import NotFoundError, NotWritableError, UsageError
from spinney.net.host import Host, Storage

STANDARD_OUTPUT = "-"


@dataclass(frozen=True, slots=True)
class Output:
    """`folder`: the data lies below `path` as the descriptor names it.  `file`: the one file is
    `path` itself.  `device`: a block device.  `stream`: standard output, in order."""

    kind: Literal["folder", "file", "device", "stream"]
    path: str

    def paths(self, files: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
        """Where each file of a descriptor ends up, for people."""
        if self.kind == "stream":
            return ()
        if self.kind != "folder":
            return (self.path,)
        base = self.path.rstrip("/") or "/"
        return tuple(_join(base, *parts) for parts in files)


def choose_output(
    storage: Storage,
    wish: str,
    *,
    name: str,
    single_file: bool,
    chosen_files: int,
    has_stream: bool = False,
) -> Output:
    """Raises `UsageError` where the wish cannot hold what is fetched, `NotFoundError`."""
    if wish == STANDARD_OUTPUT:
        if not has_stream:
            raise UsageError("output - needs `stream`, which takes the bytes in order")
        if chosen_files != 1:
            raise UsageError(
                f"standard output takes one file, and this has {chosen_files}: --select one"
            )
        return Output("stream", wish)
    info = storage.info(wish, follow=True)
    if info is None:
        last = wish.rpartition("/")[2]
        if single_file and last == name:
            return Output("file", wish)
        if wish.startswith("/dev/"):
            raise NotFoundError(f"there is no device {wish}")
        return Output("folder", wish)
    if info.kind == "folder":
        return Output("folder", wish)
    if not single_file:
        raise UsageError(f"{wish} is a file, and this has several: name a folder")
    if info.kind == "block":
        return Output("device", wish)
    if info.kind == "file":
        return Output("file", wish)
    raise NotWritableError(f"{wish} is neither a file, a folder nor a block device")


def _join(base: str, *parts: str) -> str:
    return "/".join([base if base != "/" else "", *parts])


def make_sink(host: Host, descriptor: Descriptor, output: Output, stream: Write | None) -> Sink:
    """The content's own noun for each kind of output.  `stream` takes what goes to `-`."""
    if output.kind == "stream":
        assert stream is not None, "choose_output asked for it"
        return PipeSink(descriptor, stream)
    if output.kind == "device":
        return DeviceSink(host.storage, descriptor, output.path)
    if output.kind == "file":
        folder, _, name = output.path.rpartition("/")
        folder = folder or ("/" if output.path.startswith("/") else ".")
        return FolderStore(host.storage, descriptor, folder, single_name=name)
    return FolderStore(host.storage, descriptor, output.path)
