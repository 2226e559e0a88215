"""What peers and the registry say to each other, and every bound on it.

Source: paper, section 7 (JOIN, DELETE) and 10.2 (one who joins twice gains nothing).  Each is a
KRPC call over UDP; what a peer says is in an envelope that it signed (`codec`).

    p2pcast.token    who am I to you?           a token, bound to the address that asked
    p2pcast.join     I come (paper: JOIN)       random live peers, a ticket, a fresh token
    p2pcast.renew    I am still here            a ticket when the old one is half spent
    p2pcast.leave    I go                       nothing
    p2pcast.delete   my neighbour is dead       what becomes of it (paper: DELETE)
    p2pcast.accuse   my parent cheats           the same
    p2pcast.alive    from the registry: are     the nonce, signed
                     you there?

A stream is named by SHA-256 of its source's public key: who can sign with that key is its source.
A peer is named by the first 20 bytes of SHA-256 of its public key.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import ClassVar, TypeAlias

from spinney.net.address import pack_compact
from spinney.net.host import Address
from spinney.trust.keys import PEER_ID_BYTES, Keys, verify

STREAM_BYTES = 32
TOKEN_BYTES = 8
NONCE_BYTES = 16
STRIPES_MAX = 16
"""The paper's f; more than 16 children for one peer is no moderate number."""
DEPTH_MAX = 254
"""Of a peer below its source; a forest of 10,000 is 20 deep at the worst."""
CONTACTS_MAX = 32
"""In one answer: 16 contacts give the complete tree's depth, more give nothing."""
CONTACTS_WANTED = 16
PROOF_BYTES_MAX = 420
"""Of each of the two envelopes that contradict each other: both fit one datagram."""
RENEW_S_MAX = 3_600
"""A registry that lies cannot make us silent for longer."""
TICKET_SKEW_S = 120
"""Clocks of peers that are wrong by less do not make a fresh ticket look forged."""

TOKEN_OLD, NO_STREAM, FULL, TOO_OFTEN, NO_MEMBER, OVERTAKEN = 301, 302, 303, 304, 305, 306
"""Codes of refusals, beside those of KRPC (201 to 204)."""

_TICKET_CONTEXT = b"spinney p2pcast ticket 1\0"


@lru_cache(maxsize=4_096)
def compact_of(address: Address) -> bytes:
    """`pack_compact`, which costs more than a token: one call needs it three times."""
    return pack_compact(address)


def stream_of(source_key: bytes) -> bytes:
    """The name of the stream whose source has this public key."""
    return sha256(source_key).digest()


@dataclass(frozen=True, slots=True)
class Contact:
    """A live peer to begin with.  `peer` (20 bytes) tells whether it is really that one who
    answers; `depth`: how far below the source it said that it sits, None if it did not say."""

    peer: bytes
    address: Address
    depth: int | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """The registry saw `peer` join `stream` at `issued_at` (Unix seconds); its signature.

    Anybody who has the registry's key from the link can tell a registered peer by it.
    """

    stream: bytes
    peer: bytes
    issued_at: int
    signature: bytes

    @classmethod
    def issue(cls, keys: Keys, stream: bytes, peer: bytes, issued_at: int) -> Ticket:
        return cls(stream, peer, issued_at, keys.sign(_ticket_text(stream, peer, issued_at)))

    def is_signed(self, registry_key: bytes) -> bool:
        """Whether this registry signed it, however long ago."""
        text = _ticket_text(self.stream, self.peer, self.issued_at)
        return verify(registry_key, self.signature, text)

    def is_valid(self, registry_key: bytes, now_unix_s: float, life_s: float) -> bool:
        """Signed by this registry, not older than `life_s`, and not from the future."""
        age_s = now_unix_s - self.issued_at
        return -TICKET_SKEW_S <= age_s <= life_s + TICKET_SKEW_S and self.is_signed(registry_key)


def _ticket_text(stream: bytes, peer: bytes, issued_at: int) -> bytes:
    assert len(stream) == STREAM_BYTES
    assert len(peer) == PEER_ID_BYTES
    return _TICKET_CONTEXT + stream + peer + issued_at.to_bytes(8, "big")


# What a peer says, each inside its envelope


@dataclass(frozen=True, slots=True)
class Join:
    """ "I come; name me `wanted` live peers."  `token`: 8 bytes that this address was given.

    `is_open`: reachable from outside, so that others may be sent here.  `both_families`: can
    dial IPv4 and IPv6, and not only the family that it calls by.
    """

    method: ClassVar[bytes] = b"p2pcast.join"
    stream: bytes
    token: bytes
    wanted: int = CONTACTS_WANTED
    is_open: bool = True
    both_families: bool = False
    depth: int | None = None


@dataclass(frozen=True, slots=True)
class Renew:
    """ "I am still here, so deep": every `renew_s`, or the registry forgets the peer."""

    method: ClassVar[bytes] = b"p2pcast.renew"
    stream: bytes
    token: bytes
    is_open: bool = True
    depth: int | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    """ "I go": cheaper for all than to be missed."""

    method: ClassVar[bytes] = b"p2pcast.leave"
    stream: bytes
    token: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """ "`accused`, my neighbour in `stripe`, is dead" (the paper's DELETE)."""

    method: ClassVar[bytes] = b"p2pcast.delete"
    stream: bytes
    token: bytes
    accused: bytes
    stripe: int


@dataclass(frozen=True, slots=True)
class Accuse:
    """ "`accused`, my parent in `stripe`, cheats."

    `proof`: two envelopes with one number and different contents, both signed by the accused:
    it said two things where it may say one.  Without proof this is one testimony.
    """

    method: ClassVar[bytes] = b"p2pcast.accuse"
    stream: bytes
    token: bytes
    accused: bytes
    stripe: int
    proof: tuple[bytes, bytes] | None = None


Said: TypeAlias = Join | Renew | Leave | Delete | Accuse

# What is asked without an envelope


@dataclass(frozen=True, slots=True)
class AskToken:
    """ "Give this address a token": the only question that a stranger is answered."""

    method: ClassVar[bytes] = b"p2pcast.token"
    stream: bytes


@dataclass(frozen=True, slots=True)
class Alive:
    """From the registry to `peer`: sign this nonce, or be taken for dead."""

    method: ClassVar[bytes] = b"p2pcast.alive"
    stream: bytes
    peer: bytes
    nonce: bytes


# Answers


@dataclass(frozen=True, slots=True)
class Joined:
    """The answer to a `Join` and, with no contacts, to a `Renew`.

    `token`: the next one.  `ticket` None: the one that the peer has is still good, or this is a
    stand-in, which signs none.  `members`: how many the stream has.  `seen`: the address that
    the call came from, as the registry sees it (a peer behind a NAT learns its outer one).
    `open`: how many of the members are handed out, since they have a place and can be reached.
    """

    token: bytes
    renew_s: int
    members: int
    seen: Address
    contacts: tuple[Contact, ...] = ()
    ticket: Ticket | None = None
    open: int = 0


GONE, HEARD = 0, 1
VERDICTS = (GONE, HEARD)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to `Delete` and `Accuse`.  `state`: GONE, the accused is not in the registry
    or is no longer handed out; HEARD, that is still being looked into."""

    token: bytes
    state: int


@dataclass(frozen=True, slots=True)
class Token:
    """The answer to `AskToken`."""

    token: bytes
