"""`TrackerSource`: finds peers by asking trackers over HTTP.  The part that touches the host.

    source = TrackerSource(host, descriptor.trackers, infohashes=descriptor.swarm_hashes)
    await source.run(swarm)          # until cancelled; then `stopped`, within 3 s

A hybrid torrent is two swarms to a tracker: it is announced under its v1 infohash and under its
v2 infohash cut to 20 bytes, each in a conversation of its own, so that clients which know only
one of the two are found.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace

from spinney.bittorrent.swarm import Announcing
from spinney.bittorrent.tracker import codec
from spinney.bittorrent.tracker import messages as m
from spinney.bittorrent.tracker.announcer import Announcer
from spinney.bittorrent.tracker.schedule import NOT_ASKED, KnownTracker, Tiers, short_name
from spinney.errors import ConnectError, NoAnswerError, SpinneyError, TrackerError
from spinney.net.guard import Purpose, reach_of, resolve_target
from spinney.net.host import Address, Host
from spinney.wire import http

TIMEOUT_S = 20.0
"""For one request with its redirects; the slowest trackers take some seconds."""
SECOND_FAMILY_S = 3.0
"""How long the answer over one family waits for the other's."""
INFOHASHES_MAX = 2

_URL = re.compile(r"\b[a-z]+://[^\s'\"]+")


@dataclass(frozen=True, slots=True)
class _Place:
    scheme: str
    host: str
    port: int
    request_target: str


Carrier = Callable[[str, m.AnnounceRequest], Awaitable[tuple[m.AnnounceReply | m.Refusal, str]]]


class TrackerSource:
    """A `PeerSource` for one torrent.

    `tiers`: BEP 12.  `infohashes`: of the torrent, where the swarm's own is not all of them.
    `typed`: URLs that the user typed himself, which may lead anywhere.  `local`: the numeric
    address that announces leave from, and so the one that peers are told.
    """

    name = "tracker"

    def __init__(
        self,
        host: Host,
        tiers: Sequence[Sequence[str]],
        *,
        infohashes: Sequence[bytes] = (),
        typed: Collection[str] = (),
        local: str | None = None,
        user_agent: str = "Spinney",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        # A scheme that is spoken has one line here; udp:// (BEP 15) is to come.
        self._carriers: dict[str, Carrier] = {"http": self._http, "https": self._http}
        self._host = host
        self._speakable = [
            [url for url in tier if _scheme(url) in self._carriers] for tier in tiers
        ]
        self.skipped = [url for tier in tiers for url in tier if _scheme(url) not in self._carriers]
        self._infohashes = tuple(infohashes)
        self._typed = frozenset(typed)
        self._local = local
        self._user_agent = user_agent
        self._timeout_s = timeout_s
        self._key = host.entropy(4).hex().upper().encode()
        self._announcers: list[Announcer] = []
        self.external_ip: str | None = None
        """What a tracker says our address is (BEP 24)."""

    async def run(self, swarm: Announcing) -> None:
        """Announces and reports peers until cancelled; then says `stopped`, at most 3 s."""
        if self.skipped:
            names = ", ".join(dict.fromkeys(short_name(url) for url in self.skipped[:3]))
            count = len(self.skipped)
            swarm.warn(
                f"{count} tracker{'' if count == 1 else 's'} skipped ({names}): only http and "
                "https trackers are spoken yet, udp is to come"
            )
        infohashes = dict.fromkeys((swarm.infohash, *self._infohashes))
        self._announcers = [
            Announcer(
                self._host,
                swarm,
                infohash,
                Tiers(self._speakable, self._host.rng),
                self._key,
                self._ask,
            )
            for infohash in list(infohashes)[:INFOHASHES_MAX]
        ]
        tasks = [asyncio.create_task(announcer.run()) for announcer in self._announcers]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def tried(self) -> str:
        if self._announcers:
            rows = [
                f"{short_name(tracker.url)} ({tracker.outcome})"
                for tracker in self._announcers[0].tiers.all()
            ]
        else:
            rows = [
                f"{short_name(url)} (not asked yet)" for tier in self._speakable for url in tier
            ]
        rows += [f"{short_name(url)} (not spoken yet)" for url in self.skipped]
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        return f"trackers: {', '.join(rows[:5])}{more}" if rows else "no tracker"

    async def scrape(self, infohashes: Sequence[bytes]) -> m.ScrapeReply:
        """Counts of up to 74 torrents from the first tracker that gives them (BEP 48).

        Raises `TrackerError` if none does.
        """
        why = "there is no tracker that can be scraped"
        for tracker in Tiers(self._speakable, self._host.rng).all():
            try:
                return await self._scrape(tracker.url, infohashes[: m.SCRAPE_TORRENTS_MAX])
            except SpinneyError as error:
                why = f"{short_name(tracker.url)}: {_without_urls(error)}"
        raise TrackerError(why)

    # One request

    async def _ask(
        self, tracker: KnownTracker, request: m.AnnounceRequest
    ) -> tuple[m.AnnounceReply | m.Refusal, str]:
        if tracker.outcome == NOT_ASKED:
            tracker.outcome = "asked, no answer yet"
        try:
            reply, sender = await self._carriers[_scheme(tracker.url)](tracker.url, request)
        except SpinneyError as error:
            raise TrackerError(_without_urls(error)) from error
        if isinstance(reply, m.AnnounceReply) and reply.external_ip is not None:
            self.external_ip = reply.external_ip
        return reply, sender

    async def _http(
        self, url: str, request: m.AnnounceRequest
    ) -> tuple[m.AnnounceReply | m.Refusal, str]:
        """One announce, over both families where the tracker has both (BEP 7).

        A tracker knows a peer's addresses by the connections that announce them: by IPv4 alone,
        the IPv6 half of the swarm would never hear of us.
        """
        target, addresses = await resolve_target(
            self._host, url, "tracker", by_user=url in self._typed
        )
        if self._local is not None:
            ours = ":" in self._local
            addresses = [address for address in addresses if (":" in address[0]) == ours]
        four = [address for address in addresses if ":" not in address[0]]
        six = [address for address in addresses if ":" in address[0]]
        families = [family for family in (four, six) if family]
        if not families:
            raise ConnectError("it has no address of the family that announces leave from")
        query = codec.encode_announce(request)
        place = _Place(
            target.scheme,
            target.host,
            target.port,
            _with_query(target.request_target, query),
        )
        tasks = [
            asyncio.create_task(self._announce_once(url, place, family)) for family in families
        ]
        try:
            return await _first_and_more(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _announce_once(
        self, url: str, place: _Place, addresses: Sequence[Address]
    ) -> tuple[m.AnnounceReply | m.Refusal, str]:
        body, sender = await self._get(url, "tracker", place, addresses)
        return codec.decode_announce_reply(body), sender

    async def _scrape(self, url: str, infohashes: Sequence[bytes]) -> m.ScrapeReply:
        head, mark, query = url.partition("?")
        scheme, slashes, rest = head.partition("://")
        where, slash, path = rest.partition("/")
        scrape = codec.scrape_path(slash + path)
        if scrape is None:
            raise TrackerError("it has no scrape address")
        url_to_scrape = f"{scheme}{slashes}{where}{scrape}{mark}{query}"
        target, addresses = await resolve_target(
            self._host, url_to_scrape, "scrape", by_user=url in self._typed
        )
        place = _Place(
            target.scheme,
            target.host,
            target.port,
            _with_query(target.request_target, codec.encode_scrape(infohashes)),
        )
        body, _ = await self._get(url, "scrape", place, addresses)
        reply = codec.decode_scrape_reply(body)
        if isinstance(reply, m.Refusal):
            raise TrackerError(reply.reason)
        return reply

    async def _get(
        self, url: str, purpose: Purpose, place: _Place, addresses: Sequence[Address]
    ) -> tuple[bytes, str]:
        """The body of an answer, and the address that it is fairly believed to come from."""
        dialled: Sequence[Address] = addresses

        async def check(asked: str, sender: Address | None) -> tuple[http.Place, Sequence[Address]]:
            nonlocal dialled
            if sender is None:
                return place, addresses
            target, dialled = await resolve_target(
                self._host,
                asked,
                purpose,
                by_user=False,
                redirected_from=reach_of(sender[0]),
            )
            return target, dialled

        response = await http.get(
            self._host,
            url,
            check=check,
            timeout_s=self._timeout_s,
            max_body_bytes=m.REPLY_BYTES_MAX,
            user_agent=self._user_agent,
            local=None if self._local is None else (self._local, 0),
        )
        # What a tracker on the internet says of private addresses is not believed: if it has
        # several addresses, the one farthest out counts.
        sender = max((host for host, _ in dialled), key=reach_of, default="")
        if response.status != 200 and not response.body.startswith(b"d"):
            raise TrackerError(f"it answered with HTTP status {response.status}")
        return response.body, sender


async def _first_and_more(
    tasks: Sequence[asyncio.Task[tuple[m.AnnounceReply | m.Refusal, str]]],
) -> tuple[m.AnnounceReply | m.Refusal, str]:
    """The answers over one or two families as one: the first good one with the others' peers.

    Raises the first family's error when none is good.
    """
    pending = list(tasks)
    good: list[tuple[m.AnnounceReply, str]] = []
    timeout: float | None = None
    while pending:
        done, _ = await asyncio.wait(pending, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            break
        for task in [task for task in pending if task in done]:
            pending.remove(task)
            if task.exception() is None and isinstance(task.result()[0], m.AnnounceReply):
                reply, sender = task.result()
                assert isinstance(reply, m.AnnounceReply)
                good.append((reply, sender))
                timeout = SECOND_FAMILY_S
    if not good:
        return tasks[0].result()
    first, sender = good[0]
    peers = dict.fromkeys(peer for reply, _ in good for peer in reply.peers)
    sender = max((who for _, who in good), key=reach_of)
    return replace(first, peers=tuple(peers)[: m.REPLY_PEERS_MAX]), sender


def _scheme(url: str) -> str:
    return url.partition("://")[0].strip().lower()


def _with_query(request_target: str, query: str) -> str:
    """Appends to what the tracker's URL has: some carry a pass key in a query."""
    return f"{request_target}{'&' if '?' in request_target else '?'}{query}"


def _without_urls(error: SpinneyError) -> str:
    """The reason without URLs, which hold pass keys and infohashes."""
    if isinstance(error, NoAnswerError):
        return "no answer in time"
    return _URL.sub(lambda match: short_name(match.group()), str(error))
