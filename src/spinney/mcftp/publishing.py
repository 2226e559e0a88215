"""`Publishing`: what the publisher signed, a blob that leaders give to all in pages.  Pure.

What is in it, and whether the signature holds, is the descriptor's to say: `check` is asked when
a blob is whole.  Without a `check`, nothing is taken.  Nothing of a transfer rests on it.
"""

from __future__ import annotations

from collections.abc import Callable

from spinney.mcftp.codec import PUBLISHED_BYTES_MAX, PUBLISHED_PAGES_MAX
from spinney.mcftp.messages import Published

PAGES_AT_ONCE = 4
"""With each keep-alive: 4 kB a second, so that a large blob takes minutes and no bandwidth."""


class Publishing:
    """Gives pages of a blob that is known, or puts one together."""

    def __init__(self, blob: bytes = b"", check: Callable[[bytes], bool] | None = None) -> None:
        assert len(blob) <= PUBLISHED_BYTES_MAX * PUBLISHED_PAGES_MAX
        self.blob = blob
        self._check = check
        self._next = 0
        self._pages: dict[int, bytes] = {}
        self._count = 0
        self._from = b""

    def heard(self, sender: bytes, said: Published) -> bool:
        """True when this page made the blob whole and `check` believes it."""
        if self.blob or self._check is None:
            return False
        if (sender, said.pages) != (self._from, self._count):
            self._from, self._count = sender, said.pages
            self._pages.clear()
        self._pages[said.page] = said.data
        if len(self._pages) < self._count:
            return False
        blob = b"".join(self._pages[page] for page in range(self._count))
        self._pages.clear()
        if not self._check(blob):
            return False
        self.blob = blob
        return True

    def pages(self) -> list[Published]:
        """The next few, over and over."""
        count = -(-len(self.blob) // PUBLISHED_BYTES_MAX)
        rows = []
        for _ in range(min(PAGES_AT_ONCE, count)):
            page = self._next % count
            self._next = page + 1
            at = page * PUBLISHED_BYTES_MAX
            rows.append(Published(page, count, self.blob[at : at + PUBLISHED_BYTES_MAX]))
        return rows
