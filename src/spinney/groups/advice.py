"""What the facts and the measurement mean, in words: pure."""

from __future__ import annotations

from collections.abc import Sequence

from spinney.groups.facts import BUFFER_BYTES, PACKET_BYTES, Facts
from spinney.groups.ip_scope import PORT
from spinney.groups.probe import Link, Train

LOSS_TOO_MUCH = 0.02
SLOW_PATH_S = 0.05
ETHERNET_MTU_BYTES = 1_500
"""What the size of a transfer's datagrams was chosen for."""


def described(facts: Facts, links: Sequence[Link]) -> list[str]:
    """Lines for people: what there is, then what was measured."""
    lines = [f"this machine: {facts.name}"]
    for card in facts.cards:
        families = [name for name, on in (("IPv4", card.four), ("IPv6", card.six)) if on]
        use = "multicast by " + " and ".join(families) if families else "no multicast"
        if not card.up:
            use = "down"
        radio = ", wireless" if card.wireless else ""
        where = ", ".join(card.addresses) or "no address"
        lines.append(f"  {card.name}: {where}; MTU {card.mtu:,}; {use}{radio}")
    kept = facts.buffer.kept
    lines.append(
        f"  receive buffer: {facts.buffer.asked_bytes:,} bytes asked, "
        f"holds {kept:,} datagrams ({kept * PACKET_BYTES * 8 / 200e6:.2f} s at 200 Mbit/s)"
    )
    for here in facts.here:
        state = "works" if here.works else f"does not work ({here.problem or 'nothing came'})"
        offload = ", bursts stay whole (segmentation and receive offload)" if here.merged else ""
        lines.append(f"  IPv{here.family} multicast within this machine: {state}{offload}")
    for link in links:
        lines += _of_link(link)
    if not links:
        lines.append("no other machine here runs `spinney doctor` now")
    return lines


def _of_link(link: Link) -> list[str]:
    trip = "" if link.round_trip_s is None else f"; round trip {link.round_trip_s * 1e3:.1f} ms"
    ways = {
        (True, True): "works both ways",
        (True, False): "works from there to here only",
        (False, True): "works from here to there only",
    }
    way = ways.get((link.heard, bool(link.hears_us)), "does not work")
    rows = [f"{link.name} ({link.address[0]}): IPv{link.family} multicast {way}{trip}"]
    for name, train in (("there", link.there), ("back", link.back)):
        if train is not None:
            rows.append(f"  {name:5}: {_of_train(train)}")
    return rows


def _of_train(train: Train) -> str:
    merged = ", merged by receive offload" if train.merged else ""
    own = f", {train.overflowed:,} of them for want of buffer" if train.overflowed else ""
    return (
        f"{train.received:,} of {train.sent:,} datagrams, {train.loss:.1%} lost{own}; "
        f"{train.rate_bytes_per_s / 1e6:.1f} MB/s{merged}"
    )


def advice(facts: Facts, links: Sequence[Link]) -> list[str]:
    """What to change, the most important first."""
    rows: list[str] = []
    cards = [card for card in facts.cards if card.four or card.six]
    if not cards:
        rows.append(
            "No interface multicasts: plug in a cable or join a network; files go by the swarm."
        )
    for here in facts.here:
        if here.family == 4 and not here.works:
            rows.append(
                "Multicast does not even work within this machine: look for a filter of "
                f"239.255.0.0/16, UDP port {PORT} (`nft list ruleset`)."
            )
    for link in links:
        rows += _about(link)
    if not facts.buffer.enough:
        limit = facts.buffer.limit_bytes
        shown = f" (now {limit:,})" if limit is not None else ""
        rows.append(
            "The receive buffer is small, so short stalls lose data; as root: "
            f"sysctl -w net.core.rmem_max={BUFFER_BYTES}{shown}"
        )
    for card in cards:
        if card.mtu < ETHERNET_MTU_BYTES:
            rows.append(
                f"The MTU of {card.name} is {card.mtu:,}: datagrams of a transfer go in fragments, "
                "and one lost fragment loses all of it."
            )
    if any(card.wireless for card in cards):
        rows.append(
            "Wi-Fi sends multicast slowly and unacknowledged: use a cable, or name the wired "
            "interface with --interface."
        )
    return list(dict.fromkeys(rows))


def _about(link: Link) -> list[str]:
    scope = "ff12::/16" if link.family == 6 else "239.255.0.0/16"
    tables = "ip6 daddr" if link.family == 6 else "ip daddr"
    open_it = f"nft add rule inet filter input {tables} {scope} udp dport {PORT} accept"
    rows: list[str] = []
    if not link.heard and not link.hears_us:
        rows.append(
            f"{link.name} answers, but not by IPv{link.family} multicast: let it through the "
            f"firewalls on both ({open_it}); on a switch with IGMP snooping switch a querier on; "
            "guest Wi-Fi often forbids it."
        )
    elif not link.heard:
        rows.append(f"{link.name} is not heard here: let it through this firewall: {open_it}")
    elif not link.hears_us:
        rows.append(f"{link.name} does not hear this machine: let it through there: {open_it}")
    for name, train in ((f"to {link.name}", link.there), (f"from {link.name}", link.back)):
        if train is None or not train.received or train.loss <= LOSS_TOO_MUCH:
            continue
        if train.overflowed * 2 > train.sent - train.received:
            rows.append(f"The way {name} loses {train.loss:.0%} in the receiver: a larger buffer.")
        else:
            rows.append(
                f"The way {name} loses {train.loss:.0%}: choose a lower --rate, and look for "
                "storm control and slow ports on the switch."
            )
    if link.round_trip_s is not None and link.round_trip_s > SLOW_PATH_S:
        rows.append(
            f"{link.round_trip_s * 1e3:.0f} ms to {link.name} and back is slow for a LAN: "
            "a power-saving Wi-Fi station holds multicast back."
        )
    return rows
