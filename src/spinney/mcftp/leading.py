"""`Leading`: a node while it leads: speaks for a `Leader`, reserves and releases addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from spinney.errors import WireError
from spinney.mcftp import codec
from spinney.mcftp import messages as m
from spinney.mcftp.directory import group_key
from spinney.mcftp.leader import Leader
from spinney.mcftp.stream import Stream
from spinney.mcftp.view import McftpEvent, ReceiverView
from spinney.trust.seal import SealingKeys

if TYPE_CHECKING:
    from spinney.mcftp.node import McftpNode

TICK_S = 0.1
"""How often a leader looks at how its streams are."""
ADDRESS_TRIES = 4
REPEATS = 2
REPEAT_S = 0.035
"""A new schedule is told so often again, so soon: before its first symbol is sent (`JOIN_S`), and
who lost the first telling does not stay out for a whole interval."""
PROPOSAL_INTERVALS = 2.0
"""A new electorate that its electors have not accepted in so many intervals is withdrawn."""


class Leading:
    """From election to abdication."""

    def __init__(
        self,
        node: McftpNode,
        now: float,
        last: m.KeepAlive | None,
        streams: Sequence[Stream],
    ) -> None:
        self._node = node
        self._host = node.host
        self._sealing = SealingKeys(self._host.entropy(32))
        layout = node.layout
        blocks = layout.block_count
        mean_bytes = layout.size_bytes // blocks if blocks else 1
        same = last is not None and last.reign == node.election.reign
        self.leader = Leader(
            node.keys.peer,
            blocks,
            mean_bytes,
            node.settings,
            now,
            started=same and last is not None and last.started,
        )
        self.leader.spare += node.spare
        node.spare.clear()
        self.leader.members.finished = node.finished
        if last is not None:  # of another reign too: who has got everything keeps it
            self.leader.members.finished_before = last.complete
        if same:
            self.leader.inherit(streams, node.previous_leader, now)
        self._begun_at = now - (last.age_ms / 1000 if same and last is not None else 0.0)
        self._spoke_at = float("-inf")
        self._speak_soon = True
        self._told_serial = -1
        self._proposed_at = now
        self._reserving: asyncio.Task[None] | None = None
        self._was_started = self.leader.started
        self._repeats = REPEATS
        self._round_seen = 0
        self._unwanted = 0
        """Blocks that no member lacked when they were asked last."""
        self.mute = False
        """We have handed over: another keep-alive would take it back."""
        self.next_at = now

    def close(self) -> None:
        """Another one leads, or nobody: the addresses stay reserved until they run out, and what
        others were to send is ours again if it is asked for."""
        for sending in self._node.flows.sending.values():
            sending.leave(0)
        if self._reserving is not None:
            self._reserving.cancel()

    # -- hearing ------------------------------------------------------------------------

    def heard(self, sender: bytes, said: m.Message, now: float) -> None:
        """From a member, verified."""
        leader = self.leader
        if isinstance(said, m.SealedStatus):
            if said.reign == self._node.election.reign:
                try:
                    plain = self._sealing.open(said.box, said.reign)
                    leader.report(sender, codec.decode_status(plain), now)
                except WireError:
                    self._node.malformed += 1
        elif isinstance(said, m.Hello):
            self._speak_soon = True
        elif isinstance(said, m.Sent):
            leader.sent(sender, said, now)
        elif isinstance(said, m.Leave):
            leader.left(sender, complete=said.complete)

    # -- acting -------------------------------------------------------------------------

    def act(self, now: float) -> None:
        """Does what is due and says what is new."""
        self.next_at = now + TICK_S
        if self.mute:
            return
        node, leader = self._node, self.leader
        reporting = node.reporting
        leader.report(node.keys.peer, reporting.status(0, 0), now)
        own = leader.members.get(node.keys.peer)
        assert own is not None
        own.held = reporting.held
        for said in reporting.sent():
            leader.sent(node.keys.peer, said, now)
        for number, address in node.flows.failed.items():
            leader.failed(number, address)
        self._dismiss(now)
        leader.tick(now)
        lacked = leader.members.lacked()
        if leader.round != self._round_seen and now >= leader.window_ends:
            self._round_seen = leader.round
            self._unwanted = leader.members.all & ~lacked
        # Between rounds: nobody is left who lacks anything, or somebody has come who does.
        self._unwanted = self._unwanted & ~lacked if lacked else leader.members.all
        self._reserve()
        request = leader.request(
            node.election.reign, node.election.leader_term, self._sealing.public, now
        )
        self._elect(now)
        self._notice()
        changed = leader.serial != self._told_serial
        if node.election.rivals:
            node.election.rivals = 0
            self._speak_soon = True
        interval = node.settings.keep_alive_s
        least = node.settings.keep_alive_least_s
        since = now - self._spoke_at
        if since >= interval:
            self._publish()
        again = self._repeats > 0 and since >= REPEAT_S
        if changed:
            self._repeats = REPEATS
        elif again:
            self._repeats -= 1
        if changed or again or since >= interval or (self._speak_soon and since >= least):
            self._speak(now)
        if request is not None:
            node.say(request)
        soon = self._speak_soon and self._spoke_at + least
        self.next_at = min(now + TICK_S, soon or now + TICK_S)
        if self._repeats:
            self.next_at = min(self.next_at, self._spoke_at + REPEAT_S)

    def _speak(self, now: float) -> None:
        node, leader, election = self._node, self.leader, self._node.election
        streams = leader.streams
        pages = codec.pages(streams)
        if leader.serial != self._told_serial:
            node.apply(streams)
        self._told_serial = leader.serial
        self._spoke_at = now
        self._speak_soon = False
        for number, page in enumerate(pages):
            node.say(
                m.KeepAlive(
                    reign=election.reign,
                    term=election.leader_term,
                    serial=leader.serial,
                    page=number,
                    pages=len(pages),
                    interval_ms=max(10, round(node.settings.keep_alive_s * 1000)),
                    age_ms=max(0, round((now - self._begun_at) * 1000)),
                    members=len(leader.members),
                    complete=leader.members.complete(),
                    started=leader.started,
                    sealing_key=self._sealing.public,
                    electorate=election.electorate,
                    proposed=election.proposed,
                    streams=page,
                )
            )

    def _publish(self) -> None:
        for page in self._node.publishing.pages():
            self._node.say(page)

    def _dismiss(self, now: float) -> None:
        """Who loses most of what we send goes elsewhere until the others have it all; what nobody
        lacks is not sent, nor, again, what others will send."""
        node, members = self._node, self.leader.members
        sendings = list(node.flows.sending.values())
        for number, sending in node.flows.sending.items():
            sending.leave(self.leader.left_to_others(number, now))
        for sending in sendings:
            losing = sending.losing(node.settings.dismiss_after_s)
            if not members.any_but(losing):
                losing = []  # all lose: it is not they
            for peer in losing:
                member = members.get(peer)
                if member is not None:
                    member.dismissed = not member.complete
                sending.dismiss(peer)
            sending.skip(self._unwanted)
        if any(sending.dismissed for sending in sendings) and not members.lacked():
            members.readmit()
            for sending in sendings:
                sending.readmit()

    def _elect(self, now: float) -> None:
        """Keeps the electorate such as it ought to be."""
        election = self._node.election
        if election.proposed is None:
            self._proposed_at = now
            wanted = self.leader.electorate()
            if set(wanted) != set(election.electorate.peers):
                election.propose(wanted)
                self._speak_soon = True
        elif now - self._proposed_at > PROPOSAL_INTERVALS * self._node.settings.keep_alive_s:
            election.withdraw()

    def _notice(self) -> None:
        node, leader = self._node, self.leader
        if leader.started and not self._was_started:
            self._was_started = True
            node.tell(McftpEvent("started", mine=True))
        node.count_complete(leader.members.complete())

    # -- addresses ----------------------------------------------------------------------

    def _reserve(self) -> None:
        leader = self.leader
        while leader.freed:
            self._node.reservations.drop_later(group_key(leader.freed.pop()))
        if leader.addresses_wanted and (self._reserving is None or self._reserving.done()):
            self._reserving = asyncio.get_running_loop().create_task(
                self._reserve_some(leader.addresses_wanted)
            )

    async def _reserve_some(self, count: int) -> None:
        await asyncio.gather(*(self._reserve_one() for _ in range(count)))

    async def _reserve_one(self) -> None:
        """One more address for a stream, free by the directory."""
        node = self._node
        for _ in range(ADDRESS_TRIES):
            address = node.groups.candidate(self._host.rng)
            if await node.reservations.claim(group_key(address), node.file):
                self.leader.spare.append(address)
                node.wake()
                return

    # -- what is seen -------------------------------------------------------------------

    def receivers(self) -> tuple[ReceiverView, ...]:
        now, me = self._host.time(), self._node.keys.peer
        return tuple(
            ReceiverView(
                member.peer.hex(),
                member.have_blocks,
                self.leader.blocks,
                member.complete,
                member.loss,
                member.down_bytes_per_s,
                now - member.heard_at,
            )
            for member in sorted(self.leader.members, key=lambda each: each.joined_at)
            if member.receives and member.peer != me
        )
