"""Two peers in one event loop: one shares, the other fetches and watches its events.

python examples/two_peers_one_process.py
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from spinney import Done, Peer, Progress, Settings


async def main(folder: Path) -> None:
    original = folder / "original.bin"
    original.write_bytes(os.urandom(4_000_000))
    local = Settings(interface="lo", port=0, lan=False)
    async with Peer.live(local) as one, Peer.live(local) as other:
        sharing = await one.share(original, torrent_out=folder / "original.torrent")
        getting = await other.get(sharing.link, folder / "copy")
        async for event in getting.events():
            if isinstance(event, Progress):
                print(f"{event.have_bytes:,} of {event.total_bytes or 0:,} bytes")
            elif isinstance(event, Done):
                print(f"done: {event.bytes:,} bytes in {event.seconds:.2f} s")
        done = await getting.wait()
    assert Path(done.paths[0]).read_bytes() == original.read_bytes()
    print("the same bytes")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(main(Path(name)))
