"""Those who lie, flood and wait cost nothing but their own connection."""

from __future__ import annotations

import asyncio

from tests.bittorrent.members import Member, Stranger
from tests.bittorrent.test_conversation import BLOCK, OPEN, TORRENT, Stage, play

from spinney.bittorrent import messages as m
from spinney.bittorrent.codec import encode
from spinney.bittorrent.settings import Settings
from spinney.sim.world import World


def test_endless_messages_end_the_connection() -> None:
    for noise in (m.Interested(), m.KeepAlive(), m.Have(1), m.Cancel(0, 0, 5), m.Port(5)):

        async def scene(stage: Stage, noise: m.Message = noise) -> None:
            liar = await stage.greeted()
            liar.say(m.HaveNone())
            for _ in range(100):
                if liar.lost.is_set():
                    break
                liar.transport.write(encode(noise) * 1_000)
                await asyncio.sleep(0.01)
            await asyncio.wait_for(liar.lost.wait(), 5)
            await stage.still_serves()

        play(scene)


def test_one_who_asks_and_does_not_read_costs_a_bounded_amount() -> None:
    async def scene(stage: Stage) -> None:
        liar = await stage.greeted()
        liar.say(m.HaveNone(), m.Interested())
        await liar.until(lambda: liar.heard_of(m.Unchoke))
        liar.transport.pause_reading()
        for _ in range(200):
            liar.transport.write(encode(m.Request(0, 0, BLOCK)) * 500)
            await asyncio.sleep(0.05)
            for peer in stage.member.swarm.peers.values():
                assert len(peer.uploader.pending) <= OPEN.request_limit
                transport = peer.connection._transport
                assert transport is not None
                assert transport.get_write_buffer_size() < 6 << 20
        liar.transport.abort()
        await stage.still_serves()

    play(scene)


def test_data_that_nobody_asked_for_ends_the_connection() -> None:
    async def scene(stage: Stage) -> None:
        liar = await stage.greeted()
        liar.say(m.HaveNone())
        for at in range(200):
            if liar.lost.is_set():
                break
            liar.say(m.Piece(at % 4, 0, bytes(BLOCK)))
            await asyncio.sleep(0.01)
        await asyncio.wait_for(liar.lost.wait(), 5)

    play(scene, seed=False)


def test_a_silent_peer_is_dropped_and_a_quiet_one_gets_keep_alives() -> None:
    async def scene(stage: Stage) -> None:
        silent = await stage.greeted(0, peer_id=b"-XX0000-silent------")
        quiet = await stage.greeted(1, peer_id=b"-XX0000-quiet-------")
        heard = 0

        class Counting:
            def __call__(self) -> None:
                nonlocal heard
                heard += 1

        quiet.chatter = Counting()  # type: ignore[method-assign]
        for _ in range(3):
            await asyncio.sleep(100)
            quiet.say(m.KeepAlive())
        assert silent.lost.is_set()
        assert not quiet.lost.is_set()
        assert heard >= 2

    play(scene)


def test_a_message_that_never_ends_is_dropped() -> None:
    async def scene(stage: Stage) -> None:
        slow = await stage.greeted()
        slow.transport.write(encode(m.Piece(0, 0, bytes(BLOCK)))[:20])
        for _ in range(200):
            await asyncio.sleep(1)
            if slow.lost.is_set():
                break
            slow.transport.write(b"x")
        assert slow.lost.is_set()

    play(scene, seed=False)


def test_a_hundred_connections_from_one_address_are_three() -> None:
    async def scene(stage: Stage) -> None:
        crowd = []
        for number in range(100):
            stranger = await stage.stranger()
            stranger.greet(TORRENT.infohash, b"-XX0000-%012d" % number)
            crowd.append(stranger)
        await asyncio.sleep(3)
        assert len(stage.member.swarm.peers) == 3
        assert len(stage.member.node._opening) == 0
        await stage.still_serves()

    play(scene)


def test_silent_openers_do_not_keep_others_out() -> None:
    settings = Settings(addresses=("0.0.0.0",), ration=False, connections_per_address=1_000)

    async def scene(stage: Stage) -> None:
        for _ in range(settings.handshakes + 30):
            await stage.stranger()
        await asyncio.sleep(settings.handshake_timeout_s + 2)
        await stage.still_serves()

    play(scene, settings=settings)


def test_one_who_sends_wrong_bytes_is_banned_and_the_rest_completes() -> None:
    with World(seed=5) as world:

        async def main() -> None:
            leech = await Member(world.host("leech"), TORRENT, "f", settings=OPEN).start()
            liar = await Stranger.dial(world.host("liar"), leech.address)
            liar.greet(TORRENT.infohash)
            liar.say(m.HaveAll(), m.Unchoke())
            await liar.until(lambda: liar.asked)

            async def lie() -> None:
                done = 0
                while not liar.lost.is_set():
                    for piece, begin, length in liar.asked[done:]:
                        liar.say(m.Piece(piece, begin, b"\xee" * length))
                    done = len(liar.asked)
                    liar.news.clear()
                    await liar.news.wait()

            lying = asyncio.ensure_future(lie())
            await asyncio.wait_for(liar.lost.wait(), 60)
            lying.cancel()
            seed = await Member(world.host("seed"), TORRENT, "f", seed=True, settings=OPEN).start()
            leech.knows(seed)
            await leech.wait(60)
            assert leech.read_back() == TORRENT.data
            assert leech.swarm.candidates.banned(world.hosts["liar"].address)
            assert leech.transfer.totals()["swarm"].bad > 0
            again = await Stranger.dial(world.hosts["liar"], leech.address)
            again.greet(TORRENT.infohash, b"-XX0000-otherpeerid-")
            await asyncio.wait_for(again.lost.wait(), 5)
            await leech.close()
            await seed.close()

        world.run(main())


def test_one_who_unchokes_and_sends_nothing_does_not_hold_pieces() -> None:
    with World(seed=6) as world:

        async def main() -> None:
            leech = await Member(world.host("leech"), TORRENT, "f", settings=OPEN).start()
            idle = await Stranger.dial(world.host("idle"), leech.address)
            idle.greet(TORRENT.infohash)
            idle.say(m.HaveAll(), m.Unchoke())
            await idle.until(lambda: idle.asked)
            seed = await Member(world.host("seed"), TORRENT, "f", seed=True, settings=OPEN).start()
            leech.knows(seed)
            await leech.wait(90)
            await leech.close()
            await seed.close()

        world.run(main())
