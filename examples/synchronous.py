"""For programs that know no asyncio: one call that fetches, with a time limit.

python examples/synchronous.py LINK [FOLDER]
"""

from __future__ import annotations

import asyncio
import sys

import spinney


def fetch(link: str, folder: str = ".", timeout_s: float | None = None) -> list[str]:
    """The paths of what was fetched, whole and verified.

    Raises `spinney.SpinneyError`, or `TimeoutError`; what was verified stays and is not
    fetched again.
    """

    async def work() -> list[str]:
        async with asyncio.timeout(timeout_s):
            done = await spinney.get(link, folder)
        return list(done.paths)

    return asyncio.run(work())


if __name__ == "__main__":
    for path in fetch(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ".", timeout_s=600):
        print(path)
