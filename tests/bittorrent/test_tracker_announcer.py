"""One torrent's conversation with its trackers, told as a script (BEP 3, 12, 27, 31).

The trackers are a table of answers; time is the event loop's, shortened by a clock of our own
only where a wait would be long: these tests never sleep.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from bittorrent.swarms import RememberingSwarm
from spinney.bittorrent.tracker import messages as m
from spinney.bittorrent.tracker.announcer import Announcer
from spinney.bittorrent.tracker.schedule import KnownTracker, Tiers
from spinney.errors import ConnectError

HASH = b"\x01" * 20
SOMEBODY = m.AnnounceReply(interval_s=600, peers=(("192.0.2.9", 9),))
Said = tuple[str, str, int]


class Clock:
    """`Host.time` and `rng`: all that an announcer asks of its host."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.rng = random.Random(1)

    def time(self) -> float:
        return self.now


class Script:
    """Trackers by URL, each a function of the request; what was asked is written down."""

    def __init__(self, tiers: list[list[str]], swarm: RememberingSwarm) -> None:
        self.clock = Clock()
        self.said: list[Said] = []
        self.answers: dict[str, Callable[[m.AnnounceRequest], object]] = {}
        self.requests: list[m.AnnounceRequest] = []
        self._news = asyncio.Event()
        self.announcer = Announcer(
            self.clock,  # type: ignore[arg-type]
            swarm,
            HASH,
            Tiers(tiers, self.clock.rng),
            b"KEY",
            self.ask,
        )

    async def ask(
        self, tracker: KnownTracker, request: m.AnnounceRequest
    ) -> tuple[m.AnnounceReply | m.Refusal, str]:
        self.said.append((tracker.url, request.event, request.left_bytes))
        self.requests.append(request)
        self._news.set()
        answer = self.answers[tracker.url](request)
        if isinstance(answer, Awaitable):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, m.AnnounceReply | m.Refusal)
        return answer, "192.0.2.1"

    async def until(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.said) < count:
                self._news.clear()
                await self._news.wait()
        for _ in range(5):
            await asyncio.sleep(0)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


def test_started_completed_stopped() -> None:
    async def scenario() -> None:
        swarm = RememberingSwarm(HASH, 6881, left_bytes=None)
        script = Script([["a"]], swarm)
        script.answers["a"] = lambda request: SOMEBODY
        task = asyncio.create_task(script.announcer.run())
        await script.until(1)
        assert swarm.peers == [("192.0.2.9", 9)]
        assert swarm.sources == ["tracker:192.0.2.1"]
        swarm.left_bytes, swarm.downloaded_bytes = 0, 1000
        swarm.completed.set()
        await script.until(2)
        await ended(task)
        assert script.said == [
            ("a", "started", m.UNKNOWN_LEFT_BYTES),  # a magnet link: not yet known, not 0
            ("a", "completed", 0),
            ("a", "stopped", 0),
        ]
        assert {request.key for request in script.requests} == {b"KEY"}
        assert [request.numwant for request in script.requests] == [100, 100, 0]

    asyncio.run(scenario())


def test_a_private_torrent_that_changes_its_tracker_drops_its_peers() -> None:
    """BEP 27; one that is not private keeps them, and a failure alone changes nothing."""

    async def scenario(private: bool) -> list[str]:
        swarm = RememberingSwarm(HASH, 6881, private=private, left_bytes=10)
        script = Script([["a"], ["b"]], swarm)
        script.answers["a"] = lambda request: m.AnnounceReply(interval_s=0, peers=SOMEBODY.peers)
        script.answers["b"] = lambda request: m.AnnounceReply(
            interval_s=600, peers=(("192.0.2.7", 7),)
        )
        task = asyncio.create_task(script.announcer.run())
        await script.until(2)
        assert swarm.dropped == []
        script.answers["a"] = lambda request: ConnectError("gone")
        async with asyncio.timeout(5):
            while ("b", "started", 10) not in script.said:
                await script.until(len(script.said) + 1)
        for _ in range(5):
            await asyncio.sleep(0)
        await ended(task)
        assert swarm.peers[-1] == ("192.0.2.7", 7), "dropped before the new ones are told"
        return swarm.dropped

    assert asyncio.run(scenario(False)) == []
    (reason,) = asyncio.run(scenario(True))
    assert "tracker" in reason


def test_who_began_complete_never_says_completed() -> None:
    async def scenario() -> None:
        swarm = RememberingSwarm(HASH, 6881, left_bytes=0)
        script = Script([["a"]], swarm)
        script.answers["a"] = lambda request: SOMEBODY
        task = asyncio.create_task(script.announcer.run())
        await script.until(1)
        swarm.completed.set()
        await asyncio.sleep(0.01)
        await ended(task)
        assert [event for _, event, _ in script.said] == ["started", "stopped"]

    asyncio.run(scenario())


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
def test_who_leaves_as_soon_as_all_is_there_says_completed_once(turns: int) -> None:
    """`spinney get` ends at once: nothing may depend on how far the announce had come."""

    async def scenario() -> None:
        swarm = RememberingSwarm(HASH, 6881)
        script = Script([["a"], ["b"]], swarm)
        gate = asyncio.Event()
        answered: list[str] = []

        async def answer(request: m.AnnounceRequest) -> object:
            if request.event == "completed":
                await gate.wait()
            answered.append(request.event)
            return SOMEBODY

        script.answers["a"] = answer
        task = asyncio.create_task(script.announcer.run())
        await script.until(1)
        swarm.left_bytes = 0
        swarm.completed.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        asyncio.get_running_loop().call_later(0.01, gate.set)
        await asyncio.gather(task, return_exceptions=True)
        assert script.said == [("a", "started", 1000), ("a", "completed", 0), ("a", "stopped", 0)]
        assert answered == ["started", "completed", "stopped"]

    asyncio.run(scenario())


def test_a_tracker_that_fails_at_completed_still_hears_stopped() -> None:
    async def scenario() -> None:
        swarm = RememberingSwarm(HASH, 6881)
        script = Script([["a"]], swarm)
        script.answers["a"] = lambda request: (
            ConnectError("refused") if request.event == "completed" else SOMEBODY
        )
        task = asyncio.create_task(script.announcer.run())
        await script.until(1)
        swarm.completed.set()
        await ended(task)
        assert [event for _, event, _ in script.said] == ["started", "completed", "stopped"]

    asyncio.run(scenario())


def test_completed_waits_for_a_tracker_that_was_never_told_started() -> None:
    async def scenario() -> None:
        swarm = RememberingSwarm(HASH, 6881)
        script = Script([["a"]], swarm)

        def answer(request: m.AnnounceRequest) -> object:
            swarm.left_bytes = 0
            swarm.completed.set()  # finished while the first announce was under way
            return SOMEBODY

        script.answers["a"] = answer
        task = asyncio.create_task(script.announcer.run())
        await script.until(2)
        await ended(task)
        assert [event for _, event, _ in script.said] == ["started", "completed", "stopped"]

    asyncio.run(scenario())


def test_the_next_tier_is_asked_only_when_the_first_is_silent() -> None:
    async def scenario() -> None:
        swarm = RememberingSwarm(HASH, 6881)
        script = Script([["a"], ["b"], ["c"]], swarm)
        script.answers["a"] = lambda request: ConnectError("refused")
        script.answers["b"] = lambda request: SOMEBODY
        task = asyncio.create_task(script.announcer.run())
        await script.until(2)
        # The first tier is back: after its back-off it is asked first again (BEP 12).
        script.answers["a"] = lambda request: SOMEBODY
        script.clock.now += 700
        swarm.completed.set()
        await script.until(4)
        await ended(task)
        assert script.said[:4] == [
            ("a", "started", 1000),
            ("b", "started", 1000),
            ("a", "started", 1000),
            ("a", "completed", 1000),
        ]
        # Both know us, and both are told.
        assert sorted(script.said[4:]) == [("a", "stopped", 1000), ("b", "stopped", 1000)]
        assert swarm.warnings == ["the tracker an unreadable address failed: refused"]

    asyncio.run(scenario())


def test_refusals_and_warnings_are_told_once() -> None:
    async def scenario() -> None:
        swarm = RememberingSwarm(HASH, 6881)
        script = Script([["http://t.example/key/announce"]], swarm)
        url = "http://t.example/key/announce"
        script.answers[url] = lambda request: m.Refusal("unregistered torrent", never=True)
        task = asyncio.create_task(script.announcer.run())
        await script.until(1)
        script.clock.now += 10_000
        swarm.completed.set()
        await asyncio.sleep(0.01)
        await ended(task)
        # `retry in: never` is obeyed, and no `stopped` goes to who never took us in.
        assert len(script.said) == 1
        assert swarm.warnings == ["the tracker http://t.example failed: unregistered torrent"]
        assert script.announcer.tiers.all()[0].outcome == "unregistered torrent"

    asyncio.run(scenario())


def test_a_warning_message_reaches_people_and_floods_nobody() -> None:
    async def scenario() -> None:
        swarm = RememberingSwarm(HASH, 6881)
        script = Script([["http://t.example/announce"]], swarm)
        for n in range(100):
            for _ in range(2):
                script.announcer._report(
                    script.announcer.tiers.all()[0],
                    m.AnnounceReply(warning=f"old client {n}"),
                    "192.0.2.1",
                )
        assert swarm.warnings[0] == "the tracker http://t.example warns: old client 0"
        assert len(swarm.warnings) == 20

    asyncio.run(scenario())


def test_a_trackers_id_is_given_back_to_it() -> None:
    async def scenario() -> None:
        swarm = RememberingSwarm(HASH, 6881)
        script = Script([["a"]], swarm)
        script.answers["a"] = lambda request: m.AnnounceReply(600, 0, tracker_id=b"t-7")
        task = asyncio.create_task(script.announcer.run())
        await script.until(1)
        await ended(task)
        assert [request.tracker_id for request in script.requests] == [None, b"t-7"]

    asyncio.run(scenario())


def test_a_deaf_tracker_holds_nobody_up_at_the_end() -> None:
    async def scenario() -> None:
        swarm = RememberingSwarm(HASH, 6881)
        script = Script([["a"]], swarm)
        script.answers["a"] = lambda request: SOMEBODY
        task = asyncio.create_task(script.announcer.run())
        await script.until(1)
        script.answers["a"] = lambda request: asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        before = loop.time()
        await ended(task)
        assert 2.9 < loop.time() - before < 4.0
        assert script.said[-1][1] == "stopped"

    asyncio.run(scenario())


def test_cancelled_within_its_first_announce_it_still_says_goodbye() -> None:
    async def scenario() -> None:
        swarm = RememberingSwarm(HASH, 6881)
        script = Script([["a"]], swarm)
        script.answers["a"] = lambda request: (
            SOMEBODY if request.event == "stopped" else asyncio.get_running_loop().create_future()
        )
        task = asyncio.create_task(script.announcer.run())
        await script.until(1)
        await ended(task)
        # The tracker may have read `started` before we hung up.
        assert [event for _, event, _ in script.said] == ["started", "stopped"]

    asyncio.run(scenario())
