"""Place tickets: a parent signs that a peer is its child; the chain leads up to the source.  Pure.

    source --ticket--> root --ticket--> ... --ticket--> parent --ticket--> child

Each ticket says stream, tree, slot, child, depth, the version of the parent's place, and until
when it holds.  Who holds a chain to itself shows that it hangs in that tree, and how deep: nobody
makes an island look like a tree, or a deep place look shallow.  Tickets hold for a minute and are
renewed by a wave from the source: each peer that gets a newer chain signs its children's.

A ticket names the child by its name, 63 bits of the hash of its key; the next ticket, which that
child signed, shows the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TypeAlias

from spinney.errors import CallError
from spinney.p2pcast.place import MOST_STRIPES, SOURCE, Name
from spinney.p2pcast.trust.identity import Signer

LIFE_S = 60
"""Of a ticket: what a fallen parent's word is worth at the most."""
SKEW_S = 5
"""By which clocks may differ; they are set by the registry's."""
MOST_LEVELS = 64
"""A forest of 10,000 is 20 deep at the worst; more is a chain made to be long."""
MOST_SLOTS = 2 * MOST_STRIPES
TICKET_FALSE = 316
"""Code of a refusal: this chain does not lead to the source."""

_CONTEXT = b"spinney p2pcast place 1\0"
_SAID = Struct(">BBqBII")


@dataclass(frozen=True, slots=True)
class Level:
    """One ticket of a chain.  `holder`: the public key of who signed it; `version`: of its place;
    `not_after`: Unix seconds."""

    holder: bytes
    slot: int
    version: int
    not_after: int
    signature: bytes


Chain: TypeAlias = tuple[Level, ...]
"""From the source's ticket to one's own."""


def _text(
    stream: bytes, tree: int, child: Name, depth: int, slot: int, version: int, not_after: int
) -> bytes:
    return _CONTEXT + stream + _SAID.pack(tree, slot, child, depth, version, not_after)


def issue(
    signer: Signer,
    stream: bytes,
    tree: int,
    above: Chain,
    child: Name,
    *,
    slot: int,
    version: int,
    now_unix_s: float,
) -> Chain:
    """The chain of a child: its parent's, and one ticket more."""
    not_after = int(now_unix_s) + LIFE_S
    said = _text(stream, tree, child, len(above), slot, version, not_after)
    return (*above, Level(signer.public, slot, version, not_after, signer.sign(said)))


def judge(
    signer: Signer, stream: bytes, tree: int, chain: Chain, child: Name, now_unix_s: float
) -> tuple[Name, ...]:
    """The names above `child` in this tree, the source first, its parent last.

    Raises `CallError` for a chain that is not from the source, has been forged, is not this
    child's, has run out, or goes in a ring."""
    if not 0 < len(chain) <= MOST_LEVELS:
        raise CallError(f"a chain of {len(chain)} tickets", TICKET_FALSE)
    names = tuple(signer.name_of(level.holder) for level in chain)
    if names[0] != SOURCE:
        raise CallError("the tickets do not lead to the source", TICKET_FALSE)
    if len({*names, child}) <= len(names):
        raise CallError("the tickets go in a ring", TICKET_FALSE)
    children = (*names[1:], child)
    for depth, (level, below) in enumerate(zip(chain, children, strict=True)):
        if not now_unix_s - SKEW_S <= level.not_after <= now_unix_s + LIFE_S + SKEW_S:
            raise CallError("a ticket that has run out, or is from the future", TICKET_FALSE)
        if level.slot >= MOST_SLOTS:
            raise CallError("a ticket for a slot that nobody has", TICKET_FALSE)
        said = _text(stream, tree, below, depth, level.slot, level.version, level.not_after)
        if not signer.verify(level.holder, level.signature, said):
            raise CallError("a ticket is forged, or is somebody else's", TICKET_FALSE)
    return names
