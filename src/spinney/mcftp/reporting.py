"""`Reporting`: what a member tells its leader: that it is here, what it holds, how far it sends."""

from __future__ import annotations

import asyncio
from collections import deque
from hashlib import sha256
from typing import TYPE_CHECKING

from spinney.errors import WireError
from spinney.mcftp import codec
from spinney.mcftp import messages as m
from spinney.mcftp.members import held_bytes
from spinney.trust.seal import seal

if TYPE_CHECKING:
    from spinney.mcftp.node import McftpNode

JOIN_SPREAD_S = 0.05
"""A newcomer reports at a random moment of so long, or later where many are heard."""
COUNT_EVERY_S = 0.2
"""How often blocks are counted: a terabyte has a million of them."""
SENT_EVERY_S = 0.5
"""How often a sender says where it is."""
SENT_LOOK_S = 0.1
"""How often it looks whether all has gone by, which is told at once."""
COUNT_AT_ONCE = 2_048
"""So few blocks are counted for each report: what came just now is not sent by others, too."""
PAGES_MAX = 8
"""Of one report: 32,768 blocks.  More are told by the reports that follow, in turn."""
LAST_TIMES = 3
LAST_PAUSE_S = 0.02
"""Who leaves with everything says so so often."""
UNSERVED_EVERY_S = 0.5
"""So often one reports who lacks what no stream carries: the leader may not have heard of it."""
SMALL_GROUP = 64
"""In a group of so few a newcomer, and who has everything, reports twice: a report that is lost is
asked for late."""
TWICE_S = 0.25
NEVER = float("inf")


class Reporting:
    """The reports of one node; `act` does what is due."""

    def __init__(self, node: McftpNode) -> None:
        self._node = node
        self._host = node.host
        self._hello_at = NEVER
        self._report_at = NEVER
        self._number = 0
        self._page = 0
        self._heard: deque[float] = deque(maxlen=node.settings.most_reports_heard)
        self._unheld: list[int] = list(range(node.layout.block_count))
        self._held = 0
        self._counted = -1
        self._counted_at = float("-inf")
        self._started_at = self._host.time()
        interested = node.settings.interested
        self.receives = not node.transfer.complete if interested is None else interested
        self._again_at = NEVER
        self._unserved_at = NEVER
        self._sent_at = 0.0
        self._looked_at = 0.0
        self._passed: dict[int, tuple[bytes, bool]] = {}

    # -- what is held -------------------------------------------------------------------

    @property
    def held(self) -> int:
        """The blocks that are here, as bits; blocks do not go away again."""
        return self._count(COUNT_EVERY_S)

    def _count(self, every_s: float) -> int:
        have, layout = self._node.transfer.have, self._node.layout
        now = self._host.time()
        fresh = now - self._counted_at < every_s and not self._node.transfer.complete
        if have.count != self._counted and not fresh:
            self._counted, self._counted_at = have.count, now
            left = []
            for block in self._unheld:
                if all(piece in have for piece in layout.pieces_of(block)):
                    self._held |= 1 << block
                else:
                    left.append(block)
            self._unheld = left
        return self._held

    @property
    def held_blocks(self) -> int:
        self.held  # noqa: B018
        return self._node.layout.block_count - len(self._unheld)

    def status(self, first: int, count: int) -> m.Status:
        """How it stands with us, with the blocks from `first` on."""
        node, settings = self._node, self._node.settings
        held = self._count(0.0 if len(self._unheld) <= COUNT_AT_ONCE else COUNT_EVERY_S)
        whole = not self._unheld
        may_lead = settings.may_lead and (node.leading is not None or node.leaderships.room)
        return m.Status(
            number=self._number,
            complete=node.transfer.complete,
            have_blocks=self.held_blocks,
            first=0 if whole else first,
            count=0 if whole else count,
            held=b"" if whole else held_bytes(held, first, count),
            up_bytes_per_s=settings.up_bytes_per_s,
            down_bytes_per_s=int(node.flows.rate_bytes_per_s()),
            port=settings.swarm_port,
            uptime_s=int(self._host.time() - self._started_at),
            loss_permille=min(1_000, round(1000 * node.flows.loss())),
            receives=self.receives,
            sends=settings.may_send and node.flows.sends and not node.transfer.sink.in_order,
            leads=may_lead and held > 0,
        )

    # -- when ---------------------------------------------------------------------------

    def joined(self, members: int = 0) -> None:
        """A new group or a new leader: we say hello, then report."""
        now, rng = self._host.time(), self._host.rng
        self._hello_at = now + rng.uniform(0.0, self._node.settings.hello_spread_s)
        self._number = 0
        if members:
            self._hello_at = NEVER
            spread = max(JOIN_SPREAD_S, members / self._node.settings.status_per_s)
            self._report_at = now + rng.uniform(0.0, spread)
            if members < SMALL_GROUP:
                self._again_at = self._report_at + rng.uniform(TWICE_S / 2, TWICE_S)

    def served(self, carried: int) -> None:
        """A schedule carries these blocks, as bits."""
        node, said = self._node, self._node.last_keep_alive
        lacks = self.receives and not node.transfer.complete
        wanted = ((1 << node.layout.block_count) - 1) & ~self.held
        self._unserved_at = NEVER
        if lacks and said is not None and said.started and wanted & ~carried:
            self._unserved_at = self._host.time() + self._unserved_wait_s(said.members)

    def _unserved_wait_s(self, members: int) -> float:
        every = max(UNSERVED_EVERY_S, members / self._node.settings.status_per_s)
        return self._host.rng.uniform(0.2, 1.0) * every

    def soon(self) -> None:
        """Something that the leader wants to know: we are complete."""
        rng, said = self._host.rng, self._node.last_keep_alive
        at = self._host.time() + rng.uniform(0.0, JOIN_SPREAD_S)
        self._report_at = min(self._report_at, at)
        if said is not None and said.members < SMALL_GROUP:
            self._again_at = at + rng.uniform(TWICE_S / 2, TWICE_S)

    def asked(self, said: m.StatusRequest, now: float) -> None:
        """The leader's request: answered if we are in the slice, at a random moment."""
        turn = int.from_bytes(sha256(said.reign + self._node.keys.peer).digest()[:4], "big")
        if turn % said.slices == said.slice:
            self._number = said.number
            self._report_at = now + self._host.rng.uniform(0.0, said.window_ms / 1000)

    def heard_report(self, now: float) -> None:
        """Somebody else's: a thousand who join at once put theirs off."""
        self._heard.append(now)

    def next_at(self) -> float:
        rows = [self._hello_at, self._report_at, self._again_at, self._unserved_at]
        if self._node.flows.sending and self._node.leading is None:
            rows.append(self._looked_at + SENT_LOOK_S)
        return min(rows)

    def act(self, now: float) -> None:
        """Says what is due."""
        node = self._node
        if now >= self._hello_at:
            self._hello_at = NEVER
            if node.election.leader == b"":
                node.say(m.Hello(node.settings.swarm_port))
        if now >= self._again_at:
            self._again_at = NEVER
            self._report_at = min(now, self._report_at)
        if now >= self._unserved_at:
            said = node.last_keep_alive
            self._unserved_at = NEVER
            if said is not None and not node.transfer.complete:
                self._unserved_at = now + self._unserved_wait_s(said.members)
                self._report_at = min(now, self._report_at)
        if now >= self._report_at:
            self._report_at = NEVER
            if node.leading is None and node.last_keep_alive is not None:
                self._report(now)
        if node.flows.sending and node.leading is None and now >= self._looked_at + SENT_LOOK_S:
            self._looked_at = now
            self._tell_sent(now)

    # -- saying it ----------------------------------------------------------------------

    def _report(self, now: float) -> None:
        heard = self._heard
        if len(heard) == heard.maxlen and now - heard[0] < 1.0:
            self._report_at = now + self._host.rng.uniform(0.5, 1.5)
            return
        blocks = self._node.layout.block_count
        pages = max(1, -(-blocks // m.STATUS_BITS_MAX))
        for _ in range(min(pages, PAGES_MAX)):
            first = (self._page % pages) * m.STATUS_BITS_MAX
            self._page += 1
            status = self.status(first, min(m.STATUS_BITS_MAX, blocks - first))
            self._say(status)
            if not status.count:
                break

    async def last(self) -> None:
        """We leave.  Who has everything says so more than once: nobody can ask it again."""
        node = self._node
        complete = self.receives and node.transfer.complete
        for number in range(LAST_TIMES if complete else 1):
            if number:
                await asyncio.sleep(LAST_PAUSE_S)
                if not node.election.reign:
                    return  # the group has moved meanwhile
            node.say(m.Leave(node.election.reign, complete))

    def _say(self, status: m.Status) -> None:
        node, leader = self._node, self._node.last_keep_alive
        assert leader is not None
        try:
            box = seal(
                leader.sealing_key,
                codec.encode_status(status),
                leader.reign,
                self._host.entropy(32),
            )
        except WireError:
            return  # a leader with a key that is none learns nothing
        node.say(m.SealedStatus(leader.reign, box))

    def sent(self) -> list[m.Sent]:
        """Where our streams are."""
        election = self._node.election
        rows = []
        for number, sending in self._node.flows.sending.items():
            progress = sending.progress
            rows.append(
                m.Sent(
                    election.reign,
                    election.leader_term,
                    number,
                    min(progress.position, m.BLOCKS_MAX),
                    sending.finished,
                    progress.sent_bytes,
                )
            )
        return rows

    def _tell_sent(self, now: float) -> None:
        rows = self.sent()
        sending = self._node.flows.sending
        passed = {
            said.stream: (sending[said.stream].stream.address, said.finished)
            for said in rows
            if said.position >= sending[said.stream].progress.blocks
        }
        news = passed != self._passed
        self._passed = passed
        if news or now - self._sent_at >= SENT_EVERY_S:
            self._sent_at = now
            for said in rows:
                self._node.say(said)
