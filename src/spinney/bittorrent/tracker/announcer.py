"""One torrent's conversation with its trackers: started, again and again, completed, stopped.

Pure of sockets: it is handed `ask`, which carries one request to one tracker.  Trackers are
asked one at a time, in BEP 12's order, until one answers; so a private torrent never talks to
two at once (BEP 27).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from spinney.bittorrent.swarm import Announcing
from spinney.bittorrent.tracker.messages import (
    UNKNOWN_LEFT_BYTES,
    AnnounceReply,
    AnnounceRequest,
    Event,
    Refusal,
)
from spinney.bittorrent.tracker.schedule import KnownTracker, Tiers, short_name
from spinney.errors import SpinneyError
from spinney.net.host import Host

NUMWANT = 100
"""Peers asked for; a swarm holds some 50 connections and tries a few more."""
GOODBYE_S = 3.0
GOODBYES_MAX = 8
WARNINGS_MAX = 20

Answer = tuple[AnnounceReply | Refusal, str]
Ask = Callable[[KnownTracker, AnnounceRequest], Awaitable[Answer]]
"""Carries one announce; gives the answer and the numeric address that it came from."""


class Announcer:
    """Announces one infohash of one swarm."""

    def __init__(
        self,
        host: Host,
        swarm: Announcing,
        infohash: bytes,
        tiers: Tiers,
        key: bytes,
        ask: Ask,
    ) -> None:
        self._host = host
        self._swarm = swarm
        self._infohash = infohash
        self.tiers = tiers
        self._key = key
        self._ask = ask
        began_complete = swarm.completed.is_set() or swarm.left_bytes == 0
        self._owes_completed = not began_complete
        self._completing: tuple[KnownTracker, asyncio.Future[Answer]] | None = None
        """The announce of `completed` that is under way: an end waits for it."""
        self._warned: dict[str, None] = {}
        self.reply: AnnounceReply | None = None
        self._current: KnownTracker | None = None
        """The one that answered last."""

    async def run(self) -> None:
        """Until cancelled; then tells `stopped` to those who know us, within 3 s."""
        try:
            while True:
                await self._pause(await self._round())
        finally:
            await self._goodbye()

    # The rounds

    async def _round(self) -> float | None:
        """Asks trackers until one answers; returns the seconds until the next round."""
        for tracker in self.tiers.due(self._host.time()):
            event = self._event(tracker)
            reply = await self._announce(tracker, event)
            if reply is None:
                continue
            if event == "completed":
                self._owes_completed = False
            wait_s = self.tiers.succeeded(tracker, reply, self._host.time(), self._host.rng)
            return 0.0 if self._event(tracker) == "completed" else wait_s
        return self.tiers.wait_s(self._host.time())

    def _event(self, tracker: KnownTracker) -> Event:
        if not tracker.answered:
            return "started"
        if self._owes_completed and self._swarm.completed.is_set():
            return "completed"
        return ""

    async def _pause(self, wait_s: float | None) -> None:
        """Sleeps, or wakes early because the download is complete."""
        try:
            async with asyncio.timeout(wait_s):
                if self._owes_completed and not self._swarm.completed.is_set():
                    await self._swarm.completed.wait()
                else:
                    await asyncio.get_running_loop().create_future()
        except TimeoutError:
            return

    # One announce

    def _request(self, tracker: KnownTracker, event: Event) -> AnnounceRequest:
        swarm = self._swarm
        left = swarm.left_bytes
        return AnnounceRequest(
            infohash=self._infohash,
            peer_id=swarm.peer_id,
            port=swarm.port,
            uploaded_bytes=swarm.uploaded_bytes,
            downloaded_bytes=swarm.downloaded_bytes,
            left_bytes=UNKNOWN_LEFT_BYTES if left is None else left,
            event=event,
            numwant=0 if event == "stopped" else NUMWANT,
            key=self._key,
            tracker_id=tracker.tracker_id,
        )

    async def _announce(self, tracker: KnownTracker, event: Event) -> AnnounceReply | None:
        """One tracker asked; None if it failed, which is booked and told once."""
        tracker.told = True
        refusal: Refusal | None = None
        try:
            asking = asyncio.ensure_future(self._ask(tracker, self._request(tracker, event)))
            if event == "completed":
                self._completing = tracker, asking
                reply, sender = await asyncio.shield(asking)
                self._completing = None
            else:
                reply, sender = await asking
        except SpinneyError as error:
            self._completing = None
            reason = str(error)
        else:
            if isinstance(reply, AnnounceReply):
                self._switched(tracker)
                self._report(tracker, reply, sender)
                return reply
            refusal, reason = reply, reply.reason or "no reason given"
        self.tiers.failed(tracker, reason, self._host.time(), self._host.rng, refusal)
        self._warn(f"the tracker {short_name(tracker.url)} failed: {reason}")
        return None

    def _switched(self, tracker: KnownTracker) -> None:
        """BEP 27: a private torrent that changes its tracker leaves the old one's peers."""
        if self._swarm.private and self._current not in (None, tracker):
            self._swarm.drop_peers(
                f"the private torrent's tracker is {short_name(tracker.url)} now"
            )
        self._current = tracker

    def _report(self, tracker: KnownTracker, reply: AnnounceReply, sender: str) -> None:
        self.reply = reply
        if reply.warning:
            self._warn(f"the tracker {short_name(tracker.url)} warns: {reply.warning}")
        if reply.peers:
            self._swarm.found(reply.peers, f"tracker:{sender}")

    def _warn(self, message: str) -> None:
        """Once for each message, and not for ever: a tracker can vary its words."""
        if message not in self._warned and len(self._warned) < WARNINGS_MAX:
            self._warned[message] = None
            self._swarm.warn(message)

    # The end

    async def _goodbye(self) -> None:
        """`stopped` to every tracker that may know us; whoever is slow is left.

        A program that leaves as soon as it has all has no round left for `completed`: the
        tracker that we announced to last hears it here, before `stopped`.
        """
        known = [t for t in self.tiers.all() if t.told and (t.answered or not t.failures)]
        tasks = [
            asyncio.ensure_future(self._say_goodbye(tracker)) for tracker in known[:GOODBYES_MAX]
        ]
        if not tasks:
            return
        try:
            await asyncio.wait(tasks, timeout=GOODBYE_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _say_goodbye(self, tracker: KnownTracker) -> None:
        completing: asyncio.Future[Answer] | None = None
        if self._completing is not None:
            if self._completing[0] is tracker:
                completing = self._completing[1]
        elif self._event(tracker) == "completed":
            self._owes_completed = False  # one tracker hears it, as in a round
            completing = asyncio.ensure_future(
                self._ask(tracker, self._request(tracker, "completed"))
            )
        if completing is not None:
            with contextlib.suppress(SpinneyError):
                await completing
        await self._ask(tracker, self._request(tracker, "stopped"))
