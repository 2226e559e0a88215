"""A tracker of one's own, a private torrent on it, and a peer that finds the other there.

python examples/own_tracker.py
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from spinney import Peer, Settings
from spinney.peer import run_tracker


async def main(folder: Path) -> None:
    (folder / "secret.bin").write_bytes(os.urandom(1_000_000))
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    tracker = asyncio.create_task(
        run_tracker(port=0, interface="lo", on_ready=lambda urls, *_: listening.set_result(urls[0]))
    )
    url = await listening
    print("tracker", url)
    local = Settings(interface="lo", port=0)
    torrent = folder / "secret.torrent"
    async with Peer.live(local) as one, Peer.live(local) as other:
        await one.share(folder / "secret.bin", private=True, trackers=[url], torrent_out=torrent)
        getting = await other.get(torrent, folder / "copy", give_up_s=30)
        done = await getting.wait()
        print(done.paths[0], done.sha256)
    tracker.cancel()
    await asyncio.wait([tracker])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))
