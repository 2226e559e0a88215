"""`end_all`: ends several things, each whatever becomes of the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from spinney.errors import StorageError

log = logging.getLogger("spinney.peer")

End = Callable[[], Awaitable[None] | None]


async def end_all(*ends: End) -> None:
    """Calls one after the other, all of them.

    What goes wrong while something ends is no failure of the work that was done before: it is
    logged.  Only a `StorageError` is raised, after all have ended (what is on the disk may not
    stay there), or a cancellation that came meanwhile.
    """
    raised: BaseException | None = None
    for end in ends:
        try:
            awaited = end()
            if awaited is not None:
                await awaited
        except (StorageError, asyncio.CancelledError) as error:
            raised = raised or error
        except Exception:
            log.warning("while it ended", exc_info=True)
    if raised is not None:
        raise raised


async def end_together(*ends: End) -> None:
    """As `end_all`, side by side: each may take its time to say goodbye."""
    rows = await asyncio.gather(*(end_all(end) for end in ends), return_exceptions=True)
    for row in rows:
        if row is not None:
            raise row
