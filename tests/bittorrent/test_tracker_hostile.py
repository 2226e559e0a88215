"""Trackers and clients that misbehave cost a failed announce, with a reason, and nothing else."""

from __future__ import annotations

import asyncio
import gzip
import time

import pytest

from bittorrent.swarms import RememberingSwarm
from bittorrent.trackers import (
    ONE,
    BadTracker,
    Elsewhere,
    ended,
    failure_of,
    live,
    ok,
    open_tracker,
    page,
)
from spinney.bittorrent.tracker import codec
from spinney.bittorrent.tracker import messages as m
from spinney.bittorrent.tracker.client import TrackerSource
from spinney.bittorrent.tracker.state import StateLimits
from spinney.errors import TrackerError
from spinney.net.live import LiveHost
from spinney.wire import bencode

# Trackers that misbehave: each costs a failed announce, with a reason, and nothing else


REDIRECT = b"HTTP/1.1 302 Go\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n"
BOMB = gzip.compress(b"d5:peers" + bytes(50 << 20))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (BadTracker(b"HTTP/1.1 200 OK\r\n\r\n", endless=True), "more than"),
        (BadTracker(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"), "more than"),
        (BadTracker(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000), "not HTTP"),
        (BadTracker(ok(BOMB, b"Content-Encoding: gzip")), "more than"),
        (BadTracker(ok(b"<html>502</html>")), "bencoded"),
        (BadTracker(ok(bencode.encode({b"peers": 7}))), "peers"),
        (BadTracker(ok(b"l" * 100_000)), "deep"),
        (BadTracker(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), "status 503"),
        (BadTracker(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "not HTTP"),
        (BadTracker(b""), "connection ended"),
        (BadTracker(REDIRECT % b"file:///etc/passwd"), "'file'"),
        (BadTracker(REDIRECT % b"http://[::1"), "URL"),
    ],
    ids=lambda value: None if isinstance(value, str) else "answer",
)
def test_a_bad_tracker_is_a_reason_and_nothing_else(bad: BadTracker, reason: str) -> None:
    async def scenario(host: LiveHost) -> None:
        message = await failure_of(bad, host)
        assert reason in message
        assert bad.sent < 8 << 20

    live(scenario)


def test_a_trickle_ends_in_time() -> None:
    async def scenario(host: LiveHost) -> None:
        bad = BadTracker(b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n", trickle=True)
        before = time.monotonic()
        assert await failure_of(bad, host, timeout_s=0.5) == "no answer in time"
        assert time.monotonic() - before < 3

    live(scenario)


def test_one_that_is_silent_is_not_called_unasked() -> None:
    async def scenario(host: LiveHost) -> None:
        asked = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            asked.set()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/announce"
        source = TrackerSource(host, [[url]], typed=[url])
        asking = asyncio.create_task(source.run(RememberingSwarm(ONE, 1001)))
        async with asyncio.timeout(5):
            await asked.wait()
        assert source.tried().endswith("(asked, no answer yet)")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        server.close()

    live(scenario)


def test_a_failure_reason_with_an_error_status_is_still_read() -> None:
    async def scenario(host: LiveHost) -> None:
        body = bencode.encode({b"failure reason": b"banned", b"retry in": b"never"})
        bad = BadTracker(b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        assert await failure_of(bad, host) == "banned"

    live(scenario)


@pytest.mark.parametrize(
    "url",
    [
        "http://rebound.example:{port}/admin",
        "http://127.0.0.1:{port}/cgi-bin/reboot",
        "http://127.0.0.1:{port}/announce?cmd=reboot",
        "http://[::ffff:127.0.0.1]:{port}/x",
    ],
)
def test_a_torrent_cannot_aim_us_at_this_machine(url: str) -> None:
    async def scenario(_: LiveHost) -> None:
        host = Elsewhere({"rebound.example": ["127.0.0.1"]})
        bad = BadTracker(ok(b"d5:peers0:e"))
        server = await asyncio.start_server(bad.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        swarm = RememberingSwarm(ONE, 1001)
        source = TrackerSource(host, [[url.format(port=port)]])
        task = asyncio.create_task(source.run(swarm))
        assert "not going to" in await swarm.warned()
        await ended(task)
        assert host.dialled == []
        # What the user typed himself is his own business.
        typed = TrackerSource(host, [[url.format(port=port)]], typed=[url.format(port=port)])
        if "::ffff" not in url:
            task = asyncio.create_task(typed.run(swarm))
            async with asyncio.timeout(5):
                while not bad.asked:
                    await asyncio.sleep(0.005)
            await ended(task)
        server.close()
        host.close()

    live(scenario)


def test_a_redirect_from_the_internet_leads_nowhere_inside() -> None:
    """The "public" tracker is a local one that the resolver and the dialler call public."""

    class Inverted(Elsewhere):
        async def connect(self, factory, remote, **options):  # type: ignore[no-untyped-def]
            self.dialled.append(remote)
            if remote[0] == "8.8.8.8":
                remote = ("127.0.0.1", remote[1])
            return await LiveHost.connect(self, factory, remote, **options)

    async def scenario(_: LiveHost) -> None:
        host = Inverted({"tracker.example": ["8.8.8.8"], "inside.example": ["192.168.1.1"]})
        for target in ("http://127.0.0.1:1/announce", "http://inside.example/announce"):
            bad = BadTracker(REDIRECT % target.encode())
            server = await asyncio.start_server(bad.serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            swarm = RememberingSwarm(ONE, 1001)
            source = TrackerSource(host, [[f"http://tracker.example:{port}/announce"]])
            task = asyncio.create_task(source.run(swarm))
            assert "not going to" in await swarm.warned()
            await ended(task)
            assert {address for address, _ in host.dialled} == {"8.8.8.8"}
            server.close()
        host.close()

    live(scenario)


def test_no_pass_key_in_any_message() -> None:
    async def scenario(host: LiveHost) -> None:
        with pytest.raises(TrackerError) as caught:
            await TrackerSource(
                host,
                [["http://127.0.0.1:1/s3cr3t/announce"]],
                typed=["http://127.0.0.1:1/s3cr3t/announce"],
            ).scrape([ONE])
        assert "s3cr3t" not in str(caught.value)
        for url in ("http://me@127.0.0.1/s3cr3t/announce", "http://127.0.0.1:0/s3cr3t/announce"):
            refused = RememberingSwarm(ONE, 1)
            task = asyncio.create_task(TrackerSource(host, [[url]]).run(refused))
            assert "s3cr3t" not in await refused.warned()
            await ended(task)
        swarm = RememberingSwarm(ONE, 1)
        source = TrackerSource(
            host, [["http://127.0.0.1:1/s3cr3t/announce", "udp://t.example:1/s3cr3t"]]
        )
        task = asyncio.create_task(source.run(swarm))
        async with asyncio.timeout(5):
            while len(swarm.warnings) < 2:
                await asyncio.sleep(0.005)
        assert "udp is to come" in swarm.warnings[0]
        assert "s3cr3t" not in " ".join([*swarm.warnings, source.tried()])
        await ended(task)

    live(scenario)


# Clients that misbehave


def test_a_flood_of_a_thousand_torrents_is_bounded() -> None:
    async def scenario(host: LiveHost) -> None:
        tracker = await open_tracker(host, limits=StateLimits(torrents=100, peers=150))
        reader, writer = await asyncio.open_connection("127.0.0.1", tracker.port)
        refused = 0
        for n in range(1000):
            request = m.AnnounceRequest(n.to_bytes(20, "big"), b"-SP0001-abcdefghijkl", 6881)
            query = codec.encode_announce(request)
            writer.write(f"GET /announce?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            reply = codec.decode_announce_reply(await reader.readexactly(length))
            refused += isinstance(reply, m.Refusal)
            if b"connection: close" in head.lower():
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", tracker.port)
        assert refused == 900
        assert len(tracker.state.torrents) == 100
        writer.close()
        await tracker.close()

    live(scenario)


@pytest.mark.parametrize(
    "data",
    [
        b"\x13BitTorrent protocol" + bytes(48),
        b"GET /announce?info_hash=" + b"%" * 60_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /announce HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"POST /announce HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + bytes(200_000),
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00" * 1000,
    ],
    ids=["peer", "long-query", "headers", "body", "raw-bytes", "zeros"],
)
def test_rubbish_ends_its_own_connection_only(data: bytes) -> None:
    async def scenario(host: LiveHost) -> None:
        tracker = await open_tracker(host)
        reader, writer = await asyncio.open_connection("127.0.0.1", tracker.port)
        writer.write(data)
        async with asyncio.timeout(5):
            try:
                answer = await reader.read(1000)
            except ConnectionError:
                answer = b""
        # Too long a query that came in one piece is a failure reason, the rest is no request.
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4") or b"failure reason" in answer
        writer.close()
        assert (await page(host, tracker, "/")).status == 200
        await tracker.close()

    live(scenario)


def test_thousands_of_announces_a_second_of_one_core() -> None:
    """Client and server together in this process: half of the time is the client's."""

    async def scenario(host: LiveHost) -> None:
        tracker = await open_tracker(host)
        for n in range(2000):
            tracker.desk.answer(  # type: ignore[union-attr]
                "GET",
                "/announce?"
                + codec.encode_announce(m.AnnounceRequest(ONE, b"-SP0001-%012d" % n, 1 + n)),
                "127.0.0.1",
                host.time(),
            )
        query = codec.encode_announce(m.AnnounceRequest(ONE, b"-SP0001-abcdefghijkl", 6881))
        once = f"GET /announce?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", tracker.port)
        count = 900
        before = time.process_time()
        for _ in range(count // 10):
            writer.write(once * 10)
            for _ in range(10):
                await reader.readuntil(b"\r\n\r\n")
                await reader.readuntil(b"e5:peers300:")
                await reader.readexactly(301)
        seconds = time.process_time() - before
        writer.close()
        assert tracker.counts.announces >= count
        # 4,000 to 8,000 here; the bound leaves room for a machine that is busy or slow.
        assert count / seconds > 1000
        print(f"{count / seconds:.0f} announces a second of processor time")
        await tracker.close()

    live(scenario)
