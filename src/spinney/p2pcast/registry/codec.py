"""The registry's messages as KRPC arguments and values, and back; pure, strict.

    d1:e <envelope> e                            join, renew, leave, delete, accuse
    d1:i 32:<stream> e                           token
    d1:c 16:<nonce> 1:i 32:<stream> 1:p 20:<peer> e    alive

The envelope's message names itself (`t`), its stream (`i`) and the token (`o`).  A contact is a
row: peer (20 bytes), depth (1, 255 unknown), compact address (6 or 18).  Anything else raises
`WireError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from spinney.errors import WireError
from spinney.net.address import pack_compact, unpack_compact
from spinney.net.host import Address
from spinney.p2pcast.registry import messages as m
from spinney.trust import envelope
from spinney.trust.envelope import Envelope, file_tag
from spinney.trust.keys import PEER_ID_BYTES, SIGNATURE_BYTES, Keys, peer_id_of, verify
from spinney.wire.krpc_messages import Arguments

Table: TypeAlias = dict[bytes, Any]

DEPTH_UNKNOWN = 255
COUNT_MAX = (1 << 40) - 1
COMPACT_AT = PEER_ID_BYTES + 1
"""Where the address begins in a contact's row."""
ROW4_BYTES, ROW6_BYTES = COMPACT_AT + 6, COMPACT_AT + 18
ENVELOPE_BYTES_MAX = 1_150
"""In a KRPC query of 1,200 bytes."""


def _exactly(table: Table, *keys: bytes, optional: tuple[bytes, ...] = ()) -> None:
    needed = set(keys)
    if not needed <= table.keys() <= needed | set(optional):
        raise WireError("a message of the registry with other fields than its own")


def _number(table: Table, key: bytes, most: int, least: int = 0) -> int:
    value = table.get(key)
    if type(value) is not int or not least <= value <= most:
        raise WireError(f"{key!r} is no number from {least} to {most}")
    return value


def _bytes(table: Table, key: bytes, length: int) -> bytes:
    value = table.get(key)
    if type(value) is not bytes or len(value) != length:
        raise WireError(f"{key!r} is no text of {length} bytes")
    return value


def _flag(table: Table, key: bytes) -> bool:
    return bool(_number(table, key, 1))


def _head(table: Table) -> tuple[bytes, bytes]:
    return _bytes(table, b"i", m.STREAM_BYTES), _bytes(table, b"o", m.TOKEN_BYTES)


def _depth(table: Table) -> int | None:
    return _number(table, b"d", m.DEPTH_MAX) if b"d" in table else None


# What peers say


def _join(table: Table) -> m.Join:
    _exactly(table, b"i", b"o", b"t", b"n", b"u", b"b", optional=(b"d",))
    wanted = _number(table, b"n", m.CONTACTS_MAX)
    return m.Join(*_head(table), wanted, _flag(table, b"u"), _flag(table, b"b"), _depth(table))


def _renew(table: Table) -> m.Renew:
    _exactly(table, b"i", b"o", b"t", b"u", optional=(b"d",))
    return m.Renew(*_head(table), _flag(table, b"u"), _depth(table))


def _leave(table: Table) -> m.Leave:
    _exactly(table, b"i", b"o", b"t")
    return m.Leave(*_head(table))


def _named(table: Table) -> tuple[bytes, int]:
    return _bytes(table, b"p", PEER_ID_BYTES), _number(table, b"s", m.STRIPES_MAX - 1)


def _delete(table: Table) -> m.Delete:
    _exactly(table, b"i", b"o", b"t", b"p", b"s")
    return m.Delete(*_head(table), *_named(table))


def _accuse(table: Table) -> m.Accuse:
    _exactly(table, b"i", b"o", b"t", b"p", b"s", optional=(b"x",))
    proof = None
    if b"x" in table:
        match table[b"x"]:
            case [bytes(one), bytes(other)] if max(len(one), len(other)) <= m.PROOF_BYTES_MAX:
                proof = (one, other)
            case _:
                raise WireError("no two envelopes that prove anything")
    return m.Accuse(*_head(table), *_named(table), proof)


_READ: dict[bytes, Callable[[Table], m.Said]] = {
    m.Join.method: _join,
    m.Renew.method: _renew,
    m.Leave.method: _leave,
    m.Delete.method: _delete,
    m.Accuse.method: _accuse,
}
SAID = frozenset(_READ)
"""Methods whose argument is an envelope."""


def _row(said: m.Said) -> Table:
    row: Table = {b"t": said.method.rpartition(b".")[2], b"i": said.stream, b"o": said.token}
    if isinstance(said, m.Join | m.Renew):
        row[b"u"] = int(said.is_open)
        if said.depth is not None:
            row[b"d"] = said.depth
    if isinstance(said, m.Join):
        row[b"n"] = said.wanted
        row[b"b"] = int(said.both_families)
    if isinstance(said, m.Delete | m.Accuse):
        row[b"p"], row[b"s"] = said.accused, said.stripe
    if isinstance(said, m.Accuse) and said.proof is not None:
        row[b"x"] = list(said.proof)
    return row


def sign(keys: Keys, sequence: int, said: m.Said) -> Arguments:
    """The arguments of a call, signed.  `sequence` must never have been used before with this
    key: two different envelopes with one number are a proof of cheating."""
    return {b"e": envelope.make(keys, file_tag(said.stream), sequence, _row(said))}


def read_said(method: bytes, arguments: Arguments) -> tuple[m.Said, Envelope]:
    """What a call says; believed only when its token is good and its envelope `verified`."""
    _exactly(arguments, b"e")
    data = arguments[b"e"]
    if type(data) is not bytes or len(data) > ENVELOPE_BYTES_MAX:
        raise WireError("a call to the registry without an envelope")
    sealed = envelope.parse(data)
    read = _READ.get(method)
    if read is None or sealed.message.get(b"t") != method.rpartition(b".")[2]:
        raise WireError("the envelope belongs to another call")
    said = read(sealed.message)
    if sealed.file != file_tag(said.stream):
        raise WireError("the envelope belongs to another stream")
    return said, sealed


def contradict(peer: bytes, proof: tuple[bytes, bytes]) -> bool:
    """Whether `peer` signed two different envelopes of one stream with one number."""
    try:
        one, other = (envelope.parse(data) for data in proof)
    except WireError:
        return False
    return (
        one.signed != other.signed
        and (one.file, one.public, one.sequence) == (other.file, other.public, other.sequence)
        and one.peer_id == peer
        and one.verified()
        and other.verified()
    )


# What is asked without an envelope


def encode_ask(ask: m.AskToken | m.Alive) -> Arguments:
    if isinstance(ask, m.Alive):
        return {b"c": ask.nonce, b"i": ask.stream, b"p": ask.peer}
    return {b"i": ask.stream}


def read_ask_token(arguments: Arguments) -> m.AskToken:
    _exactly(arguments, b"i")
    return m.AskToken(_bytes(arguments, b"i", m.STREAM_BYTES))


def read_alive(arguments: Arguments) -> m.Alive:
    _exactly(arguments, b"c", b"i", b"p")
    return m.Alive(
        _bytes(arguments, b"i", m.STREAM_BYTES),
        _bytes(arguments, b"p", PEER_ID_BYTES),
        _bytes(arguments, b"c", m.NONCE_BYTES),
    )


def answer_alive(keys: Keys, stream: bytes, arguments: Arguments) -> Arguments:
    """A peer's answer to `p2pcast.alive`: the nonce and its signature, by which the registry
    knows that it is this peer who answers, and nobody who has its address now.

    Raises `WireError` for rubbish and for a question to another peer or stream.
    """
    ask = read_alive(arguments)
    if ask.stream != stream or ask.peer != keys.peer:
        raise WireError("that peer is not here")
    return {b"k": keys.public, b"z": keys.sign(_alive_text(ask))}


def proves_alive(ask: m.Alive, values: Arguments) -> bool:
    """Whether these values are the accused's own answer to `ask`."""
    public, signature = values.get(b"k"), values.get(b"z")
    if type(public) is not bytes or type(signature) is not bytes:
        return False
    return peer_id_of(public) == ask.peer and verify(public, signature, _alive_text(ask))


def _alive_text(ask: m.Alive) -> bytes:
    return b"spinney p2pcast alive 1\0" + ask.stream + ask.peer + ask.nonce


# Answers


def room_for_contacts(room_bytes: int, *, six: bool) -> int:
    """How many contacts an answer of so many bytes has room for, beside all the rest."""
    return max(0, (room_bytes - _JOINED_BYTES) // (ROW6_BYTES if six else ROW4_BYTES))


_JOINED_BYTES = 2 + 14 + 8 + 11 + 11 + 6 + 27 + 91 + 2 * 12
"""Of a `Joined` without contacts at the most: all its other fields, each with its frame."""


def encode_joined(said: m.Joined, rows: Iterable[bytes] = ()) -> Arguments:
    """The values of an answer; `rows`: contacts that are encoded already (`contact_row`)."""
    row: Table = {
        b"o": said.token,
        b"r": said.renew_s,
        b"h": said.open,
        b"n": said.members,
        b"y": m.compact_of(said.seen),
    }
    told = [*rows, *map(contact_row, said.contacts)]
    four = b"".join([one for one in told if len(one) == ROW4_BYTES])
    if four:
        row[b"c"] = four
    if len(four) < len(told) * ROW4_BYTES:
        row[b"d"] = b"".join([one for one in told if len(one) == ROW6_BYTES])
    if said.ticket is not None:
        row[b"k"] = said.ticket.issued_at.to_bytes(5, "big") + said.ticket.signature
    return row


def contact_row(contact: m.Contact) -> bytes:
    """A contact as it stands in an answer."""
    depth = DEPTH_UNKNOWN if contact.depth is None else contact.depth
    return contact.peer + bytes((depth,)) + pack_compact(contact.address)


def _contacts(table: Table, key: bytes, row_bytes: int) -> list[m.Contact]:
    if key not in table:
        return []
    joined = table[key]
    if type(joined) is not bytes or not joined or len(joined) % row_bytes:
        raise WireError("no contacts")
    if len(joined) // row_bytes > m.CONTACTS_MAX:
        raise WireError(f"more than {m.CONTACTS_MAX} contacts")
    found = []
    for at in range(0, len(joined), row_bytes):
        peer, depth = joined[at : at + PEER_ID_BYTES], joined[at + PEER_ID_BYTES]
        compact = joined[at + COMPACT_AT : at + row_bytes]
        (address,) = unpack_compact(compact, six=row_bytes == ROW6_BYTES)
        found.append(m.Contact(peer, address, None if depth == DEPTH_UNKNOWN else depth))
    return found


def decode_joined(values: Arguments, stream: bytes, peer: bytes) -> m.Joined:
    """The answer to the `Join` or `Renew` of `peer` in `stream`; its ticket is not yet checked."""
    _exactly(values, b"h", b"o", b"r", b"n", b"y", optional=(b"c", b"d", b"k"))
    ticket = None
    if b"k" in values:
        packed = _bytes(values, b"k", 5 + SIGNATURE_BYTES)
        ticket = m.Ticket(stream, peer, int.from_bytes(packed[:5], "big"), packed[5:])
    contacts = _contacts(values, b"c", ROW4_BYTES) + _contacts(values, b"d", ROW6_BYTES)
    if len(contacts) > m.CONTACTS_MAX:
        raise WireError(f"more than {m.CONTACTS_MAX} contacts")
    return m.Joined(
        token=_bytes(values, b"o", m.TOKEN_BYTES),
        renew_s=_number(values, b"r", m.RENEW_S_MAX, 1),
        members=_number(values, b"n", COUNT_MAX),
        seen=_seen(values),
        contacts=tuple(contacts),
        ticket=ticket,
        open=_number(values, b"h", COUNT_MAX),
    )


def _seen(values: Table) -> Address:
    packed = values.get(b"y")
    if type(packed) is not bytes or len(packed) not in (6, 18):
        raise WireError("no address as it was seen")
    return unpack_compact(packed, six=len(packed) == 18)[0]


def encode_token(said: m.Token) -> Arguments:
    return {b"o": said.token}


def decode_token(values: Arguments) -> m.Token:
    _exactly(values, b"o")
    return m.Token(_bytes(values, b"o", m.TOKEN_BYTES))


def encode_verdict(said: m.Verdict) -> Arguments:
    return {b"o": said.token, b"v": said.state}


def decode_verdict(values: Arguments) -> m.Verdict:
    _exactly(values, b"o", b"v")
    state = _number(values, b"v", m.VERDICTS[-1])
    return m.Verdict(_bytes(values, b"o", m.TOKEN_BYTES), state)
