"""H1 to H16: streams."""

from __future__ import annotations

import asyncio

import pytest

from contract.certificates import SERVER_NAME, contexts
from contract.machines import Ear, Filler, Machines, Recorder, closing, pair
from spinney.errors import ConnectError, NetworkError, PortTakenError
from spinney.net.host import Buffer

MUCH = bytes(range(251)) * 16_711  # 4.2 MB, of no period that a buffer could have


def test_h1_connect(machines: Machines) -> None:
    async def check() -> None:
        here, there = await pair(machines)
        assert isinstance(here.transport, asyncio.Transport)
        assert here.calls == ["made"]
        here.transport.close()
        await there.lost.wait()
        silent = await machines.silent()
        for local in (None, (machines.four[0], 0)):
            began = machines.a.time()
            with pytest.raises(ConnectError):
                await machines.a.connect(Recorder, silent, timeout_s=0.3, local=local)
            assert 0.29 <= machines.a.time() - began < 5.0

    machines.run(check())


def test_h1_a_handshake_that_never_ends_counts(machines: Machines) -> None:
    async def check() -> None:
        listener = await machines.b.listen(Recorder, (machines.four[1], 0))
        began = machines.a.time()
        with closing(listener), pytest.raises(NetworkError):
            await machines.a.connect(
                Recorder,
                listener.addresses[0],
                tls=contexts()[1],
                server_name=SERVER_NAME,
                timeout_s=0.3,
            )
        assert machines.a.time() - began < 5.0

    machines.run(check())


def test_h1_a_cancelled_connect_ends_at_once(machines: Machines) -> None:
    async def check() -> None:
        silent = await machines.silent()
        began = machines.a.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await machines.a.connect(Recorder, silent)
        assert machines.a.time() - began < 5.0

    machines.run(check())


def test_h2_listen(machines: Machines) -> None:
    async def check() -> None:
        made: list[Recorder] = []

        def factory() -> Recorder:
            made.append(Recorder())
            return made[-1]

        listener = await machines.b.listen(factory, (machines.four[1], 0))
        address = listener.addresses[0]
        assert address[0] == machines.four[1]
        assert address[1] > 0
        ends = [(await machines.a.connect(Recorder, address))[1] for _ in range(3)]
        for _ in range(100):
            if len(made) == 3:
                break
            await asyncio.sleep(0.01)
        assert len(made) == 3
        listener.close()
        with pytest.raises(ConnectError):
            await machines.a.connect(Recorder, address)
        made[0].transport.write(b"still here")
        heard = [asyncio.ensure_future(end.until(10)) for end in ends]
        done, waiting = await asyncio.wait(heard, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [b"still here"]
        for end in ends:
            end.transport.abort()
        await asyncio.gather(*waiting)

    machines.run(check())


def test_h3_a_taken_port(machines: Machines) -> None:
    async def check() -> None:
        listener = await machines.b.listen(Recorder, (machines.four[1], 0))
        with closing(listener), pytest.raises(PortTakenError, match=str(listener.addresses[0][1])):
            await machines.b.listen(Recorder, listener.addresses[0])
        again = await machines.b.listen(Recorder, listener.addresses[0])
        again.close()

    machines.run(check())


def test_h4_whole_and_in_order(machines: Machines) -> None:
    async def check() -> None:
        here, there = await pair(machines)
        sent = 0
        for size in [1, 0, 7, 1_000, 65_537, 1_000_000, *[1_447] * 300]:
            here.transport.write(MUCH[sent : sent + size])
            sent += size
        there.transport.write(MUCH)
        assert await there.until(sent) == MUCH[:sent]
        assert await here.until(len(MUCH)) == MUCH
        here.transport.close()
        await asyncio.gather(here.lost.wait(), there.lost.wait())
        assert here.error is None
        assert there.error is None
        assert there.calls[-2:] == ["eof", "lost"]

    machines.run(check())


def test_h5_one_direction_ends(machines: Machines) -> None:
    async def check() -> None:
        here, there = await pair(machines)
        there.keep_open = True
        assert here.transport.can_write_eof()
        here.transport.write(b"the question")
        here.transport.write_eof()
        await there.ended.wait()
        assert bytes(there.data) == b"the question"
        there.transport.write(MUCH)
        assert await here.until(len(MUCH)) == MUCH
        there.transport.close()
        await asyncio.gather(here.lost.wait(), there.lost.wait())
        assert here.error is None

    machines.run(check())


def test_h6_close_sends_and_abort_does_not(machines: Machines) -> None:
    async def check() -> None:
        much = MUCH * 4
        here, there = await pair(machines)
        here.transport.write(much)
        here.transport.close()
        assert here.transport.is_closing()
        assert await there.until(len(much)) == much
        await asyncio.gather(here.lost.wait(), there.lost.wait())

        here, there = await pair(machines)
        there.transport.pause_reading()
        here.transport.write(much)
        here.transport.abort()
        await here.lost.wait()
        there.transport.resume_reading()
        await there.lost.wait()
        assert len(there.data) < len(much)
        here.transport.write(b"to nobody")  # nothing happens

    machines.run(check())


def test_h7_back_pressure(machines: Machines) -> None:
    async def check() -> None:
        here, there = await pair(machines)
        there.transport.pause_reading()
        here.transport.set_write_buffer_limits(high=100_000, low=20_000)
        assert here.transport.get_write_buffer_limits() == (20_000, 100_000)
        sent = 0
        while not here.paused.is_set():
            here.transport.write(MUCH[:50_000])
            sent += 50_000
            assert sent < 64 << 20, "never told to pause"
            await asyncio.sleep(0)
        assert here.transport.get_write_buffer_size() > 100_000
        assert not here.resumed.is_set()
        there.transport.resume_reading()
        await here.resumed.wait()
        assert here.transport.get_write_buffer_size() <= 20_000
        assert here.calls == ["made", "pause", "resume"]
        assert len(await there.until(sent)) == sent

    machines.run(check())


def test_h8_pause_reading(machines: Machines) -> None:
    async def check() -> None:
        here, there = await pair(machines)
        here.transport.write(b"first")
        await there.until(5)
        there.transport.pause_reading()
        assert not there.transport.is_reading()
        here.transport.write(MUCH * 8)
        await asyncio.sleep(0.2)
        assert len(there.data) <= 5 + (256 << 10), "a read that was under way may still come"
        assert here.transport.get_write_buffer_size() > 0, "the sender was not stopped"
        there.transport.resume_reading()
        assert await there.until(5 + 8 * len(MUCH)) == b"first" + MUCH * 8

    machines.run(check())


def test_h9_buffered_protocol(machines: Machines) -> None:
    async def check() -> None:
        listener = await machines.b.listen(lambda: filler, (machines.four[1], 0))
        filler = Filler(len(MUCH))
        _, here = await machines.a.connect(Recorder, listener.addresses[0])
        listener.close()
        here.transport.write(MUCH)
        await filler.full.wait()
        assert filler.buffer == MUCH
        assert filler.chunks >= len(MUCH) // 65_536
        here.transport.close()
        await filler.lost.wait()

    machines.run(check())


def test_h10_writelines(machines: Machines) -> None:
    async def check() -> None:
        here, there = await pair(machines)
        some: list[Buffer] = [
            b"head",
            bytearray(b"body"),
            memoryview(MUCH)[3:900_000],
            b"",
            b"tail",
        ]
        rows = some * 3
        here.transport.writelines(rows)
        whole = b"".join(rows)
        assert await there.until(len(whole)) == whole

    machines.run(check())


def test_h11_local_address_and_shared_port(machines: Machines) -> None:
    async def check() -> None:
        ears: asyncio.Queue[Recorder] = asyncio.Queue()

        def factory() -> Recorder:
            recorder = Recorder()
            ears.put_nowait(recorder)
            return recorder

        far = [await machines.b.listen(factory, (machines.four[1], 0)) for _ in range(2)]
        _, here = await machines.a.connect(
            Recorder, far[0].addresses[0], local=(machines.four[0], 0)
        )
        there = await ears.get()
        await there.connected.wait()
        assert there.transport.get_extra_info("peername")[0] == machines.four[0]
        here.transport.abort()

        own = await machines.a.listen(factory, (machines.four[0], 0), reuse_port=True)
        port = own.addresses[0][1]
        for listener in far:
            _, here = await machines.a.connect(
                Recorder, listener.addresses[0], local=own.addresses[0], reuse_port=True
            )
            there = await ears.get()
            await there.connected.wait()
            assert there.transport.get_extra_info("peername") == (machines.four[0], port)
            assert here.transport.get_extra_info("sockname") == (machines.four[0], port)
        _, caller = await machines.b.connect(Recorder, own.addresses[0])
        called = await ears.get()
        called.transport = called.transport
        await called.connected.wait()
        called.transport.write(b"the listener still listens")
        assert await caller.until(26) == b"the listener still listens"
        for listener in (own, *far):
            listener.close()

    machines.run(check())


def test_h12_nobody_listens(machines: Machines) -> None:
    async def check() -> None:
        listener = await machines.b.listen(Recorder, (machines.four[1], 0))
        address = listener.addresses[0]
        listener.close()
        await asyncio.sleep(0)
        began = machines.a.time()
        with pytest.raises(ConnectError, match=str(address[1])):
            await machines.a.connect(Recorder, address)
        assert machines.a.time() - began < 5.0

    machines.run(check())


def test_h13_the_other_machine_dies(isolated_machines: Machines) -> None:
    machines = isolated_machines

    async def check() -> None:
        here, _ = await pair(machines)
        machines.vanish()
        here.transport.write(b"are you there?")
        assert not here.lost.is_set()
        await here.lost.wait()
        assert isinstance(here.error, OSError)

    machines.run(check())


@pytest.mark.parametrize("family", [4, 6])
def test_h14_names_of_both_ends(machines: Machines, family: int) -> None:
    async def check() -> None:
        here, there = await pair(machines, family=family)
        one, other = machines.addresses(family)
        for end, mine, its in ((here, one, other), (there, other, one)):
            for what, address in (("sockname", mine), ("peername", its)):
                name = end.transport.get_extra_info(what)
                assert type(name) is tuple
                assert name[0] == address or (machines.one_machine and what == "sockname")
                assert type(name[1]) is int
                assert len(name) == 2
        ends = [end.transport.get_extra_info for end in (here, there)]
        assert ends[0]("sockname") == ends[1]("peername")
        assert ends[1]("sockname") == ends[0]("peername")

    machines.run(check())


def test_h15_tls(machines: Machines) -> None:
    async def check() -> None:
        server, trusting, distrusting = contexts()
        made: list[Recorder] = []

        def factory() -> Recorder:
            made.append(Recorder())
            return made[-1]

        listener = await machines.b.listen(factory, (machines.four[1], 0), tls=server)
        address = listener.addresses[0]
        _, here = await machines.a.connect(Recorder, address, tls=trusting, server_name=SERVER_NAME)
        assert here.transport.get_extra_info("peername") == address
        assert here.transport.get_extra_info("ssl_object") is not None
        here.transport.write(MUCH)
        there = made[0]
        assert await there.until(len(MUCH)) == MUCH
        there.transport.write(b"answer")
        assert await here.until(6) == b"answer"
        here.transport.close()
        await asyncio.gather(here.lost.wait(), there.lost.wait())

        for tls, name in (
            (trusting, "other.test"),
            (trusting, None),  # the name is then the address, which is not in the certificate
            (distrusting, SERVER_NAME),
        ):
            with pytest.raises(ConnectError, match="certificate"):
                await machines.a.connect(Recorder, address, tls=tls, server_name=name)
        listener.close()

    machines.run(check())


def test_h16_both_families(machines: Machines) -> None:
    async def check() -> None:
        for family in (4, 6):
            here, there = await pair(machines, family=family)
            here.transport.write(b"hello")
            assert await there.until(5) == b"hello"
            ear = Ear()
            near, far = machines.addresses(family)
            mouth = await machines.a.open_datagrams(Ear(), (near, 0))
            listening = await machines.b.open_datagrams(ear, (far, 0))
            with closing(mouth, listening):
                mouth.send(b"hello", listening.local_address)
                assert await ear.until(1) == [b"hello"]
        six = await machines.b.listen(Recorder, ("::", 0))
        port = six.addresses[0][1]
        with pytest.raises(ConnectError):
            await machines.a.connect(Recorder, (machines.four[1], port))
        four = await machines.b.listen(Recorder, ("0.0.0.0", port))
        six.close()
        four.close()

    machines.run(check())
