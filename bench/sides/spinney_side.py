"""One Spinney node as a side of a benchmark: commands on stdin, JSON lines on stdout.

    spinney_side.py ADDRESS PORT TORRENT FOLDER seed|leech UP_BYTES_PER_S

Prints {"ready"}; `go HOST:PORT ...` connects; prints {"done", "at"} when the data is verified
and can be read; `stop` prints what it cost and ends.  With SPINNEY_PROFILE=FILE, writes a
profile of the event loop's thread.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import json
import os
import resource
import sys
import time
from pathlib import Path

import spinney
from spinney.bittorrent.node import BitTorrent
from spinney.bittorrent.settings import Settings
from spinney.content.descriptor import Descriptor
from spinney.content.store import FolderStore
from spinney.content.transfer import Transfer
from spinney.net.address import parse_address
from spinney.net.bound import BoundHost
from spinney.net.limits import Bucket
from spinney.net.live import LiveHost


def say(**row: object) -> None:
    print(json.dumps(row), flush=True)


async def run() -> None:
    address, port, torrent, folder, role, up = sys.argv[1:7]
    host = LiveHost()
    descriptor = Descriptor.parse(Path(torrent).read_bytes())
    transfer = Transfer(host, descriptor, FolderStore(host.storage, descriptor, folder))
    await transfer.start(trust=role == "seed")
    bucket = Bucket(float(up) if int(up) else None)
    settings = Settings(port=int(port), addresses=(address,))
    node = BitTorrent(BoundHost(host, [address]), settings, up=bucket)
    await node.start()
    swarm = node.add(descriptor.swarm_hashes, transfer=transfer, info_bytes=descriptor.info_bytes)
    if role == "leech":
        transfer.on_complete(lambda: say(done=True, at=time.monotonic()))
    gc.collect()
    gc.freeze()
    began = resource.getrusage(resource.RUSAGE_SELF)
    say(ready=True, version=f"spinney {spinney.__version__}")
    lines: asyncio.Queue[str] = asyncio.Queue()
    asyncio.get_running_loop().add_reader(sys.stdin, lambda: lines.put_nowait(sys.stdin.readline()))
    while True:
        words = (await lines.get()).split()
        if not words or words[0] == "stop":
            break
        if words[0] == "go":
            swarm.found([parse_address(word) for word in words[1:]], "link")
    status = swarm.status()
    used = resource.getrusage(resource.RUSAGE_SELF)
    say(
        cpu_s=used.ru_utime + used.ru_stime - began.ru_utime - began.ru_stime,
        rss_mib=used.ru_maxrss / 1024,
        uploaded_bytes=status.uploaded_bytes,
        downloaded_bytes=status.downloaded_bytes,
    )
    await node.close()
    await transfer.close()
    host.close()


if target := os.environ.get("SPINNEY_PROFILE"):
    profile = cProfile.Profile()
    profile.enable()
    asyncio.run(run())
    profile.dump_stats(f"{target}.{sys.argv[5]}")
else:
    asyncio.run(run())
