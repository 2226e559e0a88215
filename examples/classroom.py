"""Shares an image with a room: begins when so many have joined, ends when all of them have it.

python examples/classroom.py FILE RECEIVERS [--here]

With --here it stays on this machine; the receivers then need `--interface lo --ttl 0`.
"""

from __future__ import annotations

import asyncio
import sys

import spinney


def tell(event: spinney.Event) -> None:
    if isinstance(event, spinney.Started):
        print(f"{event.receivers} have joined: sending")
    elif isinstance(event, spinney.Progress) and event.receivers:
        slowest = min(event.receivers, key=lambda each: each.have_bytes)
        print(f"{len(event.receivers)} receivers, the slowest has {slowest.have_bytes:,} bytes")


async def main(path: str, receivers: int, *, here: bool) -> None:
    settings = spinney.Settings(interface="lo", ttl=0) if here else spinney.Settings()
    sharing = await spinney.share(
        path,
        settings=settings,
        wait_for=receivers,
        wait_at_most_s=600,
        until_complete=receivers,
        on_event=tell,
    )
    async with sharing:
        print(sharing.link, flush=True)
        await sharing.wait()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], int(sys.argv[2]), here="--here" in sys.argv))
    except KeyboardInterrupt:
        print("stopped")
    except spinney.SpinneyError as error:
        sys.exit(f"{error.kind}: {error}")
