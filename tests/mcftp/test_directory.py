"""The LAN directory: query, answer, claim, conflict, defend; on good and on bad LANs."""

from __future__ import annotations

import asyncio

import pytest
from tests.mcftp.lans import QUICK, ROUGH, Lan, directory

from spinney.groups.ip import IpGroups
from spinney.mcftp import lan_directory
from spinney.mcftp.directory import CLAIM_S, file_key, group_key, order
from spinney.mcftp.lan_directory import LanDirectory
from spinney.sim import SimHost
from spinney.trust.envelope import make
from spinney.trust.keys import Keys

KEY = file_key(b"\1" * 20)


async def directories(hosts: list[SimHost]) -> list[LanDirectory]:
    return [await directory(host) for host in hosts]


def test_nobody_has_it() -> None:
    async def run() -> None:
        one, _ = await directories(lan.hosts)
        started = lan.world.loop.time()
        assert await one.find(KEY) is None
        assert lan.world.loop.time() - started < 1.0

    with Lan(1, 2) as lan:
        lan.world.run(run())


def test_what_one_claims_another_finds() -> None:
    async def run() -> None:
        one, two = await directories(lan.hosts)
        assert await one.claim(KEY, b"ip4:239.255.1.2:6780")
        found = await two.find(KEY)
        assert found is not None
        assert found.value == b"ip4:239.255.1.2:6780"
        assert CLAIM_S - 2 < found.seconds <= CLAIM_S
        assert await two.find(group_key(b"other")) is None

    with Lan(1, 2) as lan:
        lan.world.run(run())


def test_a_newcomer_asks() -> None:
    """It was not there when the claim was told."""

    async def run() -> None:
        one = await directory(lan.hosts[0])
        assert await one.claim(KEY, b"a")
        await asyncio.sleep(35.0)
        two = await directory(lan.hosts[1])
        found = await two.find(KEY)
        assert found is not None
        assert found.value == b"a"

    with Lan(1, 2) as lan:
        lan.world.run(run())


@pytest.mark.parametrize("seed", range(3))
def test_who_holds_it_defends_it(seed: int) -> None:
    async def run() -> None:
        one = await directory(lan.hosts[0])
        assert await one.claim(KEY, b"a")
        await asyncio.sleep(35.0)
        for host in lan.hosts[1:]:
            other = await directory(host)
            assert not await other.claim(KEY, b"b")
            found = await other.find(KEY)
            assert found is not None
            assert found.value == b"a"
        assert one.conflicts(KEY) is None

    with Lan(seed, 5) as lan:
        lan.world.run(run())


def test_the_same_value_may_be_held_by_several() -> None:
    """So a new leader keeps up what the old one claimed."""

    async def run() -> None:
        one, two = await directories(lan.hosts)
        assert await one.claim(KEY, b"a")
        assert await two.claim(KEY, b"a")
        assert one.conflicts(KEY) is None
        assert two.conflicts(KEY) is None

    with Lan(1, 2) as lan:
        lan.world.run(run())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("link", [QUICK, ROUGH], ids=["quick", "rough"])
def test_ten_that_claim_at_once_end_with_one(seed: int, link: object) -> None:
    async def run() -> None:
        found = await directories(lan.hosts)
        await asyncio.gather(*(one.claim(KEY, b"%d" % number) for number, one in enumerate(found)))
        await asyncio.sleep(40.0)
        holders = [number for number, one in enumerate(found) if await one.renew(KEY)]
        assert len(holders) == 1
        for one in found:
            entry = await one.find(KEY)
            assert entry is not None
            assert entry.value == b"%d" % holders[0]

    with Lan(seed, 10, link) as lan:  # type: ignore[arg-type]
        lan.world.run(run())


def test_a_partition_that_heals_ends_with_one() -> None:
    """The one that all compute."""

    async def run() -> None:
        one, two = await directories(lan.hosts)
        cut = lan.world.partition(lan.hosts[:1])
        assert await one.claim(KEY, b"one")
        assert await two.claim(KEY, b"two")
        cut.heal()
        await asyncio.sleep(20.0)
        owners = [each._keys.public for each in (one, two)]
        wins = order(KEY, owners[0]) < order(KEY, owners[1])
        assert [await one.renew(KEY), await two.renew(KEY)] == [wins, not wins]
        loser = two if wins else one
        lost = loser.conflicts(KEY)
        assert lost is not None
        assert lost.value == (b"one" if wins else b"two")

    for seed in range(4):
        with Lan(seed, 2) as lan:
            lan.world.run(run())


def test_a_claim_ends_when_nobody_renews_it() -> None:
    async def run() -> None:
        one, two = await directories(lan.hosts)
        assert await one.claim(KEY, b"a")
        await asyncio.sleep(40.0)
        assert await one.renew(KEY)
        await asyncio.sleep(100.0)
        assert await two.find(KEY) is not None
        lan.hosts[0].crash()
        await asyncio.sleep(25.0)
        assert await two.find(KEY) is None
        assert await two.claim(KEY, b"b")

    with Lan(1, 2) as lan:
        lan.world.run(run())


def test_what_is_released_is_free_at_once() -> None:
    async def run() -> None:
        one, two = await directories(lan.hosts)
        assert await one.claim(KEY, b"a")
        assert await two.find(KEY) is not None
        await one.release(KEY)
        await asyncio.sleep(0.1)
        assert await two.find(KEY) is None
        assert await two.claim(KEY, b"b")
        assert not await one.renew(KEY)

    with Lan(1, 2) as lan:
        lan.world.run(run())


def test_two_hundred_that_ask_at_once_are_told_a_few_times() -> None:
    async def run() -> None:
        one = await directory(lan.hosts[0])
        assert await one.claim(KEY, b"a")
        await asyncio.sleep(39.0)
        crowd = await directories(lan.hosts[1:])
        told = one.sent
        entries = await asyncio.gather(*(each.find(KEY) for each in crowd))
        assert all(entry is not None and entry.value == b"a" for entry in entries)
        assert one.sent - told <= 4
        assert sum(each.sent for each in crowd) <= 8

    with Lan(1, 201) as lan:
        lan.world.run(run())


def test_a_claim_that_another_signed_is_not_believed() -> None:
    async def run() -> None:
        victim = await directory(lan.hosts[0])
        groups = IpGroups(lan.hosts[1])
        liar = await groups.join(lan_directory.lan_address(groups), victim)
        good = make(
            Keys(bytes(32)),
            lan_directory.LAN_TAG,
            1,
            {b"t": b"claim", b"k": KEY, b"v": b"evil", b"s": 120_000, b"p": 0},
        )
        liar.send(good.replace(b"evil", b"EVIL"))
        liar.send(b"d1:q")
        liar.send(make(Keys(bytes(32)), lan_directory.LAN_TAG, 2, {b"t": b"claim", b"k": KEY}))
        await asyncio.sleep(0.1)
        assert await victim.find(KEY) is None
        liar.send(good)
        await asyncio.sleep(0.1)
        assert await victim.find(KEY) is not None

    with Lan(1, 2) as lan:
        lan.world.run(run())


def test_a_flood_of_claims_costs_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lan_directory, "HEARD_MAX", 50)

    async def run() -> None:
        one, two = await directories(lan.hosts)
        for number in range(300):
            two._say({b"t": b"claim", b"k": b"%d" % number, b"v": b"x", b"s": 120_000, b"p": 0})
            two._say({b"t": b"query", b"k": b"%d" % number})
        await asyncio.sleep(0.1)
        assert len(one._heard) <= 50
        assert len(one._asked) <= 50

    with Lan(1, 2) as lan:
        lan.world.run(run())
