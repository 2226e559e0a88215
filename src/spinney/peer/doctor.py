"""`examine`: what this machine can do for multicast, and with whom it works."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from spinney.errors import NetworkError, WireError
from spinney.groups.advice import advice, described
from spinney.groups.facts import Facts, learn
from spinney.groups.ip import IpGroups
from spinney.groups.probe import PORT, Link, Probe, Train
from spinney.net.address import parse_address
from spinney.net.host import Address, Host
from spinney.peer.local import given_or_live


async def examine(
    *,
    interfaces: Sequence[str] = (),
    others: Sequence[str] = (),
    wait_s: float = 8.0,
    host: Host | None = None,
) -> dict[str, Any]:
    """The report as plain data: `text` has it as lines, `advice` says what to change, `works`
    whether multicast does (with each machine that was met; alone: within this one).

    Waits up to `wait_s` for another machine that does the same.  `others`: machines (names or
    addresses) to ask by themselves too, which shows multicast that does not work at all.
    Raises `ResolveError` or `WireError` for one of those that is none.
    """
    with given_or_live(host) as here:
        facts = await learn(here, tuple(interfaces))
        named = await _resolved(here, others)
        families = [IpGroups(here, interfaces=interfaces, six=six) for six in (False, True)]
        probe = Probe(here, _that_join(families), others=named)
        links = await probe.run(wait_s) if wait_s else []
        return {
            "machine": facts.name,
            "interfaces": [asdict(card) for card in facts.cards],
            "buffer": {**asdict(facts.buffer), "enough": facts.buffer.enough},
            "here": [asdict(each) for each in facts.here],
            "machines": [_of(link) for link in links],
            "problems": probe.problems,
            "advice": advice(facts, links),
            "text": described(facts, links),
            "works": _works(facts, links),
        }


def _that_join(families: Sequence[IpGroups]) -> list[IpGroups]:
    """Those for which there is an interface."""
    usable = []
    for groups in families:
        with suppress(NetworkError):
            groups.used()
            usable.append(groups)
    return usable


async def _resolved(host: Host, others: Sequence[str]) -> list[Address]:
    rows: list[Address] = []
    for text in others:
        try:
            name, port = parse_address(text, PORT)
        except WireError:
            name, port = text, PORT  # a bare IPv6 address
        rows += await host.resolve(name, port)
    return rows


def _works(facts: Facts, links: Sequence[Link]) -> bool:
    """With every machine that was met, by one family at least; alone, on an interface."""
    met = {link.name for link in links}
    good = {link.name for link in links if link.heard and link.hears_us}
    usable = {4 * card.four for card in facts.cards} | {6 * card.six for card in facts.cards}
    return met == good and any(here.works and here.family in usable for here in facts.here)


def _of(link: Link) -> dict[str, Any]:
    row = asdict(link)
    for key, train in (("there", link.there), ("back", link.back)):
        row[key] = None if train is None else _of_train(train)
    row["address"] = link.address[0]
    return row


def _of_train(train: Train) -> dict[str, Any]:
    return {**asdict(train), "loss": train.loss, "rate_bytes_per_s": train.rate_bytes_per_s}
