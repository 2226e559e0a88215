"""Simulated multicast: groups live on segments; scope is one segment (TTL does not route).

A datagram to a group reaches every socket on the segment that joined it, each with a fate of
its own, and the sender's own machine too while `multicast_loop` is set.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spinney.errors import NetworkError
from spinney.net.host import Address, DatagramOptions
from spinney.sim.links import LOST, TWICE
from spinney.sim.segments import Attachment

if TYPE_CHECKING:
    from spinney.sim.datagrams import SimDatagrams
    from spinney.sim.host import SimHost


@dataclass(frozen=True, slots=True)
class Membership:
    """One `join`: on this attachment, for this group, from this source only (None: from all)."""

    group: str
    attachment: Attachment
    source: str | None


def _attachment(socket: SimDatagrams, group: str, interface: str | None) -> Attachment:
    six = ":" in group
    loopback = [socket.host.loopback] if interface is not None else []  # when it is asked for
    for attachment in [*socket.host.attachments, *loopback]:
        named = interface is not None and is_named(attachment, interface)
        if named or (interface is None and attachment.segment.multicast):
            if attachment.address_of(six) is None:
                continue
            return attachment
    raise NetworkError(f"{socket.host.name} has no interface {interface or 'for multicast'}")


def is_group(host: str) -> bool:
    """Is this text the address of a multicast group?"""
    try:
        return ipaddress.ip_address(host).is_multicast
    except ValueError:
        return False


def is_named(attachment: Attachment, interface: str) -> bool:
    """Is this the interface of that name, or with that address?"""
    return interface == attachment.name or any(
        interface == host for host, _ in attachment.addresses
    )


def check_options(host: SimHost, options: DatagramOptions) -> None:
    """Raises `NetworkError` if the socket's multicast interface does not exist."""
    wanted = options.multicast_interface
    if wanted is None or any(is_named(each, wanted) for each in host.attachments):
        return
    if not is_named(host.loopback, wanted):
        raise NetworkError(f"{host.name} has no interface {wanted}")


def join(socket: SimDatagrams, group: str, interface: str | None, source: str | None) -> None:
    group = group.partition("%")[0]
    if not is_group(group):
        raise NetworkError(f"{group} is no multicast group")
    membership = Membership(group, _attachment(socket, group, interface), source)
    if membership in socket.joined or not socket.is_open:
        return
    socket.joined.append(membership)
    key = (group, socket.local_address[1])
    members = membership.attachment.segment.members.setdefault(key, [])
    if socket not in members:
        members.append(socket)


def leave(socket: SimDatagrams, group: str, interface: str | None, source: str | None) -> None:
    group = group.partition("%")[0]
    for membership in list(socket.joined):
        if (
            membership.group == group
            and (interface is None or is_named(membership.attachment, interface))
            and membership.source == source
        ):
            _drop(socket, membership)
            return


def leave_all(socket: SimDatagrams) -> None:
    for membership in list(socket.joined):
        _drop(socket, membership)


def _drop(socket: SimDatagrams, membership: Membership) -> None:
    socket.joined.remove(membership)
    segment = membership.attachment.segment
    key = (membership.group, socket.local_address[1])
    if not any(
        other.group == membership.group and other.attachment.segment is segment
        for other in socket.joined
    ):
        members = segment.members.get(key, [])
        members.remove(socket)
        if not members:
            del segment.members[key]


def send(socket: SimDatagrams, data: bytes, remote: Address) -> None:
    """Sends to a group, out of one interface."""
    from spinney.sim.datagrams import headers_bytes

    host = socket.host
    world = host.world
    group = remote[0].partition("%")[0]
    name = socket.options.multicast_interface or remote[0].partition("%")[2] or None
    wild = socket.local_address[0] in ("0.0.0.0", "::")
    if name is None and not wild:
        owned = host.attachments_for(socket.local_address[0])
        name = owned[0].name if owned else None
    try:
        attachment = _attachment(socket, group, name)
    except NetworkError:
        return
    own = attachment.address_of(":" in group) if wild else socket.local_address[0]
    assert own is not None
    source: Address = (own, socket.local_address[1])
    size = len(data) + headers_bytes(group)
    when = world.loop.now
    hops = socket.options.multicast_hops
    if hops > 0 and attachment.up is not None:
        passed = attachment.up.passes_at(when, size)
        if passed is None:
            socket.dropped += 1
            return
        when = passed
    segment = attachment.segment
    if hops > 0 and segment.air is not None:
        sent_at = segment.air.passes_at(when, size)
        if sent_at is None:
            return  # the access point dropped it: the sender is told nothing
        when = sent_at
    for member in list(segment.members.get((group, remote[1]), ())):
        for there in dict.fromkeys(
            each.attachment
            for each in member.joined
            if each.group == group and each.attachment.segment is segment
        ):
            if member.host is host:
                if socket.options.multicast_loop:
                    world.loop.push(
                        world.loop.now + 1e-5, _arrived, (member, there, group, data, source)
                    )
            elif hops > 0 and (segment.multicast or there is attachment):
                _send_one(attachment, there, member, group, data, source, when, size)


def _send_one(
    attachment: Attachment,
    there: Attachment,
    member: SimDatagrams,
    group: str,
    data: bytes,
    source: Address,
    when: float,
    size: int,
) -> None:
    air = attachment.segment.air
    if air is not None and not air.is_heard():
        member.host.world.lost.append(len(data))
        return
    way = attachment.ways[there.profile]
    fate = next(way.fates)
    copies = 1
    if fate == TWICE:
        copies, fate = 2, next(way.fates)
    for copy in range(copies):
        if copy:
            fate = next(way.fates)
        if fate == LOST:
            member.host.world.lost.append(len(data))
            continue
        loop = member.host.world.loop
        if there.down is None:
            loop.push(when + fate, _arrived, (member, there, group, data, source))
        else:
            loop.push(when + fate, _queued, (member, there, group, data, source, size))


def _queued(
    member: SimDatagrams, there: Attachment, group: str, data: bytes, source: Address, size: int
) -> None:
    loop = member.host.world.loop
    passed = there.down.passes_at(loop.now, size) if there.down is not None else loop.now
    if passed is None:
        member.host.world.lost.append(len(data))
    else:
        loop.push(passed, _arrived, (member, there, group, data, source))


def _arrived(
    member: SimDatagrams, there: Attachment, group: str, data: bytes, source: Address
) -> None:
    if not there.is_up:
        return
    for membership in member.joined:
        matches = membership.group == group and membership.attachment is there
        if matches and membership.source in (None, source[0]):
            member.deliver(data, source, there.index)
            return
