"""Secret keys, a publisher's or a registry's: 64 hexadecimal digits in a file that only its
owner may read."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from spinney.errors import NotFoundError, NotWritableError, StorageError, UsageError

FILE_MODE = 0o600
FOLDER_MODE = 0o700
MOST_BYTES = 1_000
"""More is no key."""


def default_path() -> Path:
    """In the user's state folder."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "spinney" / "publisher.key"


def publisher_seed(path: str | None) -> tuple[bytes, bytes]:
    """(secret seed, public key), from `path`, or from the user's own key, made when first used.

    Raises `StorageError`, or `UsageError` for a file that is no key or that others may read.
    """
    from spinney.content.paper import public_key

    seed = kept_seed(default_path()) if path is None else _read(Path(path), "--key")
    return seed, public_key(seed)


def kept_seed(path: Path, option: str = "--key") -> bytes:
    """The secret seed in this file, made when first used.  `option` chooses another place.

    Raises as `publisher_seed` does.
    """
    try:
        if not path.exists():
            _make(path)
    except PermissionError as error:
        raise NotWritableError(f"{path}: {error.strerror}: choose another {option}") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}: choose another {option}") from None
    return _read(path, option)


def _read(path: Path, option: str) -> bytes:
    try:
        with path.open("rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                raise UsageError(f"others may read {path}: chmod 600 {path}")
            text = file.read(MOST_BYTES)
    except FileNotFoundError:
        raise NotFoundError(f"there is no key {path}: without {option} one is made") from None
    except PermissionError as error:
        raise NotWritableError(f"{path}: {error.strerror}: name a key with {option}") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from None
    try:
        seed = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        seed = b""
    if len(seed) != 32:
        raise UsageError(f"{path} is no key: 64 hexadecimal digits")
    return seed


def _make(path: Path) -> None:
    """A new key, whole or not at all: two that start at once end with one."""
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.part")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # else somebody was first: theirs is the key
            os.link(fresh, path)
    finally:
        os.unlink(fresh)
