"""`Group`: one-to-many delivery, whatever carries it.

A group has an address of opaque bytes, made and read only by the implementation that its scheme
names (`ip4:`, `ip6:`, `fan:` up to the first colon).  `tests/groups` holds one suite of checks,
numbered as these sentences, and runs it on every implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from spinney.net.host import Address, Buffer, Rng

Sent: TypeAlias = tuple[bytes, Address]
"""A payload and the address that it came from, as far as the group can tell."""

MAX_PAYLOAD_BYTES = 1_452
"""What fits a datagram on Ethernet over IPv6, group header included; over IPv4 there is more."""


class GroupReceiver:
    """Receives what is sent to a group; subclass it.  Callbacks are quick and never block."""

    def group_received(self, batch: list[Sent]) -> None:
        """One or more payloads, those of one sender in the order in which they came."""

    def group_burst(self, data: memoryview, segment_bytes: int, sender: Address) -> None:
        """Equal payloads (the last may be shorter) that came as one; valid during this call.

        By default they are split."""
        self.group_received(
            [
                (bytes(data[at : at + segment_bytes]), sender)
                for at in range(0, len(data), segment_bytes)
            ]
        )

    def group_error(self, error: OSError) -> None:
        """The system said something about an earlier payload."""


class Group(Protocol):
    """One membership in one group.

    G1. What any member sends, every other member receives, or it is lost: never altered, and
    never told.
    G2. A member does not hear itself, but hears other members on the same machine.
    G3. `send` never blocks; a payload that finds no room is dropped and counted in `dropped`.
    G4. `send_burst` sends the concatenation of `buffers`, cut every `segment_bytes`, in one call
    where the system can, and returns how many segments were taken (a shorter last one counts).
    G5. `writable` returns when more can be sent.
    G6. After `close` nothing is received and sending does nothing; closing twice is no error.
    G7. A payload of up to `MAX_PAYLOAD_BYTES` arrives whole or not at all; one that is empty
    arrives too.
    G8. A member that joined with `send_only` receives nothing and causes no membership report.
    G9. `lost` counts payloads that this machine received and had no room for, as far as the
    system tells.
    """

    @property
    def address(self) -> bytes: ...
    @property
    def dropped(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def local_address(self) -> Address: ...

    def send(self, payload: Buffer) -> None: ...
    def send_burst(self, buffers: Sequence[Buffer], segment_bytes: int) -> int: ...
    async def writable(self) -> None: ...
    async def rejoin(self) -> None:
        """Leaves and joins again, for networks that forgot us (a late querier)."""

    def close(self) -> None: ...


class Groups(Protocol):
    """One implementation of groups: makes addresses and joins them."""

    scheme: bytes

    def candidate(self, rng: Rng) -> bytes:
        """An address out of this scope's space, by chance: reserve it before use."""

    def valid(self, address: bytes) -> bool:
        """Is it an address of this scheme, within its scope?  Any bytes may be asked about."""

    async def join(
        self, address: bytes, receiver: GroupReceiver, *, send_only: bool = False
    ) -> Group:
        """Raises `NetworkError` when it cannot be joined (no multicast here, no such group)."""
