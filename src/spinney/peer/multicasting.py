"""`Multicast`: what all files of one peer share to be moved by multicast: the groups on the chosen
interfaces, the LAN's directory, the bound of leaderships.  And `Plan`: whether and how one
transfer uses it, from the settings and options.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from spinney.config import FOUND, Settings, TransferOptions
from spinney.errors import NetworkError, UsageError
from spinney.mcftp.directory import CLAIM_S, Entry, GroupDirectory
from spinney.mcftp.lan_directory import LanDirectory, lan_address
from spinney.mcftp.node import Leaderships
from spinney.mcftp.settings import SETTINGS
from spinney.net.host import Host, Interface, Rng

if TYPE_CHECKING:
    from spinney.groups.group import Groups
    from spinney.groups.ip import IpGroups

FILE_KEY = b"file:"
MOST_FOUND_BYTES_PER_S = 118_000_000
"""A full gigabit."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One transfer's.  `off`: why not, for people; empty without a reason worth a word."""

    on: bool
    off: str = ""
    asked: bool = False
    """By an option of its own: where it cannot be done, that is an error."""
    only: bool = False
    group: str | None = None
    rate_bytes_per_s: int = MOST_FOUND_BYTES_PER_S
    finds_rate: bool = True
    """From the safe rate on, up to `rate_bytes_per_s`."""


def plan_for(
    settings: Settings,
    options: TransferOptions,
    interfaces: Sequence[Interface],
    *,
    private: bool,
) -> Plan:
    """Raises `UsageError` for wishes that exclude each other."""
    only, group = options.get("multicast_only", False), options.get("group")
    asked = only or group is not None
    if not options.get("multicast", True):
        if asked:
            raise UsageError("--no-multicast and --multicast-only or --group exclude each other")
        return Plan(False)
    asked_too = asked or settings.ttl is not None
    rate = options.get("rate_bytes_per_s")
    plan = Plan(
        True,
        asked=asked,
        only=only,
        group=group,
        rate_bytes_per_s=_rate(rate),
        finds_rate=rate is None or rate == FOUND,
    )
    if private and not asked:
        return replace(plan, on=False, off="a private torrent: its trackers only")
    lan = settings.lan and options.get("lan", True)
    if not lan and not asked_too:
        return replace(plan, on=False)
    if settings.ttl != 0 and _only_loopback(settings.interface, interfaces):
        if asked_too:
            raise UsageError("multicast on this machine alone needs --ttl 0")
        return replace(plan, on=False)
    return plan


def _rate(wish: float | None) -> int:
    return max(1, round(wish)) if wish else MOST_FOUND_BYTES_PER_S


def _only_loopback(wish: str | None, interfaces: Sequence[Interface]) -> bool:
    """Was nothing but this machine itself chosen?"""
    if wish is None:
        return False
    for each in interfaces:
        if wish == each.name or wish in [host.partition("%")[0] for host, _ in each.addresses]:
            return each.loopback
    return wish.startswith("127.") or wish == "::1"


class Multicast:
    """Open one for a family of addresses; `close` it last."""

    def __init__(self, host: Host, groups: IpGroups) -> None:
        self.groups = groups
        self.directory = LanDirectory(host, groups, lan_address(groups))
        self.leaderships = Leaderships(SETTINGS.leaderships)

    @classmethod
    async def open(cls, host: Host, settings: Settings, *, six: bool | None = None) -> Multicast:
        """IPv4 where there is any, else IPv6.  Raises `NetworkError`: no multicast here."""
        from spinney.groups.ip import IpGroups

        wish = settings.interface
        if six is None and wish is not None and ":" in wish:
            six = True
        hops = 1 if settings.ttl is None else settings.ttl
        error: NetworkError | None = None
        for family in (False, True) if six is None else (six,):
            only = () if wish is None else (wish,)
            groups = IpGroups(host, interfaces=only, six=family, hops=hops)
            multicast = cls(host, groups)
            try:
                groups.used()
                await multicast.directory.start()
            except NetworkError as problem:
                error = error or problem
            else:
                return multicast
        assert error is not None
        raise error

    async def close(self) -> None:
        await self.directory.close()

    @property
    def interfaces(self) -> tuple[str, ...]:
        return tuple(place.name for place in self.groups.used())

    def given(self, text: str) -> bytes:
        """The address of a group that the user named.  Raises `UsageError`."""
        host, port = text, None
        if text.startswith("[") or text.count(":") == 1:
            host, _, digits = text.rpartition(":")
            port = int(digits) if digits.isascii() and digits.isdigit() else -1
        address = self.groups.address(host.strip("[]"), port)
        if not self.groups.valid(address):
            scope = "239.255.0.0/16 (ff12::/16)"
            if self.groups.hops > 1:
                scope = "239.192.0.0/14 (ff18::/16)"
            raise UsageError(
                f"--group: {text[:100]!r} is no group of this scope: choose one in {scope}, with"
                " a port of 1024 and more if any; --ttl chooses the scope"
            )
        return address

    def for_group(self, group: str | None, *, founds: bool) -> tuple[Groups, GroupDirectory]:
        """The LAN's; with the group that the user named, if any.  `founds`: whoever has the file
        founds its group there, others go there.  Raises `UsageError`."""
        if group is None:
            return self.groups, self.directory
        address = self.given(group)
        if founds:
            return FoundHere(self.groups, address), self.directory
        return self.groups, LookThere(self.directory, address)


class FoundHere:
    """`Groups` whose first free address is the one that the user named."""

    def __init__(self, groups: Groups, address: bytes) -> None:
        self.scheme = groups.scheme
        self.valid = groups.valid
        self.join = groups.join
        self._groups = groups
        self._first: bytes | None = address

    def candidate(self, rng: Rng) -> bytes:
        first, self._first = self._first, None
        return first or self._groups.candidate(rng)


class LookThere:
    """A `GroupDirectory` that knows where a file's group is when nobody else does."""

    def __init__(self, directory: GroupDirectory, address: bytes) -> None:
        self._address = address
        self._directory = directory
        self.claim = directory.claim
        self.renew = directory.renew
        self.release = directory.release
        self.conflicts = directory.conflicts

    def known(self, key: bytes) -> Entry | None:
        found = self._directory.known(key)
        if found is None and key.startswith(FILE_KEY):
            return Entry(key, self._address, b"", CLAIM_S)
        return found

    async def find(self, key: bytes, *, patience_s: float = 0.0) -> Entry | None:
        found = await self._directory.find(key)
        if found is None and key.startswith(FILE_KEY):
            return Entry(key, self._address, b"", CLAIM_S)
        return found
