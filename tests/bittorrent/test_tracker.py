"""The tracker, client and server, over real sockets: what a user of `spinney tracker` gets."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path

import pytest

from bittorrent.swarms import RememberingSwarm
from bittorrent.trackers import (
    ONE,
    TWO,
    Elsewhere,
    ended,
    live,
    open_tracker,
    page,
    url_of,
)
from spinney.bittorrent.tracker.client import TrackerSource
from spinney.errors import InputError, NotFoundError, PortTakenError, StorageError
from spinney.net.live import LiveHost


def test_two_peers_find_each_other_and_leave_no_trace() -> None:
    async def scenario(host: LiveHost) -> None:
        tracker = await open_tracker(host)
        seed, leech = RememberingSwarm(ONE, 1001, left_bytes=0), RememberingSwarm(ONE, 1002)
        seed_source = TrackerSource(host, [[url_of(tracker)]])
        leech_source = TrackerSource(host, [[url_of(tracker)]])
        assert seed_source.tried() == f"trackers: http://127.0.0.1:{tracker.port} (not asked yet)"
        seeding = asyncio.create_task(seed_source.run(seed))
        async with asyncio.timeout(5):
            while not tracker.state.peer_count:
                await asyncio.sleep(0.005)
        leeching = asyncio.create_task(leech_source.run(leech))
        assert await leech.hears_of(1001) == ("127.0.0.1", 1001)
        assert leech.sources == ["tracker:127.0.0.1"]
        assert leech_source.tried() == f"trackers: http://127.0.0.1:{tracker.port} (1 peer)"
        counts = (await leech_source.scrape([ONE])).torrents[ONE]
        assert (counts.complete, counts.incomplete, counts.downloaded) == (1, 1, 0)
        leech.left_bytes = 0
        leech.completed.set()
        async with asyncio.timeout(5):
            while tracker.state.torrents[ONE].downloaded == 0:
                await asyncio.sleep(0.005)
        await ended(seeding, leeching)
        assert tracker.state.peer_count == 0
        assert not seed.warnings + leech.warnings
        await tracker.close()

    live(scenario)


def test_both_families_know_each_other() -> None:
    async def scenario(host: LiveHost) -> None:
        tracker = await open_tracker(host, addresses=("127.0.0.1", "::1"))
        assert len(tracker.addresses) == 2
        assert len({port for _, port in tracker.addresses}) == 1
        url6 = f"http://[::1]:{tracker.port}/announce"
        four, six = RememberingSwarm(ONE, 1001, name="4"), RememberingSwarm(ONE, 1002, name="6")
        tasks = [asyncio.create_task(TrackerSource(host, [[url_of(tracker)]]).run(four))]
        async with asyncio.timeout(5):
            while not tracker.state.peer_count:
                await asyncio.sleep(0.005)
        tasks.append(asyncio.create_task(TrackerSource(host, [[url6]]).run(six)))
        assert await six.hears_of(1001) == ("127.0.0.1", 1001)
        # A name with both families is announced to over both: one peer, two endpoints.
        both = RememberingSwarm(ONE, 1003, name="46")
        named = Elsewhere({"both.example": ["127.0.0.1", "::1"]})
        name = f"http://both.example:{tracker.port}/announce"
        tasks.append(asyncio.create_task(TrackerSource(named, [[name]]).run(both)))
        assert await both.hears_of(1002) == ("::1", 1002)
        async with asyncio.timeout(5):
            while len(tracker.state.torrents[ONE].leechers6) != 2:
                await asyncio.sleep(0.005)
        assert len(tracker.state.torrents[ONE].leechers4) == 2
        assert tracker.state.peer_count == 3
        await ended(*tasks)
        assert tracker.state.peer_count == 0
        named.close()
        await tracker.close()

    live(scenario)


def test_a_hybrid_torrent_is_two_swarms_to_a_tracker() -> None:
    async def scenario(host: LiveHost) -> None:
        tracker = await open_tracker(host)
        swarm = RememberingSwarm(ONE, 1001)
        source = TrackerSource(host, [[url_of(tracker)]], infohashes=(ONE, TWO))
        task = asyncio.create_task(source.run(swarm))
        async with asyncio.timeout(5):
            while len(tracker.state.torrents) < 2:
                await asyncio.sleep(0.005)
        assert sorted(tracker.state.torrents) == [ONE, TWO]
        await ended(task)
        assert tracker.state.peer_count == 0
        await tracker.close()

    live(scenario)


def test_a_tracker_comes_back_and_knows_everybody(tmp_path: Path) -> None:
    path = str(tmp_path / "tracker.state")

    async def scenario(host: LiveHost) -> None:
        tracker = await open_tracker(host, state_path=path)
        task = asyncio.create_task(
            TrackerSource(host, [[url_of(tracker)]]).run(RememberingSwarm(ONE, 1001))
        )
        async with asyncio.timeout(5):
            while not tracker.state.peer_count:
                await asyncio.sleep(0.005)
        port = tracker.port
        await tracker.close()
        again = await open_tracker(host, state_path=path, port=port)
        other = RememberingSwarm(ONE, 1002, name="other")
        second = asyncio.create_task(TrackerSource(host, [[url_of(again)]]).run(other))
        assert await other.hears_of(1001) == ("127.0.0.1", 1001)
        await ended(task, second)
        await again.close()
        assert not (tmp_path / "tracker.state.new").exists()

    live(scenario)


def test_the_state_is_written_while_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "tracker.state"

    async def scenario(host: LiveHost) -> None:
        tracker = await open_tracker(host, state_path=str(path), state_every_s=0.05)
        async with asyncio.timeout(5):
            while not path.exists():
                await asyncio.sleep(0.01)
        assert path.read_bytes().startswith(b"spinney-tracker-1\n")
        await tracker.close()

    live(scenario)


def test_two_trackers_do_not_share_a_state(tmp_path: Path) -> None:
    async def scenario(host: LiveHost) -> None:
        path = str(tmp_path / "state")
        tracker = await open_tracker(host, state_path=path)
        with pytest.raises(StorageError, match=r"another tracker.*--state"):
            await open_tracker(host, state_path=path)
        await tracker.close()
        await (await open_tracker(host, state_path=path)).close()

    live(scenario)


def test_a_corrupt_state_is_one_clear_warning_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tracker.state"
    path.write_bytes(b"spinney-tracker-1\nrubbish")

    async def scenario(host: LiveHost) -> None:
        with caplog.at_level(logging.WARNING, "spinney.tracker"):
            tracker = await open_tracker(host, state_path=str(path))
        assert len(caplog.records) == 1
        assert "starts empty" in caplog.text
        assert (tmp_path / "tracker.state.broken").read_bytes().endswith(b"rubbish")
        assert tracker.state.torrents == {}
        await tracker.close()

    live(scenario)


@pytest.mark.parametrize("content", [b"a film", b"x" * 4096])
def test_a_file_that_is_no_state_is_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    (tmp_path / "device").symlink_to("/dev/zero")

    async def scenario(host: LiveHost) -> None:
        for name in ("film.mp4", "device"):
            with pytest.raises(StorageError, match="no tracker's state"):
                await open_tracker(host, state_path=str(tmp_path / name))

    live(scenario)
    assert sorted(os.listdir(tmp_path)) == ["device", "film.mp4"]
    assert path.read_bytes() == content
    assert (tmp_path / "device").is_symlink()


def test_a_disk_that_cannot_be_written_is_a_warning_not_an_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "missing" / "tracker.state")

    async def scenario(host: LiveHost) -> None:
        with caplog.at_level(logging.WARNING, "spinney.tracker"):
            tracker = await open_tracker(host, state_path=path, state_every_s=0.01)
            async with asyncio.timeout(5):
                while not caplog.records:
                    await asyncio.sleep(0.01)
            assert (await page(host, tracker, "/")).status == 200
            await tracker.close()
        assert "cannot be written" in caplog.records[0].getMessage()
        assert len(caplog.records) == 1

    live(scenario)


def test_a_list_of_allowed_torrents_and_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "allowed"

    async def scenario(host: LiveHost) -> None:
        with pytest.raises(NotFoundError):
            await open_tracker(host, allowed_path=str(path))
        path.write_text("not hex\n")
        with pytest.raises(InputError, match="line 1"):
            await open_tracker(host, allowed_path=str(path))
        path.write_text(ONE.hex() + " <The film>\n")
        tracker = await open_tracker(host, allowed_path=str(path))
        swarm = RememberingSwarm(TWO, 1001)
        task = asyncio.create_task(TrackerSource(host, [[url_of(tracker)]]).run(swarm))
        assert "not allowed here" in await swarm.warned()
        await ended(task)
        await tracker.close()

    live(scenario)


def test_the_page_and_the_figures_over_http() -> None:
    async def scenario(host: LiveHost) -> None:
        tracker = await open_tracker(host)
        seen = await page(host, tracker, "/")
        assert seen.status == 200
        assert b"Spinney tracker" in seen.body
        assert url_of(tracker).encode() in seen.body
        assert seen.header(b"x-content-type-options") == b"nosniff"
        assert b"default-src 'none'" in (seen.header(b"content-security-policy") or b"")
        figures = json.loads((await page(host, tracker, "/stats.json")).body)
        assert figures["torrents"] == 0
        assert (await page(host, tracker, "/nothing")).status == 404
        await tracker.close()

    live(scenario)


def test_a_taken_port_is_said_so() -> None:
    async def scenario(host: LiveHost) -> None:
        tracker = await open_tracker(host)
        with pytest.raises(PortTakenError):
            await open_tracker(host, port=tracker.port)
        await tracker.close()

    live(scenario)
