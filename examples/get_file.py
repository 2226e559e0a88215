"""Fetches a link with a progress line; run it again after Ctrl-C and it resumes.

python examples/get_file.py LINK [FOLDER]
"""

from __future__ import annotations

import asyncio
import sys

import spinney


def tell(event: spinney.Event) -> None:
    if isinstance(event, spinney.Progress) and event.total_bytes:
        share = 100 * event.have_bytes / event.total_bytes
        print(f"{share:5.1f} %  {event.down_bytes_per_s / 1e6:.1f} MB/s  peers: {event.peers}")


async def main(link: str, folder: str) -> None:
    try:
        done = await spinney.get(link, folder, give_up_s=60, on_event=tell)
    except spinney.SpinneyError as error:
        sys.exit(f"{error.kind}: {error}")
    print(done.paths[0], done.sha256)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "."))
