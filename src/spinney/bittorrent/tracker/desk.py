"""The tracker's desk: one request in, one answer out.  Pure; the server only carries.

/announce     BEP 3, 7, 23        /             a page for people
/scrape       BEP 48              /stats.json   figures for programs
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from spinney.bittorrent.tracker import codec, page
from spinney.bittorrent.tracker import messages as m
from spinney.bittorrent.tracker.settings import TrackerSettings
from spinney.bittorrent.tracker.state import Torrent, TrackerState, choose_peers, owner_of
from spinney.errors import TrackerError, WireError
from spinney.net.address import is_dialable, is_local, is_loopback, pack_compact, unpack_compact
from spinney.net.host import Rng
from spinney.wire import bencode
from spinney.wire.http_messages import HttpResponse

ASKERS_MAX = 50_000
"""Addresses whose requests are counted; when more come within a minute, counting starts anew."""

PAGE_FRESH_S = 1.0
"""The page and the figures are made once in so long: each looks at every torrent, and they are
open to all."""

_TEXT = "text/plain"
_FRESH = ((b"Cache-Control", b"no-store"),)
_NOT_HERE = b"Nothing here; the tracker announces at /announce.\n"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, by its address: looked at once, as each look costs as much as a reply."""

    host: str
    owner: bytes
    """Whose quota counts; empty for local addresses (`state.owner_of`)."""
    local: bool
    loopback: bool
    packed: bytes

    @classmethod
    @lru_cache(maxsize=4096)
    def at(cls, host: str) -> Asker:
        bare = host.partition("%")[0]
        packed = ipaddress.ip_address(bare).packed
        return cls(bare, owner_of(bare), is_local(bare), is_loopback(bare), packed)


class Desk:
    """Answers requests from the state, within the operator's settings."""

    def __init__(
        self,
        settings: TrackerSettings,
        state: TrackerState,
        rng: Rng,
        now: float,
        allowed: Mapping[bytes, str] | None = None,
    ) -> None:
        self.settings = settings
        self.state = state
        self.counts = page.Counts()
        self.allowed = allowed
        self.announce_url = ""
        self._rng = rng
        self._began_at = now
        self._asked: dict[bytes, int] = {}
        self._minute = -1
        self._made: dict[str, tuple[float, HttpResponse]] = {}

    def answer(self, method: str, target: str, remote: str, now: float) -> HttpResponse:
        """`target`: path and query as they came; `remote`: the asker's numeric address."""
        if method not in ("GET", "HEAD"):
            return HttpResponse(
                405, b"Only GET is known here.\n", _TEXT, ((b"Allow", b"GET, HEAD"), *page.HEADERS)
            )
        path, _, query = target.partition("?")
        if path == "/announce":
            return HttpResponse(200, self._said(self._announce, query, remote, now), _TEXT, _FRESH)
        if path == "/scrape":
            return HttpResponse(200, self._said(self._scrape, query, remote, now), _TEXT, _FRESH)
        if path in ("/", "/stats.json"):
            return self._shown(path, now)
        return HttpResponse(404, _NOT_HERE, _TEXT, page.HEADERS)

    def _shown(self, path: str, now: float) -> HttpResponse:
        """The page or the figures, as they were at most a second ago."""
        made_at, shown = self._made.get(path, (float("-inf"), HttpResponse()))
        if now - made_at < PAGE_FRESH_S:
            return shown
        uptime_s = now - self._began_at
        if path == "/":
            text = page.page(
                self.state,
                self.counts,
                uptime_s,
                self.announce_url,
                self.allowed or {},
                self.settings.listed,
            )
            shown = HttpResponse(200, text, "text/html; charset=utf-8", page.HEADERS)
        else:
            figures = page.stats_json(self.state, self.counts, uptime_s)
            shown = HttpResponse(200, figures, "application/json", page.HEADERS)
        self._made[path] = (now, shown)
        return shown

    def _said(
        self, what: Callable[[str, Asker, float], bytes], query: str, remote: str, now: float
    ) -> bytes:
        """An announce's or a scrape's answer, or the reason why not, in the client's language."""
        asker = Asker.at(remote)
        try:
            self._may_ask(asker.owner, now)
            return what(query, asker, now)
        except (WireError, TrackerError) as error:
            self.counts.refused += 1
            return codec.encode_refusal(m.Refusal(str(error)))
        except _Refused as refused:
            self.counts.refused += 1
            return codec.encode_refusal(refused.refusal)

    def _may_ask(self, owner: bytes, now: float) -> None:
        if not owner:
            return
        minute = int(now // 60)
        if minute != self._minute or len(self._asked) >= ASKERS_MAX:
            self._minute = minute
            self._asked = {}
        asked = self._asked.get(owner, 0) + 1
        self._asked[owner] = asked
        if asked > self.settings.announces_per_minute:
            self.counts.limited += 1
            raise _Refused(m.Refusal("too many requests from this address", retry_in_s=60))

    # Announces

    def _announce(self, query: str, asker: Asker, now: float) -> bytes:
        request = codec.decode_announce(query)
        if self.allowed is not None and request.infohash not in self.allowed:
            raise _Refused(m.Refusal("this torrent is not allowed here", never=True))
        endpoints = endpoints_of(request, asker)
        torrent = self.state.announce(request, endpoints, asker.owner, now)
        self.counts.announces += 1
        settings = self.settings
        wanted = settings.numwant_default if request.numwant is None else request.numwant
        if request.event == "stopped":
            wanted = 0
        four, six = choose_peers(
            torrent,
            endpoints,
            request.left_bytes == 0,
            min(wanted, settings.numwant_max),
            self._rng,
        )
        if not asker.loopback:
            # 127.0.0.1 means somebody else to whoever is not on this machine.
            four = [endpoint for endpoint in four if endpoint[0] != 127]
        spread = settings.interval_spread * (2.0 * self._rng.random() - 1.0)
        interval = max(1, int(settings.interval_s * (1.0 + spread)))
        head = b"d8:completei%de10:downloadedi%de10:incompletei%de8:intervali%de12:min intervali%de"
        numbers = head % (
            torrent.seed_count,
            torrent.downloaded,
            len(torrent.peers) - torrent.seed_count,
            interval,
            min(settings.min_interval_s, interval),
        )
        if not request.compact:
            rows = _wordy(torrent, [*four, *six], request.no_peer_id)
            return b"%b5:peers%be" % (numbers, bencode.encode(rows))
        peers = b"".join(four)
        if not six:
            return b"%b5:peers%d:%be" % (numbers, len(peers), peers)
        peers6 = b"".join(six)
        return b"%b5:peers%d:%b6:peers6%d:%be" % (
            numbers,
            len(peers),
            peers,
            len(peers6),
            peers6,
        )

    # Scrapes

    def _scrape(self, query: str, asker: Asker, now: float) -> bytes:
        infohashes = codec.decode_scrape(query)
        if not infohashes:
            raise TrackerError("name the torrents to scrape; there is no list of all")
        self.counts.scrapes += 1
        torrents = {}
        for infohash in infohashes:
            torrent = self.state.torrents.get(infohash)
            if torrent is not None:
                torrents[infohash] = m.ScrapeCounts(
                    torrent.seed_count,
                    torrent.downloaded,
                    len(torrent.peers) - torrent.seed_count,
                )
        return codec.encode_scrape_reply(
            m.ScrapeReply(torrents, min_interval_s=self.settings.min_interval_s)
        )


class _Refused(Exception):
    def __init__(self, refusal: m.Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


def endpoints_of(request: m.AnnounceRequest, asker: Asker) -> tuple[bytes, ...]:
    """Where a peer is, in compact form, at most one address of each family.

    The address that the announce came from counts.  What it claims (`ip`, `ipv4`, `ipv6`) is
    believed only from loopback and private addresses, such as a proxy or a seeder beside the
    tracker: a stranger could otherwise send a whole swarm to a victim.
    """
    if not request.port:
        return ()
    port = request.port.to_bytes(2, "big")
    if not asker.local or not (request.ip or request.ipv4 or request.ipv6):
        return (asker.packed + port,)
    hosts = {len(asker.packed) == 16: asker.packed + port}
    for claimed in (request.ipv6, request.ipv4, request.ip):
        if claimed is None or not is_dialable((claimed, request.port)):
            continue
        if asker.loopback or not is_loopback(claimed):
            hosts[":" in claimed] = pack_compact((claimed, request.port))
    return tuple(hosts[six] for six in (False, True) if six in hosts)


def _wordy(torrent: Torrent, endpoints: list[bytes], no_peer_id: bool) -> list[dict[bytes, object]]:
    """BEP 3's list of dictionaries, for who asks with `compact=0`."""
    rows: list[dict[bytes, object]] = []
    for endpoint in endpoints:
        host, port = unpack_compact(endpoint, six=len(endpoint) == 18)[0]
        row: dict[bytes, object] = {b"ip": host.encode(), b"port": port}
        if not no_peer_id:
            peer = torrent.holder(endpoint)
            if peer is not None:
                row[b"peer id"] = peer.identity[: m.PEER_ID_BYTES]
        rows.append(row)
    return rows
