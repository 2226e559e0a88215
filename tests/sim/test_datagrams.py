"""What links do to datagrams: latency, loss, duplication, reordering, rates, queues, MTU."""

from __future__ import annotations

import asyncio
from statistics import mean

import pytest

from sim.worlds import Ear
from spinney.net.host import DatagramOptions
from spinney.sim import Constant, Exponential, Link, LogNormal, SimHost, Uniform, World

MANY = 4_000


def pair(link: Link, seed: int = 1, **options: object) -> tuple[World, SimHost, SimHost]:
    world = World(seed, link=link, **options)  # type: ignore[arg-type]
    return world, world.host("a"), world.host("b")


def send_many(link: Link, count: int = MANY, size: int = 8, gap_s: float = 0.0) -> Ear:
    """Sends numbered datagrams from a to b; what b heard."""
    world, a, b = pair(link)

    async def main() -> Ear:
        ear = await Ear().open(b, 7)
        sender = await Ear().open(a)
        for number in range(count):
            sender.socket.send(number.to_bytes(8, "big") + bytes(size - 8), (b.address, 7))
            if gap_s:
                await asyncio.sleep(gap_s)
        await asyncio.sleep(30)
        return ear

    return world.run(main())


@pytest.mark.parametrize(
    ("latency", "low", "high", "middle"),
    [
        (Constant(0.03), 0.03, 0.03, 0.03),
        (Uniform(0.01, 0.05), 0.01, 0.05, 0.03),
        (Exponential(0.02, 0.01), 0.02, 1.0, 0.03),
        (LogNormal(0.03, 0.1), 0.01, 0.1, 0.03),
    ],
)
def test_latency_has_its_distribution(
    latency: Constant, low: float, high: float, middle: float
) -> None:
    times = [when for when, _, _ in send_many(Link(latency=latency)).heard]
    assert len(times) == MANY
    assert low <= min(times) <= max(times) <= high
    assert mean(times) == pytest.approx(middle, rel=0.05)


def test_loss_is_what_it_says() -> None:
    assert len(send_many(Link(loss=0.2)).heard) == pytest.approx(MANY * 0.8, rel=0.05)


def test_each_datagram_has_its_own_fate() -> None:
    heard = {int.from_bytes(data[:8], "big") for data in send_many(Link(loss=0.5)).payloads}
    runs = sum(1 for n in range(1, MANY) if (n in heard) is not (n - 1 in heard))
    assert runs == pytest.approx(MANY / 2, rel=0.1)


def test_duplicates_are_what_they_say() -> None:
    ear = send_many(Link(latency=Constant(0.01), duplicate=0.1))
    assert len(ear.heard) == pytest.approx(MANY * 1.1, rel=0.02)
    assert len(set(ear.payloads)) == MANY


def test_a_constant_latency_keeps_the_order_and_reordering_breaks_it() -> None:
    straight = send_many(Link(latency=Constant(0.01)), gap_s=0.001).payloads
    assert straight == sorted(straight)
    mixed = send_many(Link(latency=Constant(0.01), reorder=0.1, reorder_s=0.05), gap_s=0.001)
    late = sum(1 for one, two in zip(mixed.payloads, mixed.payloads[1:], strict=False) if two < one)
    assert late == pytest.approx(MANY * 0.1, rel=0.2)


def test_the_links_of_both_hosts_and_of_the_network_add_up() -> None:
    world = World(1, link=Link(latency=Constant(0.1), loss=0.5))
    a = world.host("a", link=Link(latency=Constant(0.01), loss=0.5))
    b = world.host("b", link=Link(latency=Constant(0.002)))

    async def main() -> Ear:
        ear = await Ear().open(b, 7)
        sender = await Ear().open(a)
        for _ in range(MANY):
            sender.socket.send(b"x", (b.address, 7))
        await asyncio.sleep(1)
        return ear

    ear = world.run(main())
    assert len(ear.heard) == pytest.approx(MANY / 4, rel=0.1)
    assert {round(when, 6) for when, _, _ in ear.heard} == {0.112}


def test_a_path_can_have_a_link_of_its_own() -> None:
    world = World(1)
    a, b, c = (world.host(name) for name in "abc")
    world.connect(a, b, Link(latency=Constant(0.3)))

    async def main() -> tuple[float, float]:
        ears = [await Ear().open(host, 7) for host in (b, c)]
        sender = await Ear().open(a)
        for host in (b, c):
            sender.socket.send(b"x", (host.address, 7))
        await asyncio.sleep(1)
        return ears[0].heard[0][0], ears[1].heard[0][0]

    assert world.run(main()) == (0.3, 0.02)


def test_a_slow_line_spaces_datagrams_by_their_whole_size() -> None:
    line = Link(up_bytes_per_s=100_000, queue_bytes=1 << 20)
    world = World(1, link=Link())
    a, b = world.host("a", link=line), world.host("b")

    async def main() -> list[float]:
        ear = await Ear().open(b, 7)
        sender = await Ear().open(a)
        for _ in range(5):
            sender.socket.send(bytes(972), (b.address, 7))
        await asyncio.sleep(1)
        return [when for when, _, _ in ear.heard]

    assert world.run(main()) == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])


def test_a_full_queue_of_ones_own_line_drops_and_counts() -> None:
    world = World(1, link=Link())
    a = world.host("a", link=Link(up_bytes_per_s=100_000, queue_bytes=10_000))
    b = world.host("b")

    async def main() -> None:
        ear = await Ear().open(b, 7)
        sender = await Ear().open(a)
        for _ in range(50):
            sender.socket.send(bytes(972), (b.address, 7))
        assert sender.socket.dropped == 40
        assert sender.socket.send_many([(bytes(972), (b.address, 7))] * 5) == 0
        began = a.time()
        await sender.socket.writable()
        assert a.time() - began == pytest.approx(0.05)
        assert sender.socket.send_many([(bytes(972), (b.address, 7))] * 9) == 5
        await asyncio.sleep(1)
        assert len(ear.heard) == 15

    world.run(main())


def test_a_full_queue_of_the_other_line_drops_silently() -> None:
    world = World(1, link=Link())
    a, b = world.host("a"), world.host("b", link=Link(down_bytes_per_s=1e5, queue_bytes=10_000))

    async def main() -> None:
        ear = await Ear().open(b, 7)
        sender = await Ear().open(a)
        for _ in range(50):
            sender.socket.send(bytes(972), (b.address, 7))
        await asyncio.sleep(1)
        assert (len(ear.heard), sender.socket.dropped) == (10, 0)
        assert ear.heard[-1][0] == pytest.approx(0.1)

    world.run(main())


def test_a_network_behind_one_uplink_shares_it() -> None:
    world = World(1, link=Link())
    lan = world.lan("school", link=Link(), uplink=Link(up_bytes_per_s=1e5))
    pupils = [world.host(f"p{n}", on=lan) for n in range(4)]
    server = world.host("server")

    async def main() -> None:
        ear = await Ear().open(server, 7)
        for pupil in pupils:
            sender = await Ear().open(pupil)
            sender.socket.send(bytes(972), (server.address, 7))
            sender.socket.send(bytes(972), (pupils[0].address, 9))
        await asyncio.sleep(1)
        assert [when for when, _, _ in ear.heard] == pytest.approx([0.01, 0.02, 0.03, 0.04])

    world.run(main())


def test_what_is_longer_than_the_mtu_goes_in_fragments_and_is_lost_more_often() -> None:
    short = len(send_many(Link(loss=0.1), size=1_400).heard)
    long = len(send_many(Link(loss=0.1), size=7_000).heard)
    assert short == pytest.approx(MANY * 0.9, rel=0.03)
    assert long == pytest.approx(MANY * 0.9**5, rel=0.06)


def test_the_path_mtu_is_that_of_the_narrowest_link() -> None:
    world = World(1)
    a, b = world.host("a"), world.host("b", link=Link(mtu=1280))

    async def main() -> None:
        sender = await Ear().open(a)
        assert sender.socket.path_mtu((b.address, 7)) == 1280 - 28
        six = await Ear().open(a, local="::")
        assert six.socket.path_mtu((b.attachments[0].addresses[1][0], 7)) == 1280 - 48

    world.run(main())


def test_a_link_can_change_while_the_world_runs() -> None:
    world, a, b = pair(Link(latency=Constant(0.01)))

    async def main() -> list[float]:
        ear = await Ear().open(b, 7)
        sender = await Ear().open(a)
        sender.socket.send(b"x", (b.address, 7))
        b.set_link(Link(latency=Constant(0.5), down_bytes_per_s=1e6))
        sender.socket.send(b"x", (b.address, 7))
        await asyncio.sleep(1)
        return [when for when, _, _ in ear.heard]

    assert world.run(main()) == pytest.approx([0.01, 0.510029])


def test_several_interfaces_each_on_its_network() -> None:
    world = World(1)
    lan = world.lan("lan", prefix4="10.5.0.0/24")
    a, b, far = world.host("a"), world.host("b", on=lan), world.host("far")
    a.attach(lan, ["10.5.0.77"], name="lan0")
    isolated = world.lan("island", isolated=True)
    castaway = world.host("castaway", on=isolated)

    async def main() -> None:
        near, there = await Ear().open(b, 7), await Ear().open(far, 7)
        alone = await Ear().open(castaway, 7)
        sender = await Ear().open(a)
        for host in (b, far, castaway):
            sender.socket.send(b"x", (host.address, 7))
        await asyncio.sleep(1)
        assert near.heard[0][2][0] == "10.5.0.77"
        assert there.heard[0][2][0] == a.address
        assert alone.heard == []
        options = DatagramOptions(packet_info=True)
        seen: list[int] = []
        ear = Ear()
        ear.datagrams_received = lambda batch: seen.extend(row[2] for row in batch)  # type: ignore[method-assign]
        await a.open_datagrams(ear, ("0.0.0.0", 9), options)
        near.socket.send(b"x", ("10.5.0.77", 9))
        there.socket.send(b"x", (a.address, 9))
        await asyncio.sleep(1)
        by_name = {each.name: each.index for each in a.interfaces()}
        assert seen == [by_name["lan0"], by_name["eth0"]]

    world.run(main())


def test_loopback_and_ones_own_address_stay_on_the_machine() -> None:
    world, a, b = pair(Link(loss=1.0))

    async def main() -> None:
        ear, other = await Ear().open(a, 7), await Ear().open(b, 7)
        sender = await Ear().open(a)
        sender.socket.send(b"loop", ("127.0.0.1", 7))
        sender.socket.send(b"self", (a.address, 7))
        await asyncio.sleep(1)
        assert ear.payloads == [b"loop", b"self"]
        assert other.heard == []

    world.run(main())


def test_a_datagram_for_a_closed_socket_goes_to_who_has_the_port_now() -> None:
    world, a, b = pair(Link(latency=Constant(0.1)))

    async def main() -> None:
        old = await Ear().open(b, 7)
        sender = await Ear().open(a)
        sender.socket.send(b"x", (b.address, 7))
        old.socket.close()
        new = await Ear().open(b, 7)
        await asyncio.sleep(1)
        assert (old.heard, new.payloads) == ([], [b"x"])

    world.run(main())
