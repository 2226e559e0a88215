"""What can go wrong, sorted by who is to blame.

    SpinneyError                    everything that this package raises on purpose
    ├── UsageError                  you: an argument that makes no sense (exit code 2)
    ├── InputError                  the bytes: something that we were given breaks its format
    │   ├── WireError               bytes from the network (bencode, peer messages, HTTP)
    │   ├── DescriptorError         a .torrent, an info dictionary or a magnet link
    │   └── UnsafeNameError         a file name that would leave the output folder
    ├── StorageError                the disk
    │   ├── DiskFullError           no room (nothing that was verified is lost)
    │   ├── NotWritableError        read-only, or no permission
    │   ├── NotFoundError           no such file or folder
    │   └── ChangedFileError        a shared file was cut short or replaced while in use
    ├── NetworkError                the network or this machine's part in it
    │   ├── PortTakenError          somebody else listens there
    │   ├── ConnectError            nobody answered, or refused
    │   ├── NoAnswerError           a call or request that nobody answered in time
    │   ├── ResolveError            a host name that does not resolve
    │   └── ForbiddenAddressError   the guard of outgoing addresses said no
    ├── RemoteError                 one remote peer or server, by what it said
    │   ├── PeerError               a peer broke its protocol (its connection ends)
    │   ├── CallError               a peer answered a call with an error (KRPC)
    │   └── TrackerError            a tracker refused, or answered rubbish
    └── TransferError               one transfer as a whole
        ├── NoPeersError            nobody was found who has the data; says what was tried
        └── CannotCarryError        this peer's line is too slow for what the stream asks of it

`kind` is the word that the `error` event of `--json` carries.  A message is one
sentence that says what is wrong and, where there is something to do, what.
Our own mistakes are assertions, never one of these.
"""

from __future__ import annotations


class SpinneyError(Exception):
    """Base of everything that Spinney raises on purpose."""

    kind = "error"


class UsageError(SpinneyError):
    kind = "usage"


class InputError(SpinneyError):
    kind = "input"


class WireError(InputError):
    """Bytes that do not parse.  The one error of every decoder in `wire` and the rooms."""

    kind = "wire"


class DescriptorError(InputError):
    """A torrent, info dictionary or magnet link that breaks a rule.

    `rule` names the rule, in the words of `content/rules.py` (such as "pieces-length").
    """

    kind = "descriptor"

    def __init__(self, message: str, rule: str = "") -> None:
        super().__init__(message)
        self.rule = rule


class UnsafeNameError(DescriptorError):
    kind = "unsafe-name"


class StorageError(SpinneyError):
    kind = "storage"


class DiskFullError(StorageError):
    kind = "disk-full"


class NotWritableError(StorageError):
    kind = "not-writable"


class NotFoundError(StorageError):
    kind = "not-found"


class ChangedFileError(StorageError):
    kind = "changed-file"


class NetworkError(SpinneyError):
    kind = "network"


class PortTakenError(NetworkError):
    kind = "port-taken"


class ConnectError(NetworkError):
    kind = "connect"


class NoAnswerError(NetworkError):
    kind = "no-answer"


class ResolveError(NetworkError):
    kind = "resolve"


class ForbiddenAddressError(NetworkError):
    kind = "forbidden-address"


class RemoteError(SpinneyError):
    kind = "remote"


class PeerError(RemoteError):
    kind = "peer"


class CallError(RemoteError):
    """`code` is KRPC's: 201 generic, 202 server, 203 protocol, 204 method unknown."""

    kind = "call"

    def __init__(self, message: str, code: int = 201) -> None:
        super().__init__(message)
        self.code = code


class TrackerError(RemoteError):
    kind = "tracker"


class TransferError(SpinneyError):
    kind = "transfer"


class NoPeersError(TransferError):
    kind = "no-peers"


class CannotCarryError(TransferError):
    """What the stream asks of each peer, and what this one's line has."""

    kind = "cannot-carry"
