"""`Published`: who signed what a group carries, as its keep-alives bring it.  Pure.

Nothing that is received rests on it: acceptance is by the torrent's own hashes.  It says whose
file this is, and only the link can say whose key that is (`x.pub`).
"""

from __future__ import annotations

from spinney.content.descriptor import Descriptor
from spinney.content.paper import Paper, published, read_published
from spinney.mcftp.codec import PUBLISHED_BYTES_MAX, PUBLISHED_PAGES_MAX
from spinney.mcftp.publishing import Publishing


class Published:
    """Of one transfer.  `publisher`: the key that the link names."""

    def __init__(self, descriptor: Descriptor, publisher: bytes | None = None) -> None:
        self.wanted = publisher
        self._descriptor = descriptor
        self._paper: Paper | None = None
        blob = b""
        paper = descriptor.paper if descriptor.publisher is not None else None
        if paper is not None and publisher in (None, paper.publisher):
            self._paper = paper
            blob = published(paper, descriptor)
        if len(blob) > PUBLISHED_BYTES_MAX * PUBLISHED_PAGES_MAX:
            blob = b""  # 3.7 MB: it would take a quarter of an hour to give
        self.publishing = Publishing(blob, check=self._believes)

    def _believes(self, blob: bytes) -> bool:
        paper = read_published(blob, self._descriptor, self.wanted)
        if self._paper is None:
            self._paper = paper
        return paper is not None

    @property
    def publisher(self) -> str | None:
        """Whose signature holds, in hex; without one, whose is wanted."""
        key = self.wanted if self._paper is None else self._paper.publisher
        return key.hex() if key is not None else None

    @property
    def state(self) -> str | None:
        """`verified`, `unverified` (it holds, but nobody said whose key it is), `missing` (the
        link names a key, and nothing signed by it has come), None: nobody says anything."""
        if self._paper is not None:
            return "verified" if self.wanted is not None else "unverified"
        return "missing" if self.wanted is not None else None
