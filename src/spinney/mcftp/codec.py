"""Messages of a file management group as bencoded dictionaries, and back; pure, strict.

`decode(encode(m)) == m`, and whatever decodes is encoded to the same bytes.  Any other value
raises `WireError`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from spinney.errors import WireError
from spinney.mcftp import messages as m
from spinney.mcftp.stream import Stream
from spinney.trust.keys import PEER_ID_BYTES
from spinney.trust.seal import KEY_BYTES, OVERHEAD_BYTES
from spinney.wire import bencode

Table: TypeAlias = dict[bytes, Any]

NUMBER_MAX = (1 << 62) - 1
INTERVAL_MS_MAX = 10_000
"""Between keep-alives: a leader that lies cannot make us wait for minutes until he is missed."""
ADDRESS_BYTES_MAX = 64
"""A group's address: `ip6:`, 16 bytes, a port; an overlay's id is shorter than this too."""
BOX_BYTES_MAX = 900
PUBLISHED_BYTES_MAX = 900
PUBLISHED_PAGES_MAX = 4_096
"""3.6 MB of signed checksums: 230,000 chunks."""
RUNS_BYTES_MAX = 390
"""Of one page; the head of a keep-alive with two full electorates takes the rest."""

_STATUS_LIMITS = bencode.Limits(depth=4, tokens=64, length_bytes=BOX_BYTES_MAX)


def _number(table: Table, key: bytes, most: int = NUMBER_MAX, least: int = 0) -> int:
    value = table.get(key)
    if type(value) is not int or not least <= value <= most:
        raise WireError(f"{key!r} is no number from {least} to {most}")
    return value


def _bytes(table: Table, key: bytes, least: int, most: int) -> bytes:
    value = table.get(key)
    if type(value) is not bytes or not least <= len(value) <= most:
        raise WireError(f"{key!r} is no text of {least} to {most} bytes")
    return value


def _flag(table: Table, key: bytes) -> bool:
    return bool(_number(table, key, 1))


def _reign(table: Table) -> bytes:
    return _bytes(table, b"r", m.REIGN_BYTES, m.REIGN_BYTES)


def _key(table: Table) -> bytes:
    return _bytes(table, b"k", KEY_BYTES, KEY_BYTES)


def _version(value: object) -> tuple[int, int]:
    if type(value) is not list or len(value) != 2:
        raise WireError("no version of an electorate")
    first, second = value
    if type(first) is not int or type(second) is not int:
        raise WireError("no version of an electorate")
    if not (0 <= first <= NUMBER_MAX and 0 <= second <= NUMBER_MAX):
        raise WireError("no version of an electorate")
    return first, second


def _electorate(value: object) -> m.Electorate:
    """[term, count, ids joined]"""
    if type(value) is not list or len(value) != 3:
        raise WireError("no electorate")
    version, joined = _version(value[:2]), value[2]
    if type(joined) is not bytes or len(joined) % PEER_ID_BYTES or not joined:
        raise WireError("no electorate")
    peers = tuple(joined[at : at + PEER_ID_BYTES] for at in range(0, len(joined), PEER_ID_BYTES))
    if len(peers) > m.ELECTORATE_MAX or len(set(peers)) < len(peers):
        raise WireError("no electorate")
    return m.Electorate(version, peers)


def _electorate_row(electorate: m.Electorate) -> list[Any]:
    return [*electorate.version, b"".join(electorate.peers)]


def _stream_row(stream: Stream) -> list[Any]:
    flat = [number for run in stream.blocks for number in run]
    return [
        stream.number,
        stream.address,
        stream.sender,
        stream.sender_number,
        stream.rate_bytes_per_s,
        flat,
    ]


def _stream(value: object) -> Stream:
    """[number, address, sender, sender number, rate, [first, count, first, count, …]]"""
    if type(value) is not list or len(value) != 6:
        raise WireError("no stream")
    row = dict(zip((b"n", b"a", b"s", b"i", b"v"), value[:5], strict=True))
    flat = value[5]
    if type(flat) is not list or len(flat) % 2:
        raise WireError("no blocks of a stream")
    runs = []
    for first, count in zip(flat[::2], flat[1::2], strict=True):
        if type(first) is not int or type(count) is not int:
            raise WireError("no blocks of a stream")
        if not 0 <= first <= first + count <= m.BLOCKS_MAX or count < 1:
            raise WireError("no blocks of a stream")
        runs.append((first, count))
    return Stream(
        number=_number(row, b"n", 255),
        address=_bytes(row, b"a", 1, ADDRESS_BYTES_MAX),
        sender=_bytes(row, b"s", PEER_ID_BYTES, PEER_ID_BYTES),
        sender_number=_number(row, b"i", 255),
        rate_bytes_per_s=_number(row, b"v", least=1),
        blocks=tuple(runs),
    )


def _keep_alive(table: Table) -> m.KeepAlive:
    streams = table.get(b"s")
    if type(streams) is not list or len(streams) > m.STREAMS_MAX:
        raise WireError("no streams")
    pages = _number(table, b"pp", m.PAGES_MAX, 1)
    proposed = table.get(b"en")
    return m.KeepAlive(
        reign=_reign(table),
        term=_number(table, b"e"),
        serial=_number(table, b"n"),
        page=_number(table, b"p", pages - 1),
        pages=pages,
        interval_ms=_number(table, b"i", INTERVAL_MS_MAX, 10),
        age_ms=_number(table, b"a"),
        members=_number(table, b"m"),
        complete=_number(table, b"c"),
        started=_flag(table, b"g"),
        sealing_key=_key(table),
        electorate=_electorate(table.get(b"el")),
        proposed=None if proposed is None else _electorate(proposed),
        streams=tuple(_stream(row) for row in streams),
    )


def _keep_alive_row(said: m.KeepAlive) -> Table:
    row: Table = {
        b"r": said.reign,
        b"e": said.term,
        b"n": said.serial,
        b"p": said.page,
        b"pp": said.pages,
        b"i": said.interval_ms,
        b"a": said.age_ms,
        b"m": said.members,
        b"c": said.complete,
        b"g": int(said.started),
        b"k": said.sealing_key,
        b"el": _electorate_row(said.electorate),
        b"s": [_stream_row(stream) for stream in said.streams],
    }
    if said.proposed is not None:
        row[b"en"] = _electorate_row(said.proposed)
    return row


def _status_request(table: Table) -> m.StatusRequest:
    slices = _number(table, b"sl", 1 << 20, 1)
    return m.StatusRequest(
        _reign(table),
        _number(table, b"e"),
        _number(table, b"n"),
        slices,
        _number(table, b"s", slices - 1),
        _number(table, b"w", 600_000),
        _key(table),
    )


def _status_request_row(said: m.StatusRequest) -> Table:
    return {
        b"r": said.reign,
        b"e": said.term,
        b"n": said.number,
        b"sl": said.slices,
        b"s": said.slice,
        b"w": said.window_ms,
        b"k": said.sealing_key,
    }


def _sent(table: Table) -> m.Sent:
    return m.Sent(
        _reign(table),
        _number(table, b"e"),
        _number(table, b"s", 255),
        _number(table, b"p", m.BLOCKS_MAX),
        _flag(table, b"d"),
        _number(table, b"b"),
    )


def _sent_row(said: m.Sent) -> Table:
    return {
        b"r": said.reign,
        b"e": said.term,
        b"s": said.stream,
        b"p": said.position,
        b"d": int(said.finished),
        b"b": said.payload_bytes,
    }


def _ballot(table: Table) -> m.Ballot:
    candidate = _bytes(table, b"c", PEER_ID_BYTES, PEER_ID_BYTES)
    return m.Ballot(_reign(table), _number(table, b"e"), candidate, _flag(table, b"p"))


def _published(table: Table) -> m.Published:
    pages = _number(table, b"pp", PUBLISHED_PAGES_MAX, 1)
    page = _number(table, b"p", pages - 1)
    return m.Published(page, pages, _bytes(table, b"d", 0, PUBLISHED_BYTES_MAX))


def _election(make: Callable[[bytes, int, tuple[int, int]], m.Message]) -> _Read:
    return lambda table: make(_reign(table), _number(table, b"e"), _version(table.get(b"v")))


def _election_row(said: Any) -> Table:
    return {b"r": said.reign, b"e": said.term, b"v": list(said.version)}


_Read: TypeAlias = Callable[[Table], m.Message]
_CODECS: tuple[tuple[bytes, type, set[bytes], _Read, Callable[[Any], Table]], ...] = (
    (
        b"hello",
        m.Hello,
        {b"o"},
        lambda t: m.Hello(_number(t, b"o", 65_535)),
        lambda s: {b"o": s.port},
    ),
    (
        b"alive",
        m.KeepAlive,
        {b"r", b"e", b"n", b"p", b"pp", b"i", b"a", b"m", b"c", b"g", b"k", b"el", b"en", b"s"},
        _keep_alive,
        _keep_alive_row,
    ),
    (
        b"ask",
        m.StatusRequest,
        {b"r", b"e", b"n", b"sl", b"s", b"w", b"k"},
        _status_request,
        _status_request_row,
    ),
    (
        b"status",
        m.SealedStatus,
        {b"r", b"x"},
        lambda t: m.SealedStatus(_reign(t), _bytes(t, b"x", OVERHEAD_BYTES, BOX_BYTES_MAX)),
        lambda s: {b"r": s.reign, b"x": s.box},
    ),
    (b"sent", m.Sent, {b"r", b"e", b"s", b"p", b"d", b"b"}, _sent, _sent_row),
    (b"accept", m.Accept, {b"r", b"e", b"v"}, _election(m.Accept), _election_row),
    (b"prevote", m.PreVote, {b"r", b"e", b"v"}, _election(m.PreVote), _election_row),
    (b"vote", m.Vote, {b"r", b"e", b"v"}, _election(m.Vote), _election_row),
    (
        b"ballot",
        m.Ballot,
        {b"r", b"e", b"c", b"p"},
        _ballot,
        lambda s: {b"r": s.reign, b"e": s.term, b"c": s.candidate, b"p": int(s.pre)},
    ),
    (
        b"leave",
        m.Leave,
        {b"r", b"c"},
        lambda t: m.Leave(_reign(t), _flag(t, b"c")),
        lambda s: {b"r": s.reign, b"c": int(s.complete)},
    ),
    (
        b"handover",
        m.HandOver,
        {b"r", b"e", b"c"},
        lambda t: m.HandOver(
            _reign(t), _number(t, b"e"), _bytes(t, b"c", PEER_ID_BYTES, PEER_ID_BYTES)
        ),
        lambda s: {b"r": s.reign, b"e": s.term, b"c": s.successor},
    ),
    (
        b"published",
        m.Published,
        {b"p", b"pp", b"d"},
        _published,
        lambda s: {b"p": s.page, b"pp": s.pages, b"d": s.data},
    ),
)
_READ = {name: (keys | {b"t"}, read) for name, _, keys, read, _ in _CODECS}
_WRITE = {kind: (name, write) for name, kind, _, _, write in _CODECS}
_OPTIONAL = {b"en"}


def kind_of(table: Table) -> bytes:
    """Which message it would be, before anything of it is believed or read."""
    name = table.get(b"t")
    return name if type(name) is bytes else b""


def decode(table: Table) -> m.Message:
    """The message that an envelope holds.  Raises `WireError`."""
    found = _READ.get(kind_of(table))
    if found is None:
        raise WireError("no message of this protocol")
    keys, read = found
    if not keys - _OPTIONAL <= table.keys() <= keys:
        raise WireError("a message with other fields than its own")
    return read(table)


def encode(message: m.Message) -> Table:
    """What goes into the envelope."""
    name, write = _WRITE[type(message)]
    row = write(message)
    row[b"t"] = name
    return row


def encode_status(status: m.Status) -> bytes:
    """What is sealed to the leader."""
    return bencode.encode(
        {
            b"n": status.number,
            b"c": int(status.complete),
            b"h": status.have_blocks,
            b"f": status.first,
            b"z": status.count,
            b"x": status.held,
            b"u": status.up_bytes_per_s,
            b"d": status.down_bytes_per_s,
            b"o": status.port,
            b"a": status.uptime_s,
            b"l": status.loss_permille,
            b"r": int(status.receives),
            b"s": int(status.sends),
            b"g": int(status.leads),
        }
    )


def decode_status(data: bytes) -> m.Status:
    """Raises `WireError`."""
    table = bencode.decode(data, limits=_STATUS_LIMITS)
    if type(table) is not dict or len(table) != 14:
        raise WireError("no status")
    first = _number(table, b"f", m.BLOCKS_MAX)
    count = _number(table, b"z", m.STATUS_BITS_MAX)
    held = _bytes(table, b"x", 0, m.STATUS_BITS_MAX // 8)
    if len(held) != -(-count // 8) or (count % 8 and held[-1] & (0xFF >> count % 8)):
        raise WireError("the bits of a status do not fit its count")
    return m.Status(
        number=_number(table, b"n"),
        complete=_flag(table, b"c"),
        have_blocks=_number(table, b"h", m.BLOCKS_MAX),
        first=first,
        count=count,
        held=held,
        up_bytes_per_s=_number(table, b"u"),
        down_bytes_per_s=_number(table, b"d"),
        port=_number(table, b"o", 65_535),
        uptime_s=_number(table, b"a"),
        loss_permille=_number(table, b"l", 1_000),
        receives=_flag(table, b"r"),
        sends=_flag(table, b"s"),
        leads=_flag(table, b"g"),
    )


def pages(streams: tuple[Stream, ...]) -> list[tuple[Stream, ...]]:
    """Streams cut so that each page fits a datagram; at least one page, at most `PAGES_MAX`.

    Runs beyond the last page are left out: a later schedule brings them.
    """
    rows: list[list[Stream]] = [[]]
    free = RUNS_BYTES_MAX
    for stream in streams:
        begun = False
        for run in stream.blocks or (None,):
            runs = () if run is None else (run,)
            cost = _cost(runs) if begun else _cost(runs) + _HEAD_BYTES
            if cost > free:
                rows.append([])
                free, begun = RUNS_BYTES_MAX, False
                cost = _cost(runs) + _HEAD_BYTES
            if begun:
                rows[-1][-1] = replace(stream, blocks=(*rows[-1][-1].blocks, *runs))
            else:
                rows[-1].append(replace(stream, blocks=runs))
                begun = True
            free -= cost
    return [tuple(row) for row in rows[: m.PAGES_MAX]]


_HEAD_BYTES = 8 + 6 + (3 + ADDRESS_BYTES_MAX) + (3 + PEER_ID_BYTES) + 6 + 22
"""Of a stream without its runs, at most."""


def _cost(runs: tuple[tuple[int, int], ...]) -> int:
    return sum(len(b"i%de" % number) for run in runs for number in run)


def join(rows: list[tuple[Stream, ...]]) -> tuple[Stream, ...]:
    """The streams of all pages, in order; the opposite of `pages`."""
    found: dict[int, Stream] = {}
    for page in rows:
        for stream in page:
            before = found.get(stream.number)
            runs = stream.blocks if before is None else (*before.blocks, *stream.blocks)
            found[stream.number] = replace(stream, blocks=runs)
    return tuple(found.values())


PAGES_KEPT = 4
"""Schedules whose pages are being put together; a leader has one at a time."""


class Pages:
    """Puts schedules together whose pages come in any order, each of them once."""

    def __init__(self) -> None:
        self._rows: dict[tuple[bytes, int, int], dict[int, m.KeepAlive]] = {}
        self._last: tuple[bytes, int, int] = (b"", 0, -1)

    def add(self, said: m.KeepAlive) -> tuple[Stream, ...] | None:
        """The streams of a schedule whose last page this is; None: not yet, or told already."""
        schedule = (said.reign, said.term, said.serial)
        if schedule == self._last:
            return None
        rows = self._rows.setdefault(schedule, {})
        rows[said.page] = said
        while len(self._rows) > PAGES_KEPT:
            del self._rows[next(iter(self._rows))]
        if len(rows) < said.pages:
            return None
        del self._rows[schedule]
        self._last = schedule
        return join([rows[page].streams for page in sorted(rows)])
