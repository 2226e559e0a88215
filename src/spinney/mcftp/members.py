"""`Members`: what a leader knows of those in its group, by their status reports.  Pure, bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from spinney.mcftp.messages import Status
from spinney.mcftp.schedule import Holder


@dataclass(slots=True)
class Member:
    """One peer.  `held`: its blocks as bits; `round`: the last status request it answered."""

    peer: bytes
    joined_at: float
    heard_at: float
    held: int = 0
    complete: bool = False
    have_blocks: int = 0
    up_bytes_per_s: int = 0
    down_bytes_per_s: int = 0
    port: int = 0
    uptime_s: int = 0
    loss: float = 0.0
    receives: bool = False
    sends: bool = False
    leads: bool = False
    round: int = 0
    reported_at: float = float("-inf")
    dismissed: bool = False
    """It shall fetch elsewhere for now: nothing is planned for it."""
    sent_blocks: float = 0.0
    """What it has sent in all, in blocks of the file."""


def bits_from(status: Status) -> tuple[int, int]:
    """(mask of the blocks that a status tells of, those that are held)."""
    mask = ((1 << status.count) - 1) << status.first
    raw = int.from_bytes(status.held, "big") >> (-status.count % 8)
    held = int(f"{raw:0{status.count}b}"[::-1], 2) if status.count else 0
    return mask, held << status.first


def held_bytes(bits: int, first: int, count: int) -> bytes:
    """`Status.held` for `count` blocks from `first` on."""
    part = bits >> first & ((1 << count) - 1)
    turned = int(f"{part:0{count}b}"[::-1], 2) if count else 0
    return (turned << (-count % 8)).to_bytes(-(-count // 8), "big")


class Members:
    """At most `most`; when there are more, the one silent for longest makes room."""

    def __init__(self, blocks: int, most: int) -> None:
        self.blocks = blocks
        self.most = most
        self.all = (1 << blocks) - 1
        self._rows: OrderedDict[bytes, Member] = OrderedDict()
        self.finished: dict[bytes, None] = {}
        """Receivers that were seen to have everything, or said so when they left."""
        self.finished_before = 0
        """How many the leader before us had counted: some of those have left, and we never hear of
        them."""
        self._turned: dict[bytes, None] = {}
        """Receivers that we saw lack something, then have everything: not counted before us."""

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._rows.values())

    def get(self, peer: bytes) -> Member | None:
        return self._rows.get(peer)

    def heard(self, peer: bytes, now: float) -> Member:
        """The member, new or known, that has just been heard."""
        member = self._rows.get(peer)
        if member is None:
            member = self._rows[peer] = Member(peer, now, now)
            if len(self._rows) > self.most:
                self._rows.popitem(last=False)
        member.heard_at = now
        self._rows.move_to_end(peer)
        return member

    def report(self, peer: bytes, status: Status, now: float) -> Member:
        """Takes in a status."""
        member = self.heard(peer, now)
        if status.have_blocks >= self.blocks:
            member.held = self.all
        else:
            mask, held = bits_from(status)
            member.held = (member.held & ~mask | held) & self.all
        if status.complete and status.receives:
            self._finishes(peer)
        member.complete = status.complete
        member.have_blocks = min(status.have_blocks, self.blocks)
        member.up_bytes_per_s = status.up_bytes_per_s
        member.down_bytes_per_s = status.down_bytes_per_s
        member.port = status.port
        member.uptime_s = status.uptime_s
        member.loss = status.loss_permille / 1000
        member.receives, member.sends, member.leads = status.receives, status.sends, status.leads
        member.round = max(member.round, status.number)
        member.reported_at = now
        return member

    def _finishes(self, peer: bytes) -> None:
        """A receiver says that it has everything."""
        before = self._rows.get(peer)
        lacked = before is not None and before.reported_at > float("-inf") and not before.complete
        if lacked and len(self._turned) < self.most:
            self._turned[peer] = None
        if len(self.finished) < self.most:
            self.finished[peer] = None

    def remove(self, peer: bytes, *, complete: bool = False) -> Member | None:
        """It goes, and has everything or not."""
        if complete:
            self._finishes(peer)
        return self._rows.pop(peer, None)

    def forget(self, now: float, silent_s: float) -> list[Member]:
        """Drops who was not heard for so long."""
        gone = [member for member in self._rows.values() if now - member.heard_at > silent_s]
        for member in gone:
            del self._rows[member.peer]
        return gone

    # -- what follows -------------------------------------------------------------------

    @property
    def receivers(self) -> list[Member]:
        return [member for member in self._rows.values() if member.receives]

    def joined(self) -> int:
        """Receivers that are here, complete or not."""
        return sum(1 for member in self._rows.values() if member.receives)

    def complete(self) -> int:
        """Receivers that have got everything, each once, also those that have left.

        After a succession it may be too few, never too many: who was whole when we first heard of
        it may have been counted by the leader before us, and who left before we came is a number
        only."""
        return max(len(self.finished), self.finished_before + len(self._turned))

    def lacked(self) -> int:
        """Blocks that some receiver lacks."""
        bits = 0
        for member in self._rows.values():
            if member.receives and not member.complete and not member.dismissed:
                bits |= self.all & ~member.held
        return bits

    def any_but(self, peers: list[bytes]) -> bool:
        """Is there a receiver that lacks something, but for these?"""
        return any(
            member.receives and not (member.complete or member.dismissed or member.peer in peers)
            for member in self._rows.values()
        )

    def readmit(self) -> None:
        """Nobody else lacks anything: those who were dismissed count again."""
        for member in self._rows.values():
            member.dismissed = False

    def holders(self) -> list[Holder]:
        """Who is willing to send, by id."""
        return [
            Holder(member.peer, member.held, member.up_bytes_per_s, member.sent_blocks)
            for member in sorted(self._rows.values(), key=lambda each: each.peer)
            if member.sends and member.held
        ]

    def ranked(self) -> list[Member]:
        """Candidates for leader, the best first: who holds most, is here for longest (in steps
        of a minute), has the fastest line."""
        return sorted(
            (member for member in self._rows.values() if member.leads),
            key=lambda each: (
                -each.have_blocks,
                -(each.uptime_s // 60),
                -each.up_bytes_per_s,
                each.peer,
            ),
        )
