"""`Finishing`: who has got everything, and is that so?  For `share --until-complete N`.

Saying "I have all of it" costs nothing, so saying counts for nothing.  One who says so is asked
for a few blocks, drawn at random, and these are compared with ours: a proof of possession for
64 KiB.  Many clients hang up on a seed in the moment in which they have everything; those count
without a proof if this seed itself sent them a fair part.  Counted are addresses, never
connections or peer ids (which cost nothing either); on loopback, where everybody has one
address, peer ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from spinney.bittorrent.codec import encode, encode_requests
from spinney.bittorrent.messages import BLOCK_BYTES, Interested, NotInterested
from spinney.bittorrent.rationing import who
from spinney.errors import SpinneyError
from spinney.net.host import Rng

if TYPE_CHECKING:
    from spinney.bittorrent.peer import Peer
    from spinney.content.transfer import TransferLike

PROOF_BLOCKS = 4
"""One who lacks a tenth gets through with all four in two of three times, one who lacks half
in one of sixteen; each further try needs a new connection and `RETRY_S`."""
PROOF_S = 30.0
"""A claimant with busy slots unchokes us within three rounds of choking; then it is let go."""
RETRY_S = 60.0
"""Between two proofs asked of one address."""
FAIR_SHARE = 0.5
"""Without a proof: this part of (the content / the addresses that took from us) came from us."""
KNOWN_KEPT = 10_000
"""Addresses remembered, each with what it took; further ones are not counted."""


class Proof:
    """The blocks asked of one claimant; its `Peer` hands over what comes."""

    def __init__(self, rows: list[tuple[int, int, int]]) -> None:
        self.unchoked = asyncio.Event()
        self._waiting: dict[tuple[int, int], asyncio.Future[bytes | None]] = {
            (piece, begin): asyncio.get_running_loop().create_future() for piece, begin, _ in rows
        }
        self.rows = rows

    def took(self, piece: int, begin: int, data: memoryview) -> bool:
        """Was this block asked for as a proof?"""
        answer = self._waiting.get((piece, begin))
        if answer is None or not self.unchoked.is_set():
            return False
        if not answer.done():
            answer.set_result(bytes(data))
        return True

    def ended(self) -> None:
        """It was refused, choked, or the connection is gone."""
        self.unchoked.set()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result(None)

    async def holds(self, transfer: TransferLike, ask: Callable[[], None]) -> bool | None:
        """Do the blocks equal ours?  None: they did not come."""
        await self.unchoked.wait()
        ask()
        for piece, begin, length in self.rows:
            theirs = await self._waiting[(piece, begin)]
            if theirs is None:
                return None
            offset = piece * transfer.descriptor.piece_length + begin
            if theirs != bytes(await transfer.read(offset, length)):
                return False
        return True


class Finishing:
    """Counts the addresses that have everything.  Does nothing until `wanted`.

    `ban(peer, reason)`: it sent wrong bytes.  `over(peer)`: nothing more is wanted of it.
    """

    def __init__(
        self, rng: Rng, ban: Callable[[Peer, str], None], over: Callable[[Peer], None]
    ) -> None:
        self.wanted = False
        self._rng = rng
        self._ban = ban
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._counted: dict[object, bytes] = {}
        """With the peer id of each."""
        self._took_bytes: dict[object, int] = {}
        """By address, over connections that have ended."""
        self._tasks: dict[int, asyncio.Task[None]] = {}
        """Proofs under way, by the peer's key; at most as many as there are connections."""
        self._tried_at: dict[object, float] = {}

    @property
    def count(self) -> int:
        return len(self.peer_ids)

    @property
    def peer_ids(self) -> list[bytes]:
        """Of those that are counted: one who comes by IPv4 and by IPv6 is one."""
        return list(dict.fromkeys(self._counted.values()))

    def proving(self, peer: Peer) -> bool:
        """Is it still being asked?  Then its connection must stay."""
        return peer.key in self._tasks

    def claimed(self, peer: Peer, transfer: TransferLike) -> None:
        """It says that it has everything."""
        address, now = who(peer), self._loop.time()
        idle = not self.wanted or address in self._counted or peer.key in self._tasks
        if idle or now - self._tried_at.get(address, float("-inf")) < RETRY_S:
            return
        if len(self._tried_at) >= KNOWN_KEPT:
            return
        self._tried_at[address] = now
        self._tasks[peer.key] = self._loop.create_task(self._prove(peer, transfer))

    async def _prove(self, peer: Peer, transfer: TransferLike) -> None:
        rows = draw(transfer, self._rng)
        proof = peer.proof = Proof(rows)
        if not peer.downloader.choked:
            proof.unchoked.set()
        peer.connection.send(encode(Interested()))
        ask = _asking(peer, rows)
        try:
            holds = await _within(proof.holds(transfer, ask))
        except SpinneyError:
            holds = None  # ours cannot be read: the transfer hears of it by itself
        finally:
            peer.proof = None
            self._tasks.pop(peer.key, None)
        if holds is False:
            self._ban(peer, "claims to have what it has not")
            return
        if holds or self._fair(peer):
            self._count(peer)
        if not peer.connection.closed:
            peer.connection.send(encode(NotInterested()))
            self._over(peer)

    def _fair(self, peer: Peer) -> bool:
        """Did so much of it come from us that its word may be taken?"""
        total = self._total(peer)
        takers = sum(1 for took in self._took_bytes.values() if took >= BLOCK_BYTES)
        address = who(peer)
        takers += self._took_bytes.get(address, 0) < BLOCK_BYTES
        return self._took(peer) >= FAIR_SHARE * total / max(1, takers)

    def _took(self, peer: Peer) -> int:
        live = 0 if peer.counted_out else peer.uploader.meter.total_bytes
        return self._took_bytes.get(who(peer), 0) + live

    @staticmethod
    def _total(peer: Peer) -> int:
        transfer = peer.uploader.transfer
        return transfer.descriptor.total_bytes if transfer is not None else 1 << 62

    def _count(self, peer: Peer) -> None:
        address = who(peer)
        if len(self._counted) < KNOWN_KEPT:
            self._counted[address] = peer.peer_id

    def left(self, peer: Peer) -> None:
        """The connection has ended: what it took stays with its address."""
        address, took = who(peer), peer.uploader.meter.total_bytes
        known = address in self._took_bytes or len(self._took_bytes) < KNOWN_KEPT
        if took and known:
            self._took_bytes[address] = self._took_bytes.get(address, 0) + took
        peer.counted_out = bool(took and known)
        if peer.proof is not None:
            peer.proof.ended()

    async def close(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


async def _within(work: Awaitable[bool | None]) -> bool | None:
    try:
        async with asyncio.timeout(PROOF_S):
            return await work
    except TimeoutError:
        return None


def _asking(peer: Peer, rows: list[tuple[int, int, int]]) -> Callable[[], None]:
    def ask() -> None:
        if not peer.connection.closed:
            peer.connection.send(encode_requests(rows))

    return ask


def draw(transfer: TransferLike, rng: Rng) -> list[tuple[int, int, int]]:
    """(piece, begin, length) of a few different blocks of the content, by chance."""
    descriptor = transfer.descriptor
    rows: dict[tuple[int, int, int], None] = {}
    for _ in range(PROOF_BLOCKS):
        piece = rng.randrange(descriptor.piece_count)
        size = descriptor.piece_bytes(piece)
        begin = rng.randrange(-(-size // BLOCK_BYTES)) * BLOCK_BYTES
        rows[(piece, begin, min(BLOCK_BYTES, size - begin))] = None
    return list(rows)
