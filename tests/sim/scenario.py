"""A bit of everything, for the determinism tests: prints the digest of one seed."""

from __future__ import annotations

import asyncio
import sys

from sim.worlds import Ear, push, serve
from spinney.sim import Link, LogNormal, Uniform, World


def digest(seed: int) -> str:
    """Datagrams with every fate, NATs, multicast, streams, sets of tasks, crashes, disks."""
    link = Link(latency=LogNormal(0.03), loss=0.05, duplicate=0.05, reorder=0.1)
    world = World(seed, link=link)
    lan = world.lan("room")
    nat = world.nat("home", "symmetric")
    hosts = [world.host(f"h{n}") for n in range(8)]
    hosts += [world.host(f"l{n}", on=lan) for n in range(4)]
    hosts += [world.host(f"n{n}", on=nat, link=Link(up_bytes_per_s=1e5)) for n in range(3)]
    slow = Link(latency=Uniform(0, 0.01), up_bytes_per_s=2e5, down_bytes_per_s=5e5)
    hosts[0].set_link(slow)

    async def chatter(ear: Ear, host_number: int) -> None:
        rng = hosts[host_number].rng
        for number in range(30):
            target = hosts[rng.randrange(len(hosts))]
            ear.socket.send(bytes([number]) * rng.randrange(1, 200), (target.address, 7))
            await asyncio.sleep(rng.expovariate(20))

    async def main() -> None:
        ears = [await Ear(echo=n % 2 == 0).open(host, 7) for n, host in enumerate(hosts)]
        for ear in ears[8:12]:
            ear.socket.join("239.1.2.3")
        ends = await serve(hosts[1])
        tasks = {asyncio.create_task(chatter(ear, n)) for n, ear in enumerate(ears)}
        tasks |= {asyncio.create_task(push(hosts[n], hosts[1], 40_000 * n)) for n in (0, 2, 12)}
        ears[9].socket.send(b"to the room", ("239.1.2.3", 7))
        cut = world.partition(hosts[:2])
        await asyncio.sleep(0.7)
        file = hosts[3].storage.open("file", "create")
        file.write(100, [bytes(200_000), hosts[3].entropy(100)])
        hosts[3].crash()
        cut.heal()
        done, _ = await asyncio.wait(tasks)
        order = ",".join(task.get_name() for task in done)
        hosts[3].restart()
        ears[4].socket.send(order.encode(), (hosts[5].address, 7))
        await asyncio.gather(*(end.done for end in ends))
        info = hosts[3].storage.info("file")
        ears[4].socket.send(repr(info).encode(), (hosts[5].address, 7))
        await asyncio.sleep(1)

    world.run(main())
    found = world.digest()
    world.close()
    return found


if __name__ == "__main__":
    print(digest(int(sys.argv[1])))
