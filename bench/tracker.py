"""How many announces our tracker answers in a second of one core, and what a peer costs it.

python bench/tracker.py [--announces 20000] [--peers 2000] [--torrents 500]

The tracker runs in a process of its own; the clock is that process's processor time, so that a
busy machine does not show.  The clients keep their connections; `--depth` announces are under
way on each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "src"))

from spinney.bittorrent.tracker import codec
from spinney.bittorrent.tracker.messages import AnnounceRequest
from spinney.bittorrent.tracker.server import Tracker
from spinney.bittorrent.tracker.settings import TrackerSettings
from spinney.net.live import LiveHost


async def serve() -> None:
    """The child: serves until its input ends; tells its processor time for each line it reads."""
    host = LiveHost()
    tracker = Tracker(host, TrackerSettings(port=0, addresses=("127.0.0.1",)))
    await tracker.start()
    print(tracker.port, flush=True)
    while await host.work(sys.stdin.readline):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        row = {"cpu_s": usage.ru_utime + usage.ru_stime, "memory_kib": usage.ru_maxrss}
        print(json.dumps({**row, "peers": tracker.state.peer_count}), flush=True)
    await tracker.close()
    host.close()


def requests(count: int, peers: int, torrents: int) -> list[bytes]:
    rows = []
    for n in range(count):
        infohash = (n % torrents).to_bytes(20, "big")
        peer = n % peers
        ask = AnnounceRequest(infohash, b"-SP0001-%012d" % peer, 1 + peer % 65000, numwant=50)
        rows.append(
            f"GET /announce?{codec.encode_announce(ask)} HTTP/1.1\r\nHost: t\r\n\r\n".encode()
        )
    return rows


async def announce(port: int, rows: list[bytes], depth: int) -> None:
    """One client: its requests over connections that the tracker closes now and then."""
    at = 0
    while at < len(rows):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(900 // depth):
            batch = rows[at : at + depth]
            at += len(batch)
            writer.write(b"".join(batch))
            for _ in batch:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                body = await reader.readexactly(length)
                assert body.startswith(b"d8:complete"), body
            if at >= len(rows):
                break
        writer.close()


async def measure(arguments: argparse.Namespace) -> dict[str, float]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        "--serve",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    port = int(await child.stdout.readline())

    async def used() -> dict[str, float]:
        child.stdin.write(b"?\n")
        row: dict[str, float] = json.loads(await child.stdout.readline())
        return row

    rows = requests(arguments.announces, arguments.peers, arguments.torrents)
    empty = await used()
    await announce(port, rows[: arguments.peers], arguments.depth)
    before, began = await used(), time.perf_counter()
    await announce(port, rows, arguments.depth)
    after, clock = await used(), time.perf_counter() - began
    child.stdin.close()
    await child.wait()
    return {
        "announces_per_cpu_s": arguments.announces / (after["cpu_s"] - before["cpu_s"]),
        "announces_per_s": arguments.announces / clock,
        "peers": after["peers"],
        "memory_mib": after["memory_kib"] / 1024,
        "memory_mib_empty": empty["memory_kib"] / 1024,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--announces", type=int, default=20_000)
    parser.add_argument("--peers", type=int, default=2_000)
    parser.add_argument("--torrents", type=int, default=500)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve())
        return 0
    row = asyncio.run(measure(arguments))
    print(f"{row['announces_per_cpu_s']:,.0f} announces a second of one core")
    print(f"{row['announces_per_s']:,.0f} announces a second by the clock (client here too)")
    print(
        f"{row['peers']:,.0f} peers; memory {row['memory_mib_empty']:.0f} MiB empty, "
        f"{row['memory_mib']:.0f} MiB now"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
