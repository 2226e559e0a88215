"""H17 to H25: datagrams in brief, interfaces, names, clocks, chance, work, storage, timers."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from typing import Any

import pytest

from contract.machines import Ear, Machines, closing
from spinney.errors import NetworkError, PortTakenError, ResolveError


def test_h17_open_datagrams(machines: Machines) -> None:
    async def check() -> None:
        ear = Ear()
        one = await machines.a.open_datagrams(Ear(), (machines.four[0], 0))
        other = await machines.b.open_datagrams(ear, (machines.four[1], 0))
        with closing(one, other):
            one.send(b"hello", other.local_address)
            await ear.until(1)
            assert ear.heard == [(b"hello", one.local_address, 0)]
            with pytest.raises(PortTakenError):
                await machines.b.open_datagrams(Ear(), other.local_address)
            with pytest.raises(NetworkError):
                await machines.a.open_datagrams(Ear(), ("203.0.113.99", 0))

    machines.run(check())


def test_h18_interfaces(machines: Machines) -> None:
    rows = machines.a.interfaces()
    by_address = {address: row for row in rows for address, _ in row.addresses}
    for host in (machines.four[0], machines.six[0]):
        row = by_address[host]
        assert row.name == machines.interface
        assert row.up
        assert 1_280 <= row.mtu <= 65_536
    for row in rows:
        assert row.index > 0
        for address, prefix in row.addresses:
            parsed = ipaddress.ip_address(address)
            assert 0 < prefix <= parsed.max_prefixlen
            assert ("%" in address) == (parsed.version == 6 and parsed.is_link_local)
            if parsed.is_loopback:
                assert row.loopback
    assert len({row.index for row in rows}) == len({row.name for row in rows}) == len(rows)


def test_h19_resolve(machines: Machines) -> None:
    async def check() -> None:
        name, expected = machines.known_name
        found = await machines.a.resolve(name, 80)
        assert sorted(found) == sorted((host, 80) for host in expected)
        for family in (4, 6):
            own = [host for host in expected if (":" in host) == (family == 6)]
            if own:
                rows = await machines.a.resolve(name, 80, family=family)
                assert sorted(rows) == sorted((host, 80) for host in own)
            else:
                with pytest.raises(ResolveError):
                    await machines.a.resolve(name, 80, family=family)
        for host in (*machines.four, *machines.six, "8.8.8.8", "2001:db8::1"):
            assert await machines.a.resolve(host, 443) == [(host, 443)]
        for wrong in ("", "a" * 64 + ".test", "two words", "nul\0", "-", ".."):
            with pytest.raises(ResolveError):
                await machines.a.resolve(wrong, 80)
        with pytest.raises(ResolveError):
            await machines.a.resolve("8.8.8.8", 80, family=6)

    machines.run(check())


def test_h20_time(machines: Machines) -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        before = machines.a.time()
        between = loop.time()
        after = machines.a.time()
        assert before <= between <= after
        await asyncio.sleep(0.05)
        assert 0.049 <= machines.a.time() - after < 2.0

    machines.run(check())


def test_h21_wall_time(machines: Machines) -> None:
    async def check() -> None:
        started, ticks = machines.a.wall_time(), machines.a.time()
        assert 1_500_000_000 < started < 5_000_000_000
        await asyncio.sleep(0.02)
        assert 0.015 <= machines.a.wall_time() - started < 2.0
        assert machines.step_wall_clock(-3_600.0)
        assert machines.a.wall_time() < started - 3_500
        assert 0.015 <= machines.a.time() - ticks < 2.0

    machines.run(check())


def test_h22_rng_and_entropy(machines: Machines) -> None:
    for length in (0, 1, 20, 4_096):
        assert len(machines.a.entropy(length)) == length
    drawn = [host.entropy(16) for host in (machines.a, machines.b) for _ in range(50)]
    assert len(set(drawn)) == 100
    zeros = sum(bin(byte).count("0") - 1 for byte in machines.a.entropy(4_096))
    assert zeros < 20_000
    rng: Any = machines.a.rng
    state = rng.getstate() if hasattr(rng, "getstate") else None
    machines.a.entropy(16)
    assert state is None or rng.getstate() == state, "keys must not come from the choices"
    assert 0 <= rng.random() < 1
    assert 2 <= rng.uniform(2, 3) <= 3
    assert rng.randrange(5, 8) in (5, 6, 7)
    assert rng.getrandbits(8) < 256
    assert rng.choice("abc") in "abc"
    assert sorted(rng.sample(range(9), 9)) == list(range(9))
    rows = list(range(50))
    rng.shuffle(rows)
    assert sorted(rows) == list(range(50))
    assert rng.expovariate(1.0) >= 0


def test_h23_work(machines: Machines) -> None:
    async def check() -> None:
        assert await machines.a.work(sum, [1, 2, 3]) == 6
        assert await machines.a.work(lambda: "nothing given") == "nothing given"

        def fail() -> None:
            raise KeyError("its own exception")

        with pytest.raises(KeyError, match="its own"):
            await machines.a.work(fail)
        results = await asyncio.gather(*(machines.a.work(pow, 2, n) for n in range(40)))
        assert results == [2**n for n in range(40)]
        if machines.side != "sim":  # there it is inline: time is virtual
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.005)
                    ticks += 1

            ticker = asyncio.ensure_future(tick())
            await machines.a.work(time.sleep, 0.2)
            ticker.cancel()
            assert ticks >= 5, "the event loop stood still"

    machines.run(check())


def test_h24_storage(machines: Machines) -> None:
    async def check() -> None:
        path = machines.path("file")

        def write() -> None:
            file = machines.a.storage.open(path, "create")
            file.write(0, [b"bytes"])
            file.close()

        await machines.a.work(write)
        file = await machines.a.work(machines.a.storage.open, path, "read")
        assert await machines.a.work(file.read, 0, 100) == b"bytes"
        file.close()

    machines.run(check())


def test_h25_timers(machines: Machines) -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        fired: list[tuple[int, float]] = []

        def note(delay: int) -> None:
            fired.append((delay, loop.time()))

        last = asyncio.Event()
        delays = [30, 10, 20, 10, 0, 25, 5]
        for delay in delays:
            when = started + delay / 1_000
            loop.call_at(when, note, delay)
        cancelled = loop.call_later(0.015, note, 99)
        cancelled.cancel()
        loop.call_later(0.06, last.set)
        await last.wait()
        assert [delay for delay, _ in fired] == sorted(delays)
        # asyncio's own loop may be early by the resolution of its clock.
        assert all(at >= started + delay / 1_000 - 1e-6 for delay, at in fired)

    machines.run(check())
