"""Where the files of a descriptor lie, for data that is somewhere already."""

from __future__ import annotations

from spinney.content.descriptor import Descriptor
from spinney.errors import NotFoundError
from spinney.net.host import Storage

LOOKED_AT = 200
"""Files looked for to tell one candidate from another."""


def locate(storage: Storage, descriptor: Descriptor, path: str) -> list[str]:
    """The path of each file, given the file, its folder, or the folder that holds it.

    Of several readings of `path` the one counts under which most files exist.  Raises
    `NotFoundError` if there is nothing at `path`.
    """
    info = storage.info(path, follow=True)
    if info is None:
        raise NotFoundError(f"there is no file or folder {path}")
    if info.kind != "folder":
        if descriptor.single_file:
            return [path]
        raise NotFoundError(f"{path} is a file, and this torrent has a folder of them: name it")
    base = path.rstrip("/")
    within = [f"{base}/{'/'.join(entry.path)}" for entry in descriptor.files]
    if descriptor.single_file:
        return within
    itself = [f"{base}/{'/'.join(entry.path[1:])}" for entry in descriptor.files]

    def there(paths: list[str]) -> int:
        return sum(storage.info(each, follow=True) is not None for each in paths[:LOOKED_AT])

    return itself if there(itself) > there(within) else within
