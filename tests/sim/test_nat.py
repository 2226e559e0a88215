"""NATs: a table of who gets in by which kind, and what their mappings live."""

from __future__ import annotations

import asyncio

import pytest

from sim.worlds import Ear, End, serve
from spinney.errors import ConnectError
from spinney.sim import Link, World
from spinney.sim.nat import NatKind

KINDS: list[NatKind] = ["full-cone", "address-restricted", "port-restricted", "symmetric"]

# What an inner host that has sent to (server, 7) hears at that mapping, from:
#                        the same port, another port of it, another host;  one port for all
TABLE = {
    "full-cone": (True, True, True, True),
    "address-restricted": (True, True, False, True),
    "port-restricted": (True, False, False, True),
    "symmetric": (True, False, False, False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_who_gets_in(kind: NatKind) -> None:
    world = World(1)
    nat = world.nat("home", kind)
    inner, server, stranger = world.host("in", on=nat), world.host("server"), world.host("other")

    async def main() -> None:
        ear = await Ear().open(inner, 5000)
        known = await Ear().open(server, 7)
        same_host = await Ear().open(server, 8)
        another = await Ear().open(stranger, 7)
        ear.socket.send(b"hello", (server.address, 7))
        _, mapped = await known.queue.get()
        assert mapped[0] == nat.address
        assert mapped[1] != 5000
        for name, sender in (("same", known), ("port", same_host), ("host", another)):
            sender.socket.send(name.encode(), mapped)
        await asyncio.sleep(1)
        ear.socket.send(b"hello", (stranger.address, 7))
        _, mapped_again = await another.queue.get()
        same, port, host, one_mapping = TABLE[kind]
        wanted = [b"same"] * same + [b"port"] * port + [b"host"] * host
        assert ear.payloads == wanted
        assert (mapped_again == mapped) is one_mapping

    world.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_gets_in_unasked_but_by_a_forwarded_port(kind: NatKind) -> None:
    world = World(1)
    nat = world.nat("home", kind)
    inner, server = world.host("in", on=nat), world.host("server")

    async def main() -> None:
        ear = await Ear().open(inner, 5000)
        sender = await Ear().open(server, 7)
        sender.socket.send(b"private", (inner.address, 5000))
        sender.socket.send(b"closed", (nat.address, 5000))
        await asyncio.sleep(1)
        nat.forward(5000, (inner.address, 5000))
        sender.socket.send(b"open", (nat.address, 5000))
        await asyncio.sleep(1)
        nat.unforward(5000)
        sender.socket.send(b"closed again", (nat.address, 5000))
        await asyncio.sleep(1)
        assert ear.payloads == [b"open"]

    world.run(main())


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("full-cone", "symmetric", True),
        ("address-restricted", "symmetric", True),
        ("port-restricted", "port-restricted", True),
        ("port-restricted", "symmetric", False),
        ("symmetric", "symmetric", False),
    ],
)
def test_hole_punching_works_where_it_works_in_life(
    one: NatKind, other: NatKind, meet: bool
) -> None:
    world = World(1)
    server = world.host("server")
    nats = [world.nat(f"nat{n}", kind) for n, kind in enumerate((one, other))]
    inner = [world.host(f"h{n}", on=nat) for n, nat in enumerate(nats)]

    async def main() -> bool:
        rendezvous = await Ear().open(server, 7)
        ears = [await Ear().open(host, 5000) for host in inner]
        mapped = []
        for ear in ears:
            ear.socket.send(b"where am I", (server.address, 7))
            mapped.append((await rendezvous.queue.get())[1])
        targets = [mapped[1], mapped[0]]
        for _ in range(3):
            for number, ear in enumerate(ears):
                # To where it was heard from, once it was: that is how a symmetric side is met.
                seen = [remote for _, data, remote in ear.heard if data == b"punch"]
                ear.socket.send(b"punch", seen[-1] if seen else targets[number])
            await asyncio.sleep(1)
        return all(b"punch" in ear.payloads for ear in ears)

    assert world.run(main()) is meet


def test_a_mapping_that_is_not_used_is_forgotten() -> None:
    world = World(1)
    nat = world.nat("home", "full-cone", lifetime_s=30)
    inner, server = world.host("in", on=nat), world.host("server")

    async def main() -> None:
        ear = await Ear().open(inner, 5000)
        known = await Ear().open(server, 7)
        ear.socket.send(b"one", (server.address, 7))
        _, mapped = await known.queue.get()
        await asyncio.sleep(29)
        known.socket.send(b"in time", mapped)
        await asyncio.sleep(5)
        known.socket.send(b"too late", mapped)
        await asyncio.sleep(1)
        assert ear.payloads == [b"in time"]
        ear.socket.send(b"two", (server.address, 7))
        assert (await known.queue.get())[1] != mapped

    world.run(main())


def test_a_router_that_was_switched_off_knows_nobody() -> None:
    world = World(1)
    nat = world.nat("home", "full-cone")
    inner, server = world.host("in", on=nat), world.host("server")

    async def main() -> None:
        ear = await Ear().open(inner, 5000)
        known = await Ear().open(server, 7)
        ear.socket.send(b"one", (server.address, 7))
        _, mapped = await known.queue.get()
        nat.restart()
        known.socket.send(b"lost", mapped)
        await asyncio.sleep(1)
        assert ear.payloads == []

    world.run(main())


@pytest.mark.parametrize("hairpin", [False, True])
def test_two_inner_hosts_meet_by_the_outer_address_only_with_hairpin(hairpin: bool) -> None:
    world = World(1)
    nat = world.nat("home", "full-cone", hairpin=hairpin)
    one, two, server = world.host("1", on=nat), world.host("2", on=nat), world.host("server")

    async def main() -> None:
        ears = [await Ear().open(host, 5000) for host in (one, two)]
        known = await Ear().open(server, 7)
        ears[0].socket.send(b"x", (server.address, 7))
        _, mapped = await known.queue.get()
        ears[1].socket.send(b"hairpin", mapped)
        ears[1].socket.send(b"direct", (one.address, 5000))
        await asyncio.sleep(1)
        assert ears[0].payloads == ([b"direct", b"hairpin"] if hairpin else [b"direct"])

    world.run(main())


def test_a_nat_behind_a_nat() -> None:
    world = World(1)
    outer = world.nat("provider", "symmetric")
    home = world.nat("home", "port-restricted", outside=outer, prefix4="192.168.7.0/24")
    inner, server = world.host("in", on=home), world.host("server")

    async def main() -> None:
        ear = await Ear().open(inner, 5000)
        known = await Ear(echo=True).open(server, 7)
        ear.socket.send(b"x", (server.address, 7))
        _, mapped = await known.queue.get()
        assert mapped[0] == outer.address
        assert await ear.queue.get() == (b"re: x", (server.address, 7))

    world.run(main())


def test_streams_leave_by_a_nat_and_enter_by_a_forwarded_port_only() -> None:
    world = World(1, link=Link())
    nat = world.nat("home", "port-restricted")
    inner, server = world.host("in", on=nat), world.host("server")

    async def main() -> None:
        outside, inside = await serve(server), await serve(inner)
        await inner.connect(End, (server.address, 80))
        assert outside[0].transport.get_extra_info("peername")[0] == nat.address
        with pytest.raises(ConnectError, match="did not answer within 3 s"):
            await server.connect(End, (nat.address, 80), timeout_s=3)
        nat.forward(80, (inner.address, 80), "tcp")
        transport, _ = await server.connect(End, (nat.address, 80))
        transport.write(b"through")
        transport.close()
        await inside[0].done
        assert inside[0].size == 7

    world.run(main())


def test_two_streams_that_cross_become_one_through_two_nats() -> None:
    world = World(1)
    server = world.host("server")
    nats = [world.nat(f"nat{n}", "port-restricted") for n in range(2)]
    inner = [world.host(f"h{n}", on=nat) for n, nat in enumerate(nats)]

    async def main() -> None:
        seen = await serve(server)
        for host in inner:
            local = (host.address, 5000)
            await host.connect(End, (server.address, 80), local=local, reuse_port=True)
        mapped = [end.transport.get_extra_info("peername") for end in seen]
        both = await asyncio.gather(
            *(
                host.connect(End, there, local=(host.address, 5000), reuse_port=True)
                for host, there in zip(inner, reversed(mapped), strict=True)
            )
        )
        both[0][0].write(b"punched")
        both[0][0].close()
        await both[1][1].done
        assert both[1][1].size == 7

    world.run(main())
