"""`Peer` on simulated machines: several transfers, sources of peers, events, errors, ends."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from spinney.config import Settings
from spinney.errors import NoPeersError, NotFoundError, StorageError, UsageError
from spinney.events import Done, Event, Progress, Ready, Warning
from spinney.net.host import Host
from spinney.peer import Peer, look, run_tracker, verify
from spinney.sim import World

DATA = Random(1).randbytes(700_000)
NO_LAN = Settings(lan=False)


def write(host: Host, path: str, data: bytes = DATA) -> None:
    folder = path.rpartition("/")[0]
    if folder:
        host.storage.make_folders(folder)
    file = host.storage.open(path, "create")
    file.write(0, [data])
    file.close()


def read(host: Host, path: str) -> bytes:
    file = host.storage.open(path, "read")
    try:
        return file.read(0, file.size())
    finally:
        file.close()


def run(scenario: Callable[[Host, Host], Awaitable[None]], *, seed: int = 1) -> None:
    """Two machines on one LAN."""
    with World(seed) as world:
        home = world.lan("home")
        one, other = world.host("one", on=home), world.host("other", on=home)

        async def main() -> None:
            async with asyncio.timeout(600):
                await scenario(one, other)

        world.run(main())


def test_the_link_alone_is_enough() -> None:
    """`x.pe` in the link that `share` gives: no tracker, no LAN discovery."""

    async def scenario(one: Host, other: Host) -> None:
        write(one, "film.mkv")
        async with Peer(one, NO_LAN) as sharer, Peer(other, NO_LAN) as getter:
            sharing = await sharer.share("film.mkv")
            assert sharing.sha256 == hashlib.sha256(DATA).hexdigest()
            done = await (await getter.get(sharing.link, "in")).wait()
            assert done.paths == ("in/film.mkv",)
            assert done.sha256 == sharing.sha256
        assert read(other, "in/film.mkv") == DATA

    run(scenario)


def test_lan_discovery_alone_is_enough() -> None:
    async def scenario(one: Host, other: Host) -> None:
        write(one, "film.mkv")
        async with Peer(one) as sharer, Peer(other) as getter:
            sharing = await sharer.share("film.mkv")
            bare = f"magnet:?xt=urn:btih:{sharing.transfer}"
            done = await (await getter.get(bare)).wait()
            assert read(other, done.paths[0]) == DATA

    run(scenario)


def test_no_lan_tells_the_lan_nothing() -> None:
    """Never on by surprise: with `lan` off on one side the two do not find each other."""

    async def scenario(one: Host, other: Host) -> None:
        write(one, "film.mkv")
        async with Peer(one, NO_LAN) as sharer, Peer(other) as getter:
            sharing = await sharer.share("film.mkv")
            ready = await first(sharing, Ready)
            assert ready.announces == ()
            bare = f"magnet:?xt=urn:btih:{sharing.transfer}"
            getting = await getter.get(bare, give_up_s=30)
            with pytest.raises(NoPeersError, match="LAN discovery"):
                await getting.wait()

    run(scenario)


async def first(moving: Any, kind: type[Any]) -> Any:
    async for event in moving.events():
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__}")


def test_a_private_torrent_is_found_by_its_tracker_only() -> None:
    async def scenario(one: Host, other: Host) -> None:
        write(one, "film.mkv")
        listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        tracker = asyncio.create_task(
            run_tracker(host=one, on_ready=lambda urls, *_: listening.set_result(urls[0]))
        )
        url = await listening
        async with Peer(one) as sharer, Peer(other) as getter:
            sharing = await sharer.share("film.mkv", private=True, trackers=[url])
            ready = await first(sharing, Ready)
            assert ready.announces == (url,), "not on the LAN"
            assert "x.pe" not in sharing.link
            write(other, "film.torrent", read(one, "film.mkv.torrent"))
            done = await (await getter.get("film.torrent", "in")).wait()
            assert read(other, done.paths[0]) == DATA
        tracker.cancel()
        await asyncio.wait([tracker])

    run(scenario)


def test_several_transfers_in_one_program_share_its_limits() -> None:
    async def scenario(one: Host, other: Host) -> None:
        names = ["a.bin", "b.bin", "c.bin"]
        for number, name in enumerate(names):
            write(one, name, Random(number).randbytes(700_000))
        slow = Settings(up_bytes_per_s=300_000, lan=False)
        async with Peer(one, slow) as sharer, Peer(other, NO_LAN) as getter:
            began = one.time()
            links = [(await sharer.share(name)).link for name in names]
            gettings = [await getter.get(link, "in") for link in links]
            await asyncio.gather(*(getting.wait() for getting in gettings))
            assert 2_100_000 / 300_000 * 0.9 < one.time() - began < 20
        for name in names:
            assert read(other, f"in/{name}") == read(one, name)

    run(scenario)


def test_a_transfer_has_limits_of_its_own() -> None:
    async def scenario(one: Host, other: Host) -> None:
        write(one, "a.bin")
        async with Peer(one, NO_LAN) as sharer, Peer(other, NO_LAN) as getter:
            link = (await sharer.share("a.bin")).link
            began = one.time()
            await (await getter.get(link, "in", down_bytes_per_s=100_000)).wait()
            assert 5.5 < one.time() - began < 12

    run(scenario)


def test_the_same_torrent_twice_in_one_program_is_wrong_usage() -> None:
    async def scenario(one: Host, other: Host) -> None:
        write(one, "a.bin")
        async with Peer(one, NO_LAN) as sharer:
            await sharer.share("a.bin")
            with pytest.raises(UsageError, match="already"):
                await sharer.share("a.bin")

    run(scenario)


def test_events_tell_the_whole_story_also_to_those_who_come_late() -> None:
    async def scenario(one: Host, other: Host) -> None:
        write(one, "a.bin")
        heard: list[Event] = []
        async with Peer(one, NO_LAN) as sharer, Peer(other, NO_LAN) as getter:
            link = (await sharer.share("a.bin")).link
            getting = await getter.get(link, "in", on_event=heard.append, down_bytes_per_s=2e5)
            late = [event async for event in getting.events()]
            done = await getting.wait()
            again = [event async for event in getting.events()]
        assert isinstance(heard[0], Ready)
        assert heard[-1] is done
        assert isinstance(heard[-2], Progress)
        assert heard[-2].have_bytes == heard[-2].total_bytes == len(DATA)
        assert heard[-2].sources["swarm"].useful == len(DATA)
        assert all(event.transfer == done.transfer for event in heard)
        haves = [event.have_bytes for event in heard if isinstance(event, Progress)]
        assert haves == sorted(haves)
        assert len(haves) >= 4, "about two a second"
        for events in (late, again):
            assert isinstance(events[0], Ready)
            assert any(isinstance(event, Done) for event in events)

    run(scenario)


def test_a_listener_that_fails_harms_nobody() -> None:
    async def scenario(one: Host, other: Host) -> None:
        def fail(event: Event) -> None:
            raise RuntimeError("a bug of somebody else")

        write(one, "a.bin")
        async with Peer(one, NO_LAN) as sharer, Peer(other, NO_LAN) as getter:
            link = (await sharer.share("a.bin", on_event=fail)).link
            await (await getter.get(link, "in", on_event=fail)).wait()

    run(scenario)


def test_cancelling_keeps_what_is_verified() -> None:
    async def scenario(one: Host, other: Host) -> None:
        write(one, "a.bin", Random(2).randbytes(4_000_000))
        async with Peer(one, NO_LAN) as sharer:
            link = (await sharer.share("a.bin")).link
            async with Peer(other, NO_LAN) as getter:
                getting = await getter.get(link, "in", down_bytes_per_s=500_000)
                waiting = asyncio.ensure_future(getting.wait())
                async for event in getting.events():
                    if isinstance(event, Progress) and event.have_bytes > 2_000_000:
                        break
                waiting.cancel()
                await asyncio.sleep(0.1)
                assert not getting._task.done(), "cancelling a wait cancels nothing else"  # type: ignore[union-attr]
                await getting.close()
                with pytest.raises(asyncio.CancelledError):
                    await getting.wait()
            async with Peer(other, NO_LAN) as getter:
                done = await (await getter.get(link, "in")).wait()
                assert done.sources["swarm"].useful < 2_000_000
        assert read(other, "in/a.bin") == read(one, "a.bin")

    run(scenario)


def test_no_peers_warns_after_a_while_and_says_what_was_tried() -> None:
    async def scenario(one: Host, other: Host) -> None:
        heard: list[Event] = []
        began = one.time()
        async with Peer(one) as getter:
            getting = await getter.get(
                "magnet:?xt=urn:btih:" + "ab" * 20,
                peers=["10.255.0.1:7"],
                trackers=["http://10.255.0.2/announce"],
                give_up_s=60,
                on_event=heard.append,
            )
            with pytest.raises(NoPeersError) as caught:
                await getting.wait()
        assert 59 < one.time() - began < 75
        warnings = [event for event in heard if isinstance(event, Warning)]
        (warned,) = [event for event in warnings if event.kind == "no-peers"]
        assert "still trying" in warned.message
        for message in (warned.message, str(caught.value)):
            for word in ("no peers", "LAN discovery", "10.255.0.2", "1 given address", "--peer"):
                assert word in message

    run(scenario)


def test_what_can_be_known_at_once_is_raised_at_once() -> None:
    async def scenario(one: Host, other: Host) -> None:
        write(one, "a.bin")
        async with Peer(one, NO_LAN) as peer:
            with pytest.raises(NotFoundError):
                await peer.share("b.bin")
            with pytest.raises(NotFoundError):
                await peer.get("b.torrent")
            with pytest.raises(UsageError, match="tracker"):
                await peer.share("a.bin", private=True)
            await peer.share("a.bin")
            with pytest.raises(UsageError, match="stream"):
                await peer.get("a.bin.torrent", "-")
            with pytest.raises(UsageError, match="--peer"):
                await peer.get("magnet:?xt=urn:btih:" + "ab" * 20, peers=["nonsense"])

    run(scenario)


def test_a_stream_takes_the_bytes_in_order() -> None:
    async def scenario(one: Host, other: Host) -> None:
        write(one, "a.bin")
        taken = bytearray()

        async def take(data: memoryview) -> None:
            await asyncio.sleep(0.01)
            taken.extend(data)

        async with Peer(one, NO_LAN) as sharer, Peer(other, NO_LAN) as getter:
            link = (await sharer.share("a.bin")).link
            done = await (await getter.get(link, "-", stream=take)).wait()
        assert bytes(taken) == DATA
        assert done.paths == ()

    run(scenario)


def test_a_shared_file_that_is_cut_short_ends_that_transfer_only() -> None:
    async def scenario(one: Host, other: Host) -> None:
        write(one, "a.bin", Random(3).randbytes(30_000_000))
        write(one, "b.bin")
        async with Peer(one, NO_LAN) as sharer, Peer(other, NO_LAN) as getter:
            broken = await sharer.share("a.bin", up_bytes_per_s=1e6)
            whole = await sharer.share("b.bin")
            getting = await getter.get(broken.link, "in", give_up_s=20)
            await first(getting, Progress)
            file = one.storage.open("a.bin", "write")
            file.truncate(100_000)
            file.close()
            with pytest.raises(StorageError, match=r"cut short|changed"):
                await broken.wait()
            done = await (await getter.get(whole.link, "in")).wait()
            assert read(other, done.paths[0]) == DATA
            with pytest.raises(NoPeersError):
                await getting.wait()

    run(scenario)


def test_look_and_verify_on_any_host() -> None:
    async def scenario(one: Host, other: Host) -> None:
        write(one, "set/a", DATA)
        write(one, "set/b", DATA[:1000])
        async with Peer(one, NO_LAN) as peer:
            link = (await peer.share("set", format="hybrid")).link
        facts = await look("set.torrent", host=one)
        assert facts["total_bytes"] == len(DATA) + 1000
        assert (await look(link, host=one))["infohash"] == facts["infohash"]
        assert (await verify("set.torrent", host=one))["whole"]
        write(one, "set/b", b"x" * 1000)
        report = await verify("set.torrent", "set", host=one)
        assert [row["state"] for row in report["files"]] == ["right", "bad"]

    run(scenario)


@pytest.mark.parametrize("seed", range(3))
def test_the_same_seed_gives_the_same_digest(seed: int) -> None:
    def digest() -> str:
        with World(seed) as world:
            home = world.lan("home")
            one, other = world.host("one", on=home), world.host("other", on=home)

            async def main() -> None:
                write(one, "a.bin")
                async with Peer(one) as sharer, Peer(other) as getter:
                    link = (await sharer.share("a.bin")).link
                    await (await getter.get(link, "in")).wait()

            world.run(main())
            return world.digest()

    assert digest() == digest()
