"""Shares a file until Ctrl-C, and says what happens.

python examples/share_file.py FILE
"""

from __future__ import annotations

import asyncio
import sys

import spinney


def tell(event: spinney.Event) -> None:
    """Every event is a small frozen object; the command's `--json` prints the same ones."""
    if isinstance(event, spinney.Progress):
        print(f"{event.sent_bytes:,} bytes sent to {event.peers} peers")
    elif isinstance(event, spinney.Warning):
        print(f"warning: {event.message}")


async def main(path: str) -> None:
    async with await spinney.share(path, on_event=tell) as sharing:
        print(sharing.link, flush=True)
        await sharing.wait()  # until it is cancelled, as Ctrl-C does


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1]))
    except KeyboardInterrupt:
        print("stopped")
    except spinney.SpinneyError as error:
        sys.exit(f"{error.kind}: {error}")
