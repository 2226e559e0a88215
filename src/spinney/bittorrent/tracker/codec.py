"""Bytes to tracker messages and back; pure.  Every decoder raises `WireError` and nothing else.

Requests are the query part of a GET (BEP 3); replies are bencoded dictionaries, whose keys
other trackers have been seen to leave unsorted.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from spinney.bittorrent.tracker import messages as m
from spinney.errors import WireError
from spinney.net.address import COMPACT4_BYTES, COMPACT6_BYTES, is_dialable, unpack_compact
from spinney.net.host import Address
from spinney.wire import bencode

_LIMITS = bencode.Limits(depth=8, tokens=20_000, length_bytes=m.REPLY_BYTES_MAX)
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPES = tuple(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in range(256))


# Requests


def escape(data: bytes) -> str:
    """Raw bytes as a query carries them: everything but RFC 3986's unreserved is `%XX`."""
    return "".join([_ESCAPES[byte] for byte in data])


def encode_announce(request: m.AnnounceRequest) -> str:
    """The query of an announce, without the `?`."""
    parts = [
        f"info_hash={escape(request.infohash)}",
        f"peer_id={escape(request.peer_id)}",
        f"port={request.port}",
        f"uploaded={request.uploaded_bytes}",
        f"downloaded={request.downloaded_bytes}",
        f"left={request.left_bytes}",
        f"corrupt={request.corrupt_bytes}",
    ]
    if request.key:
        parts.append(f"key={escape(request.key)}")
    if request.event:
        parts.append(f"event={request.event}")
    if request.numwant is not None:
        parts.append(f"numwant={request.numwant}")
    parts.append(f"compact={int(request.compact)}&no_peer_id={int(request.no_peer_id)}")
    for name, value in (("ip", request.ip), ("ipv4", request.ipv4), ("ipv6", request.ipv6)):
        if value is not None:
            parts.append(f"{name}={escape(value.encode('ascii'))}")
    if request.tracker_id is not None:
        parts.append(f"trackerid={escape(request.tracker_id)}")
    return "&".join(parts)


def encode_scrape(infohashes: Sequence[bytes]) -> str:
    """The query of a scrape of several torrents (BEP 48), without the `?`."""
    return "&".join(f"info_hash={escape(infohash)}" for infohash in infohashes)


def _parameters(query: str) -> list[tuple[str, str]]:
    if len(query) > m.QUERY_BYTES_MAX:
        raise WireError(f"a query of {len(query)} bytes is over {m.QUERY_BYTES_MAX}")
    parts = query.split("&")
    if len(parts) > m.PARAMETERS_MAX:
        raise WireError(f"more than {m.PARAMETERS_MAX} parameters")
    pairs = []
    for part in parts:
        name, _, value = part.partition("=")
        pairs.append((name, value))
    return pairs


def _raw(text: str) -> bytes:
    """Unescapes a value.  A `+` is a plus: clients leave it bare in hashes."""
    if "%" not in text:
        return text.encode("utf-8", "replace")
    return unquote_to_bytes(text)


def _exactly(table: dict[str, str], name: str, length: int) -> bytes:
    text = table.get(name)
    if text is None:
        raise WireError(f"{name} is missing")
    value = _raw(text)
    if len(value) != length:
        raise WireError(f"{name} is {len(value)} bytes long, not {length}")
    return value


def _count(table: dict[str, str], name: str, default: int, most: int = m.COUNT_MAX) -> int:
    """A number of a query; absent or empty: the default; too large: the largest allowed."""
    text = table.get(name, "")
    if not text:
        return default
    if len(text) > 20 or not text.isascii() or not text.isdigit():
        raise WireError(f"{name} is not a number")
    return min(int(text), most)


def _claimed_address(text: str | None) -> str | None:
    """A numeric address that a client claims, in its one form; names and rubbish are ignored.

    BEP 7 lets `ipv6` be an endpoint too: its port is ignored, `port` counts.
    """
    if not text or len(text) > 120:
        return None
    bare = unquote_to_bytes(text).decode("latin-1")
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address.ipv4_mapped):
        return None
    return str(address)


def decode_announce(query: str) -> m.AnnounceRequest:
    """An announce as the server reads it.  Unknown parameters are ignored, doubled refused."""
    pairs = _parameters(query)
    table = dict(pairs)
    if len(table) != len(pairs):
        raise WireError("a parameter was given twice")
    infohash = _exactly(table, "info_hash", m.INFOHASH_BYTES)
    peer_id = _exactly(table, "peer_id", m.PEER_ID_BYTES)
    port = _count(table, "port", -1, 65536)
    if not 0 <= port <= 65535:
        raise WireError("port is missing or not a port")
    event = table.get("event", "")
    if event in ("empty", "none"):
        event = ""
    if event not in m.EVENTS:
        raise WireError("event is not one of started, stopped, completed, paused")
    key = _raw(table.get("key", ""))[: m.KEY_BYTES_MAX]
    wanted = table.get("numwant")
    # Some clients send -1 for "as many as you like" (BEP 15's convention).
    numwant = None if wanted in (None, "", "-1") else _count(table, "numwant", 0)
    return m.AnnounceRequest(
        infohash,
        peer_id,
        port,
        _count(table, "uploaded", 0),
        _count(table, "downloaded", 0),
        _count(table, "left", m.UNKNOWN_LEFT_BYTES),
        event,
        numwant,
        table.get("compact", "1") != "0",
        table.get("no_peer_id", "0") != "0",
        key,
        _count(table, "corrupt", 0),
        _claimed_address(table.get("ip")),
        _claimed_address(table.get("ipv4")),
        _claimed_address(table.get("ipv6")),
        _raw(table["trackerid"])[: m.TRACKER_ID_BYTES_MAX] if "trackerid" in table else None,
    )


def decode_scrape(query: str) -> tuple[bytes, ...]:
    """The infohashes of a scrape, in order; none means "all", which a tracker may refuse."""
    infohashes: dict[bytes, None] = {}
    for name, text in _parameters(query):
        if name != "info_hash":
            continue
        infohash = _raw(text)
        if len(infohash) != m.INFOHASH_BYTES:
            raise WireError(f"info_hash is {len(infohash)} bytes long, not {m.INFOHASH_BYTES}")
        infohashes[infohash] = None
    if len(infohashes) > m.SCRAPE_TORRENTS_MAX:
        raise WireError(f"a scrape of more than {m.SCRAPE_TORRENTS_MAX} torrents")
    return tuple(infohashes)


# Replies


def encode_refusal(refusal: m.Refusal) -> bytes:
    """`failure reason`, with BEP 31's `retry in` (minutes, rounded up, or `never`)."""
    table: dict[bytes, Any] = {b"failure reason": refusal.reason.encode()}
    if refusal.never:
        table[b"retry in"] = b"never"
    elif refusal.retry_in_s is not None:
        table[b"retry in"] = max(1, -(-refusal.retry_in_s // 60))
    return bencode.encode(table)


def encode_scrape_reply(reply: m.ScrapeReply) -> bytes:
    table: dict[bytes, Any] = {
        b"files": {
            infohash: {
                b"complete": counts.complete,
                b"downloaded": counts.downloaded,
                b"incomplete": counts.incomplete,
            }
            for infohash, counts in reply.torrents.items()
        }
    }
    if reply.min_interval_s:
        table[b"flags"] = {b"min_request_interval": reply.min_interval_s}
    return bencode.encode(table)


def _dictionary(data: bytes, what: str) -> dict[bytes, Any]:
    table = bencode.decode(data, limits=_LIMITS, canonical=False)
    if not isinstance(table, dict):
        raise WireError(f"the tracker's {what} is no dictionary")
    return table


def _text(value: object, what: str) -> str:
    """A tracker's words for people: bounded, on one line, without control characters."""
    if not isinstance(value, bytes):
        raise WireError(f"{what} is no text")
    words = value[: m.TEXT_BYTES_MAX].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())


def _refusal(table: dict[bytes, Any]) -> m.Refusal | None:
    if b"failure reason" not in table:
        return None
    reason = _text(table[b"failure reason"], "failure reason")
    retry = table.get(b"retry in")
    if retry == b"never":
        return m.Refusal(reason, never=True)
    if isinstance(retry, bytes) and retry.isdigit() and len(retry) < 10:
        retry = int(retry)
    if isinstance(retry, int) and retry > 0:
        return m.Refusal(reason, retry_in_s=min(retry * 60, m.RETRY_MAX_S))
    return m.Refusal(reason)


def _number(table: dict[bytes, Any], key: bytes) -> int | None:
    """A count of a reply: a wrong type or sign is as good as absent (BEP 3 demands few)."""
    value = table.get(key)
    return min(value, m.COUNT_MAX) if isinstance(value, int) and value >= 0 else None


def _peer_rows(value: object) -> tuple[list[Address], int]:
    """Peers of the wordy form: dictionaries with `ip` and `port`.  Names are not resolved.

    BEP 3 allows a DNS name as `ip`; a tracker could then make every client ask the DNS for
    names of its choice, and no tracker of today uses it: numeric addresses only.
    """
    if not isinstance(value, list):
        raise WireError("peers is neither a string nor a list")
    rows: list[Address] = []
    ignored = 0
    for entry in value[: m.REPLY_PEERS_MAX]:
        ip = entry.get(b"ip") if isinstance(entry, dict) else None
        port = entry.get(b"port") if isinstance(entry, dict) else None
        if not isinstance(ip, bytes) or len(ip) > 45 or not isinstance(port, int):
            ignored += 1
            continue
        try:
            host = str(ipaddress.ip_address(ip.decode("ascii")))
        except ValueError:
            ignored += 1
            continue
        rows.append((host, port))
    return rows, ignored + max(0, len(value) - m.REPLY_PEERS_MAX)


def _compact_rows(value: bytes, six: bool) -> tuple[list[Address], int]:
    size = COMPACT6_BYTES if six else COMPACT4_BYTES
    count = len(value) // size
    if count > m.REPLY_PEERS_MAX and len(value) % size == 0:
        return unpack_compact(value[: m.REPLY_PEERS_MAX * size], six=six), count - m.REPLY_PEERS_MAX
    return unpack_compact(value, six=six), 0


def _peers(table: dict[bytes, Any]) -> tuple[tuple[Address, ...], int]:
    """Both families, each address once, IPv4 and IPv6 mixed fairly by taking turns."""
    four, six = table.get(b"peers", b""), table.get(b"peers6", b"")
    rows, ignored = _compact_rows(four, False) if isinstance(four, bytes) else _peer_rows(four)
    rows6, ignored6 = _compact_rows(six, True) if isinstance(six, bytes) else _peer_rows(six)
    mixed: dict[Address, None] = {}
    for at in range(max(len(rows), len(rows6))):
        for family in (rows, rows6):
            if at < len(family):
                mixed[family[at]] = None
    kept = [address for address in mixed if is_dialable(address)]
    ignored += len(mixed) - min(len(kept), m.REPLY_PEERS_MAX)
    return tuple(kept[: m.REPLY_PEERS_MAX]), ignored + ignored6


def _external_ip(value: object) -> str | None:
    """BEP 24: 4 or 16 raw bytes; some trackers write it as text."""
    if not isinstance(value, bytes) or len(value) > 45:
        return None
    try:
        if len(value) in (4, 16):
            return str(ipaddress.ip_address(value))
        return str(ipaddress.ip_address(value.decode("ascii")))
    except ValueError:
        return None


def decode_announce_reply(data: bytes) -> m.AnnounceReply | m.Refusal:
    """What a tracker answered.  Intervals come out within their bounds."""
    table = _dictionary(data, "answer")
    refusal = _refusal(table)
    if refusal is not None:
        return refusal
    peers, ignored = _peers(table)
    interval = _number(table, b"interval")
    tracker_id = table.get(b"tracker id")
    warning = table.get(b"warning message")
    return m.AnnounceReply(
        interval_s=m.INTERVAL_DEFAULT_S
        if interval is None
        else min(max(interval, m.INTERVAL_MIN_S), m.INTERVAL_MAX_S),
        min_interval_s=min(_number(table, b"min interval") or 0, m.MIN_INTERVAL_MAX_S),
        peers=peers,
        complete=_number(table, b"complete"),
        incomplete=_number(table, b"incomplete"),
        downloaded=_number(table, b"downloaded"),
        tracker_id=tracker_id
        if isinstance(tracker_id, bytes) and len(tracker_id) <= m.TRACKER_ID_BYTES_MAX
        else None,
        warning=_text(warning, "warning message") if isinstance(warning, bytes) else None,
        external_ip=_external_ip(table.get(b"external ip")),
        ignored_peers=ignored,
    )


def decode_scrape_reply(data: bytes) -> m.ScrapeReply | m.Refusal:
    """The counts that a tracker gave (BEP 48), at most `SCRAPE_TORRENTS_MAX` torrents."""
    table = _dictionary(data, "scrape")
    refusal = _refusal(table)
    if refusal is not None:
        return refusal
    files = table.get(b"files")
    if not isinstance(files, dict):
        raise WireError("the tracker's scrape has no files")
    torrents: dict[bytes, m.ScrapeCounts] = {}
    for infohash, row in files.items():
        if len(infohash) != m.INFOHASH_BYTES or not isinstance(row, dict):
            continue
        if len(torrents) >= m.SCRAPE_TORRENTS_MAX:
            break
        torrents[infohash] = m.ScrapeCounts(
            _number(row, b"complete") or 0,
            _number(row, b"downloaded") or 0,
            _number(row, b"incomplete") or 0,
        )
    flags = table.get(b"flags")
    wait = _number(flags, b"min_request_interval") if isinstance(flags, dict) else None
    return m.ScrapeReply(torrents, min(wait or 0, m.MIN_INTERVAL_MAX_S))


def scrape_path(path: str) -> str | None:
    """BEP 48: the last part of an announce path, if it begins with `announce`, else None."""
    folder, slash, last = path.rpartition("/")
    if not slash or not last.startswith("announce"):
        return None
    return f"{folder}/scrape{last[len('announce') :]}"
