"""The tracker's desk: one request in, one answer out.  Pure; the server only carries.

/announce     BEP 3, 7, 23        /             a page for people
/scrape       BEP 48              /stats.json   figures for programs
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from spinney.bittorrent.tracker import codec, page
from spinney.bittorrent.tracker import messages as m
from spinney.bittorrent.tracker.settings import TrackerSettings
from spinney.bittorrent.tracker.state import Torrent, TrackerState, choose_peers, owner_of
from spinney.errors import TrackerError, WireError
from spinney.net.address import is_dialable, is_local, is_loopback, pack_compact, unpack_compact
from spinney.net.host import Rng
from spinney.wire import bencode

ASKERS_MAX = 50_000
"""Addresses whose requests are counted; when more come within a minute, counting starts anew."""

_PLAIN = (("Content-Type", "text/plain"), ("Cache-Control", "no-store"))
_NOT_HERE = b"Nothing here; the tracker announces at /announce.\n"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


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

    def answer(self, method: str, target: str, remote: str, now: float) -> Answer:
        """`target`: path and query as they came; `remote`: the asker's numeric address."""
        if method not in ("GET", "HEAD"):
            return Answer(405, (*_PLAIN, ("Allow", "GET, HEAD")), b"Only GET is known here.\n")
        path, _, query = target.partition("?")
        if path == "/announce":
            return Answer(200, _PLAIN, self._said(self._announce, query, remote, now))
        if path == "/scrape":
            return Answer(200, _PLAIN, self._said(self._scrape, query, remote, now))
        if path == "/":
            text = page.page(
                self.state,
                self.counts,
                now - self._began_at,
                self.announce_url,
                self.allowed or {},
                self.settings.listed,
            )
            return Answer(200, (("Content-Type", "text/html; charset=utf-8"), *page.HEADERS), text)
        if path == "/stats.json":
            figures = page.stats_json(self.state, self.counts, now - self._began_at)
            return Answer(200, (("Content-Type", "application/json"), *page.HEADERS), figures)
        return Answer(404, (*_PLAIN, *page.HEADERS[1:2]), _NOT_HERE)

    def _said(
        self, what: Callable[[str, str, bytes, float], bytes], query: str, remote: str, now: float
    ) -> bytes:
        """An announce's or a scrape's answer, or the reason why not, in the client's language."""
        owner = owner_of(remote)
        try:
            self._may_ask(owner, now)
            return what(query, remote, owner, now)
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

    def _announce(self, query: str, remote: str, owner: bytes, now: float) -> bytes:
        request = codec.decode_announce(query)
        if self.allowed is not None and request.infohash not in self.allowed:
            raise _Refused(m.Refusal("this torrent is not allowed here", never=True))
        endpoints = endpoints_of(request, remote)
        torrent = self.state.announce(request, endpoints, owner, now)
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
        if not is_loopback(remote):
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

    def _scrape(self, query: str, remote: str, owner: bytes, now: float) -> bytes:
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


def endpoints_of(request: m.AnnounceRequest, remote: str) -> tuple[bytes, ...]:
    """Where a peer is, in compact form, at most one address of each family.

    The address that the announce came from counts.  What it claims (`ip`, `ipv4`, `ipv6`) is
    believed only from loopback and private addresses, such as a proxy or a seeder beside the
    tracker: a stranger could otherwise send a whole swarm to a victim.
    """
    if not request.port:
        return ()
    remote = remote.partition("%")[0]
    hosts = {":" in remote: remote}
    if is_local(remote):
        for claimed in (request.ipv6, request.ipv4, request.ip):
            if claimed is None or not is_dialable((claimed, request.port)):
                continue
            if is_loopback(remote) or not is_loopback(claimed):
                hosts[":" in claimed] = claimed
    return tuple(pack_compact((hosts[six], request.port)) for six in (False, True) if six in hosts)


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
