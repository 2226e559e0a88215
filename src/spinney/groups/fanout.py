"""`FanoutGroups`: groups without multicast.  The founder is the hub, and all go through it.

An address is `fan:192.0.2.5:6781:0011223344556677`: where the hub is, and a random token.
Members register there by datagrams; what a member sends, the hub passes on to all others, so
it sends N - 1 times what is said: this is for networks that do not multicast, not for many
members (at most `MEMBERS_MAX`).  Who succeeds a hub: see `fan_member`; `address` then names the
new hub, and whoever keeps it in a directory renews it.

    groups = FanoutGroups(host, ("192.0.2.5", 0))
    await groups.open()
    group = await groups.join(groups.candidate(rng), receiver)      # we are the hub
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable

from spinney.errors import NetworkError, WireError
from spinney.groups.fan_group import FanGroup
from spinney.groups.fan_wire import DATA, HEADER_BYTES, MAGIC, MEMBERS_MAX, TOKEN_BYTES
from spinney.groups.group import GroupReceiver
from spinney.net.address import format_address, parse_address
from spinney.net.host import (
    Address,
    Datagram,
    DatagramOptions,
    DatagramReceiver,
    Datagrams,
    Host,
    Rng,
)

JOIN_S = 4.0
"""So long a hub has to welcome a new member."""
LONGEST_ADDRESS_BYTES = 96
_END = 2 + TOKEN_BYTES


class FanoutGroups(DatagramReceiver):
    """See `Groups`; `open` first, `close` last.

    `local`: where we are reached, so no wildcard.  `members_max`: of each group that we lead.
    `allowed`: with whom we speak at all, by their addresses.
    """

    scheme = b"fan"

    def __init__(
        self,
        host: Host,
        local: Address,
        *,
        members_max: int = MEMBERS_MAX,
        receive_buffer_bytes: int = 4 << 20,
        allowed: Callable[[str], bool] = lambda host: True,
    ) -> None:
        self.host = host
        self._allowed = allowed
        self._expected: dict[bytes, Callable[[], None]] = {}
        self.members_max = members_max
        self.secret = host.entropy(16)
        self._local = local
        self._receive_buffer_bytes = receive_buffer_bytes
        self._datagrams: Datagrams | None = None
        self._groups: dict[bytes, FanGroup] = {}

    async def open(self) -> None:
        """Raises `PortTakenError` or `NetworkError`."""
        own = ipaddress.ip_address(self._local[0].partition("%")[0])
        if own.is_unspecified or (own.version == 6 and own.is_link_local):
            # A link-local address means another machine on each interface of the others.
            raise NetworkError("a hub needs the one address at which all others reach it")
        self._datagrams = await self.host.open_datagrams(
            self,
            self._local,
            DatagramOptions(bursts=True, receive_buffer_bytes=self._receive_buffer_bytes),
        )

    @property
    def datagrams(self) -> Datagrams:
        assert self._datagrams is not None, "open it first"
        return self._datagrams

    @property
    def local_address(self) -> Address:
        return self.datagrams.local_address

    def candidate(self, rng: Rng) -> bytes:
        """A group that we would lead.  Its token comes from the system's entropy, whatever
        `rng` is: who cannot guess it cannot speak in the group."""
        return address_text(self.local_address, self.host.entropy(TOKEN_BYTES))

    def valid(self, address: bytes) -> bool:
        return parsed(address) is not None

    async def join(
        self, address: bytes, receiver: GroupReceiver, *, send_only: bool = False
    ) -> FanGroup:
        found = parsed(address)
        if found is None:
            raise NetworkError(f"{address!r} is no address of a fan-out")
        hub, token = found
        if token in self._groups:
            raise NetworkError("this fan-out is joined already")
        if not self._allowed(hub[0]):
            raise NetworkError(f"{hub[0]} is not of this network")
        if (":" in hub[0]) != (":" in self.local_address[0]):
            raise NetworkError(f"{hub[0]} is of the other address family")
        group = FanGroup(self, hub, token, receiver, send_only=send_only)
        self._groups[token] = group
        try:
            async with asyncio.timeout(JOIN_S):
                await group.welcomed()
        except TimeoutError:
            group.close()
            raise NetworkError(f"no hub answers at {format_address(hub)}") from None
        except BaseException:
            group.close()
            raise
        return group

    def expect(self, token: bytes, knocked: Callable[[], None] | None) -> None:
        """Calls `knocked` (soon, perhaps often) while somebody asks for a group of ours that is
        not there yet: one that nobody needs costs nothing.  None: no more."""
        if knocked is None:
            self._expected.pop(token, None)
        else:
            self._expected[token] = knocked

    def copies(self, address: bytes) -> int:
        """To how many addresses each payload of ours goes in this group."""
        found = parsed(address)
        group = self._groups.get(found[1]) if found is not None else None
        return max(1, group.listeners) if group is not None else 1

    def left(self, token: bytes) -> None:
        """A membership was closed."""
        self._groups.pop(token, None)

    def close(self) -> None:
        """Leaves every group."""
        for group in list(self._groups.values()):
            group.close()
        if self._datagrams is not None:
            self._datagrams.close()

    # -- what comes in --------------------------------------------------------------------

    def datagrams_received(self, batch: list[Datagram]) -> None:
        said: dict[bytes, list[tuple[bytes, Address]]] = {}
        for data, remote, _ in batch:
            if len(data) < HEADER_BYTES or data[0] != MAGIC or not self._allowed(remote[0]):
                continue
            token = data[2:_END]
            group = self._groups.get(token)
            if group is None:
                # And not a word: nobody learns which tokens there are.
                if token in self._expected:
                    self._expected[token]()
                continue
            if data[1] == DATA:
                said.setdefault(token, []).append((data, remote))
                continue
            try:
                group.control(data, remote)
            except WireError:
                continue
        for token, rows in said.items():
            if token in self._groups:
                self._groups[token].data(rows)

    def burst_received(
        self, data: memoryview, segment_bytes: int, remote: Address, interface: int
    ) -> None:
        head = bytes(data[:HEADER_BYTES])
        group = self._groups.get(head[2:_END])
        alike = all(
            data[at : at + HEADER_BYTES] == head for at in range(0, len(data), segment_bytes)
        )
        fits = group is not None and self._allowed(remote[0])
        if group is not None and fits and alike and head[0] == MAGIC and head[1] == DATA:
            group.data_burst(data, segment_bytes, remote)
        else:
            super().burst_received(data, segment_bytes, remote, interface)

    def error_received(self, error: OSError) -> None:
        for group in list(self._groups.values()):
            group.error(error)


def address_text(hub: Address, token: bytes) -> bytes:
    """The opaque address of a group."""
    return f"fan:{format_address(hub)}:{token.hex()}".encode("ascii")


def parsed(address: bytes) -> tuple[Address, bytes] | None:
    """The hub and the token that an address names, in the one form that `address_text` has."""
    if not address.startswith(b"fan:") or len(address) > LONGEST_ADDRESS_BYTES:
        return None
    try:
        place, _, token_text = address[4:].decode("ascii").rpartition(":")
        host, port = parse_address(place)
        number = ipaddress.ip_address(host.partition("%")[0])
        token = bytes.fromhex(token_text)
    except (ValueError, WireError):
        return None
    if len(token) != TOKEN_BYTES or not port or number.is_unspecified or number.is_multicast:
        return None
    return ((host, port), token) if address_text((host, port), token) == address else None
