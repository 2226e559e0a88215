"""One peer of MC-FTP, without the swarm, through the library: JSON lines on stdout.

    mcftp_side.py send FOLDER TORRENT --rate BYTES_PER_S --receivers N
    mcftp_side.py receive FOLDER TORRENT

Both print {"ready"}; a sender {"joined": count} as receivers join, and begins at a line on stdin; a
receiver prints {"done", "at"} when it has everything, verified, and then goes on helping the
others.  Each ends politely when it is interrupted or its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal
import sys
import time
from pathlib import Path

import spinney
from spinney.content.descriptor import Descriptor
from spinney.content.store import FolderStore
from spinney.content.transfer import Transfer
from spinney.groups.ip import IpGroups
from spinney.mcftp.lan_directory import LanDirectory, lan_address
from spinney.mcftp.node import McftpNode
from spinney.mcftp.settings import Settings
from spinney.mcftp.view import McftpEvent
from spinney.net.live import LiveHost

LOOK_S = 0.05


def say(**row: object) -> None:
    print(json.dumps(row), flush=True)


def heard(event: McftpEvent) -> None:
    say(event=event.what, detail=event.detail, mine=event.mine)


async def run(chosen: argparse.Namespace) -> None:
    host = LiveHost()
    sends = chosen.role == "send"
    descriptor = Descriptor.parse(Path(chosen.torrent).read_bytes())
    transfer = Transfer(host, descriptor, FolderStore(host.storage, descriptor, chosen.folder))
    await transfer.start(trust=sends)
    groups = IpGroups(host, interfaces=("eth0",), hops=1)
    directory = LanDirectory(host, groups, lan_address(groups))
    await directory.start()
    settings = Settings(
        rate_bytes_per_s=chosen.rate,
        wait_for=1_000_000 if sends else 0,
        until_complete=chosen.receivers if sends else 0,
        send_only=sends,
    )
    node = McftpNode(host, transfer, groups, directory, settings, on_event=heard)
    transfer.on_complete(lambda: None if sends else say(done=True, at=time.monotonic()))
    await node.start()
    gc.collect()
    gc.freeze()
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)

    def line() -> None:
        if sys.stdin.readline():
            node.begin()
        else:
            loop.remove_reader(sys.stdin)
            over.set()

    loop.add_reader(sys.stdin, line)
    say(ready=True, version=f"spinney {spinney.__version__}")
    joined = -1
    while not over.is_set() and not node.enough.is_set():
        if sends and (now := node.view().joined) != joined:
            joined = now
            say(joined=joined)
        try:
            async with asyncio.timeout(LOOK_S):
                await over.wait()
        except TimeoutError:
            pass
    say(view=repr(node.view()))
    await node.close()
    await directory.close()
    await transfer.close()
    host.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("role", choices=["send", "receive"])
    parser.add_argument("folder")
    parser.add_argument("torrent")
    parser.add_argument("--rate", type=int, default=Settings().rate_bytes_per_s)
    parser.add_argument("--receivers", type=int, default=0)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
