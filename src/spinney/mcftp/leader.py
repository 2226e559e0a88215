"""`Leader`: what the leader of a term does: keep-alives, status requests, the plan.  Pure.

A stream runs until nobody lacks what it carries, its sender is gone, or others do it better.
What is sent is planned anew when the streams have sent their blocks once and receivers still
lack some, when a sender is gone, and when somebody holds blocks that no stream carries; streams
that run well are left alone, so that nothing is sent twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spinney.mcftp import codec
from spinney.mcftp.members import Member, Members
from spinney.mcftp.messages import BLOCKS_MAX, Message, Sent, Status, StatusRequest
from spinney.mcftp.reliance import Reliance
from spinney.mcftp.schedule import Holder, assign, bits_of, choose, ordered
from spinney.mcftp.settings import Settings
from spinney.mcftp.stream import Stream

GATHER_S = 0.3
"""From the first receiver to the start, when no number to wait for is given: others follow."""
STUCK_S = 6.0
"""When a stream's blocks have gone by, repair is asked for and sent: if for so long nobody lacks
less, others are to send."""
STUCK_BLOCKS = 8
"""…or as long as so many blocks take, on a slow stream."""
LATE_S = 1.0
LATE_SHARE = 0.05
"""Who came so long after a stream began, and lacks more than this of the file when it has gone by,
is served by others than its sender."""
SLOW_LOSS = 0.3
SAME_LOSS = 0.8
SLOWEST_PART = 50
"""Those who lose more than 30 % are slow, not unlucky; nobody slows a stream below 1/50."""
HAND_ON_S = 1.0
"""So long after its blocks have gone by, a sender leaves to others what late ones lack."""
PLAN_EVERY_S = 0.5
"""Between two plans, at least."""
ASKED_LATELY_S = 0.5
"""Before others are told to send, all have been asked within so long."""
ADDRESS_WAIT_S = 1.0
"""How long a plan waits for the addresses of all its senders."""
NUMBERS = 256


@dataclass(slots=True)
class Running:
    """One stream of the plan.  `position`: blocks of its order that have gone by."""

    stream: Stream
    begun_at: float
    heard_at: float
    position: int = 0
    passed_at: float | None = None
    """When its last block had gone by."""
    finished: bool = False
    """Its sender says that nobody has asked for repair for a while."""
    sent_bytes: int = 0
    lacked: int = BLOCKS_MAX
    """Its blocks that receivers lacked when it was looked last, and since when so many."""
    lacked_since: float = 0.0
    slow_loss: float = 0.0
    """What those lost who were left when it was slowed."""
    unwanted_round: int | None = None
    """The round of requests in which nobody lacked any of its blocks any more."""

    @property
    def bits(self) -> int:
        return bits_of(self.stream.blocks)

    @property
    def passed(self) -> bool:
        return self.position >= self.stream.block_count

    def ahead(self) -> int:
        """Blocks that are still to come."""
        left, bits = self.position, 0
        for first, count in self.stream.blocks:
            skip = min(left, count)
            left -= skip
            bits |= bits_of([(first + skip, count - skip)])
        return bits


class Leader:
    """Of one term of one reign.  The node hands in time, reports and group addresses, and sends
    what `tick` gives."""

    def __init__(
        self,
        me: bytes,
        blocks: int,
        block_bytes: int,
        settings: Settings,
        now: float,
        *,
        next_number: int = 0,
        sender_numbers: dict[bytes, int] | None = None,
        started: bool = False,
    ) -> None:
        assert blocks <= BLOCKS_MAX
        self.me = me
        self.blocks = blocks
        self.block_bytes = max(1, block_bytes)
        self.settings = settings
        self.members = Members(blocks, settings.members)
        self.running: dict[int, Running] = {}
        self.serial = 0
        self.started = started
        self.begun_at = now
        self.spare: list[bytes] = []
        """Reserved addresses that no stream uses."""
        self.freed: list[bytes] = []
        """Addresses that are to be released."""
        self.round = 0
        self.asked_at = float("-inf")
        self.window_ends = float("-inf")
        self.ask_now = True
        self.elsewhere = 0
        """Receivers that another group of this file serves: `wait_for` waits for them, too."""
        self._next_number = next_number
        self._sender_numbers: dict[bytes, int] = dict(sender_numbers or {})
        self._first_receiver_at: float | None = None
        self._planned_at = float("-inf")
        self._begin_wanted = False
        self._senders_wanted = 1
        self._wanted_since = now
        self._counted_round = 0
        self._reliance = Reliance(me, settings)

    # -- take over ----------------------------------------------------------------------

    def inherit(self, streams: Sequence[Stream], dead: bytes, now: float) -> None:
        """By a successor: goes on with the streams of the one before, but for its own."""
        for stream in streams:
            self._sender_numbers[stream.sender] = stream.sender_number
            self._next_number = max(self._next_number, stream.number + 1)
            if stream.sender == dead:
                self.spare.append(stream.address)
            else:
                self.running[stream.number] = Running(stream, now, now)
        self.serial += 1

    # -- hearing ------------------------------------------------------------------------

    def report(self, peer: bytes, status: Status, now: float) -> Member:
        member = self.members.report(peer, status, now)
        if member.receives and self._first_receiver_at is None:
            self._first_receiver_at = now
        return member

    def sent(self, peer: bytes, said: Sent, now: float) -> None:
        """A sender tells how far it is (also we ourselves)."""
        running = self.running.get(said.stream)
        if running is None or running.stream.sender != peer:
            return
        running.heard_at = now
        member = self.members.get(peer)
        if member is not None:
            member.heard_at = now
            member.sent_blocks += max(0, said.payload_bytes - running.sent_bytes) / self.block_bytes
        running.sent_bytes = max(running.sent_bytes, said.payload_bytes)
        running.finished = said.finished
        running.position = max(running.position, min(said.position, running.stream.block_count))
        if running.passed and running.passed_at is None:
            running.passed_at = now
            self.ask_now = True

    def left(self, peer: bytes, *, complete: bool = False) -> None:
        """A member goes, politely or not; `complete`: it says that it has everything."""
        self.members.remove(peer, complete=complete)
        for number in [n for n, each in self.running.items() if each.stream.sender == peer]:
            self._end(number)
            self.ask_now = True

    def failed(self, number: int, address: bytes) -> None:
        """Our own stream has ended by an error: its blocks go to another."""
        running = self.running.get(number)
        if running is not None and running.stream.address == address:
            self._end(number)

    # -- time ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Start sending now, whoever is here."""
        self._begin_wanted = not self.started
        self.started = True

    def _begin_streams(self, now: float) -> None:
        """What was prepared begins, without what nobody lacks any more."""
        self._begin_wanted = False
        lacked = self.members.lacked()
        for number, running in list(self.running.items()):
            bits = running.bits
            if bits & lacked:
                running.begun_at = running.heard_at = now
                if bits & ~lacked:
                    blocks = tuple(ordered(bits & lacked, self.members.holders()))
                    running.stream = replace(running.stream, blocks=blocks)
            else:
                self._end(number)
        self.serial += 1

    def tick(self, now: float) -> bool:
        """Does what is due; True when the schedule has changed and must be told at once."""
        serial = self.serial
        rounds = -(-max(1, len(self.members)) // self.settings.status_share)
        silent_s = max(self.settings.forget_s, 3.5 * rounds * self.settings.status_s)
        for member in self.members.forget(now, silent_s):
            self.left(member.peer)
        for running in list(self.running.values()):
            silent = now - running.heard_at > self.settings.sender_silent_s
            if silent and running.stream.sender != self.me:
                self._reliance.failed(running.stream.sender, sent=running.position > 0)
                self.left(running.stream.sender)
        if self._counted_round != self.round and now >= self.window_ends:
            self._counted_round = self.round
            self._count_senders(now)
        if not self.started and self._may_start(now):
            self.begin()
        if self._begin_wanted:
            self._begin_streams(now)
        if now - self._planned_at >= PLAN_EVERY_S and now >= self.window_ends:
            if self.started:
                self._consider(now)
            elif self._first_receiver_at is not None:
                self._prepare(now)
        return self.serial != serial

    def _may_start(self, now: float) -> bool:
        first = self._first_receiver_at
        if now - self.begun_at >= self.settings.wait_at_most_s:
            return True
        if self.settings.wait_for:
            return self.members.joined() + self.elsewhere >= self.settings.wait_for
        return first is not None and now - first >= GATHER_S

    # -- status -------------------------------------------------------------------------

    def request(self, reign: bytes, term: int, sealing_key: bytes, now: float) -> Message | None:
        """A status request, when one is due."""
        due = now - self.asked_at >= self.settings.status_s
        if not due and not (self.ask_now and now - self.asked_at >= 0.2):
            return None
        self.ask_now = False
        self.asked_at = now
        self.round += 1
        slices = max(1, -(-len(self.members) // self.settings.status_share))
        asked = max(1, len(self.members) // slices)
        window_s = min(self.settings.status_s / 2, 0.02 + asked / self.settings.status_per_s)
        self.window_ends = now + window_s + 0.02
        return StatusRequest(
            reign, term, self.round, slices, self.round % slices, int(window_s * 1000), sealing_key
        )

    # -- planning -----------------------------------------------------------------------

    def _consider(self, now: float) -> None:
        """Ends streams that are done, plans what is lacking."""
        lacked = self.members.lacked()
        for number, running in list(self.running.items()):
            count = (running.bits & lacked).bit_count()
            if count < running.lacked:
                running.lacked, running.lacked_since = count, now
            # Who still asks its sender for repair lacks it, even if no report of his has come.
            if running.passed and not count and running.finished:
                self._end(number)
                self._reliance.succeeded()
            elif self._is_for_nobody(running, count):
                self._end(number)
        self._slow_down(now)
        carried = 0
        for running in self.running.values():
            carried |= running.bits
        there = 0
        for holder in self.members.holders():
            there |= holder.held
        missing = lacked & there & ~carried
        worn = self._worn(lacked, now)
        if missing or worn:
            for number in worn:
                self._end(number)
                missing |= lacked & there
            for running in self.running.values():
                missing &= ~running.bits
            self._plan(missing, now)

    def _is_for_nobody(self, running: Running, lacked: int) -> bool:
        """Does another member send what nobody has lacked for a whole round of requests?  Whoever
        wanted it has gone, or has it from elsewhere.  (Our own stream passes over such blocks.)"""
        if lacked or running.passed or running.stream.sender == self.me:
            running.unwanted_round = None
        elif running.unwanted_round is None:
            running.unwanted_round = self.round
        return running.unwanted_round is not None and self.round > running.unwanted_round

    def _prepare(self, now: float) -> None:
        """Before the start: what will be sent is planned and told, so that all have joined its
        groups when it begins; and anew for whoever brings or lacks what is not in the plan."""
        lacked, carried, there = self.members.lacked(), 0, 0
        for running in self.running.values():
            carried |= running.bits
        for holder in self.members.holders():
            there |= holder.held
        if lacked & there & ~carried:
            for number in list(self.running):
                self._end(number)
            self._plan(lacked & there, now)

    def _slow_down(self, now: float) -> None:
        """When only those are left that lose most of what is sent, it goes at their pace."""
        for running in self.running.values():
            if running.passed_at is None or now - running.passed_at < 1.0:
                continue
            left = [
                member
                for member in self.members.receivers
                if running.bits & ~member.held and member.reported_at > running.passed_at
            ]
            if not left or any(
                member.loss < SLOW_LOSS or not member.down_bytes_per_s for member in left
            ):
                continue
            slowest = min(member.down_bytes_per_s for member in left)
            least = self.settings.rate_bytes_per_s // SLOWEST_PART
            rate = max(1, least, slowest)
            loss = min(member.loss for member in left)
            if loss > SAME_LOSS * running.slow_loss > 0:
                continue  # it was slowed, and as much is lost: that is not its rate
            if rate < 0.8 * running.stream.rate_bytes_per_s:
                running.slow_loss = loss
                running.stream = replace(running.stream, rate_bytes_per_s=rate)
                self.serial += 1

    def _worn(self, lacked: int, now: float) -> list[int]:
        """Streams whose blocks have gone by, and that somebody lacks much of, or for long."""
        rows = []
        for number, running in self.running.items():
            if running.passed_at is None or not running.bits & lacked:
                continue
            behind = running.bits & lacked & ~running.ahead()
            came_late = self._late(running, behind)
            late = any(member.reported_at > running.passed_at for member in came_late)
            if came_late and not late and now - running.passed_at < HAND_ON_S:
                self.ask_now = True  # its report was lost, or our request
            block_s = self.block_bytes / running.stream.rate_bytes_per_s
            patience_s = max(STUCK_S, STUCK_BLOCKS * block_s)
            stuck = now - max(running.passed_at, running.lacked_since) > patience_s
            if stuck or (late and self._others_can(running, behind)):
                rows.append(number)
        return rows

    def _late(self, running: Running, behind: int) -> list[Member]:
        """Who came long after a stream began, and lacks much of what has gone by."""
        least = max(2, LATE_SHARE * self.blocks)
        return [
            member
            for member in self.members.receivers
            if member.joined_at > running.begun_at + LATE_S
            and (behind & ~member.held).bit_count() > least
        ]

    def left_to_others(self, number: int, now: float) -> int:
        """Blocks, as bits, that a stream's sender does not send again: as soon as all have gone by
        once, others will."""
        running = self.running.get(number)
        if running is None or (running.passed_at or now) + HAND_ON_S < now:
            return 0
        behind = running.bits & self.members.lacked() & ~running.ahead()
        if not self._late(running, behind) or not self._others_can(running, behind):
            return 0
        return behind

    def _others_can(self, running: Running, lacked: int) -> bool:
        """Do others that have sent less hold most of what this one would send again?"""
        mine = self.members.get(running.stream.sender)
        sent = mine.sent_blocks if mine is not None else 0.0
        return any(
            holder.peer != running.stream.sender
            and holder.sent_blocks + self.blocks / 2 < sent
            and 2 * (holder.held & lacked).bit_count() > lacked.bit_count()
            for holder in self.members.holders()
        )

    def _plan(self, wanted: int, now: float) -> None:
        free = self.settings.streams - len(self.running)
        free = min(free, len(self.spare))
        if not wanted or free <= 0:
            return
        if self.addresses_wanted and now - self._wanted_since < ADDRESS_WAIT_S:
            return
        holders = self.members.holders()
        chosen: list[Holder] = []
        for tier in self._reliance.tiers(holders, self.members, self.asked_at):
            left = wanted
            for each in chosen:
                left &= ~each.held
            chosen += choose(left, tier, self.blocks, free - len(chosen))
        others = any(each.peer != self.me for each in chosen)
        if self.started and others and now - self.asked_at > ASKED_LATELY_S:
            self.ask_now = True  # who has died since they were asked is not chosen
            return
        self._planned_at = now
        rate = self._free_rate()
        for share in assign(wanted, chosen, rate, holders):
            self._begin(share.peer, share.runs, share.rate_bytes_per_s, now)
        self._fit()

    def _free_rate(self) -> int:
        """What streams that are still sending leave of the rate."""
        used = sum(
            running.stream.rate_bytes_per_s
            for running in self.running.values()
            if not running.passed
        )
        return max(self.settings.rate_bytes_per_s // 8, self.settings.rate_bytes_per_s - used)

    def _begin(self, peer: bytes, runs: tuple[tuple[int, int], ...], rate: int, now: float) -> None:
        number = next(
            candidate % NUMBERS
            for candidate in range(self._next_number, self._next_number + NUMBERS)
            if candidate % NUMBERS not in self.running
        )
        self._next_number = (number + 1) % NUMBERS
        stream = Stream(number, self.spare.pop(0), peer, self._sender_number(peer), rate, runs)
        self.running[number] = Running(stream, now, now)
        self.serial += 1

    def _sender_number(self, peer: bytes) -> int:
        number = self._sender_numbers.get(peer)
        if number is None:
            number = (max(self._sender_numbers.values(), default=-1) + 1) % NUMBERS
            self._sender_numbers[peer] = number
            if len(self._sender_numbers) > NUMBERS:
                del self._sender_numbers[next(iter(self._sender_numbers))]
        return number

    def _fit(self) -> None:
        """Leaves out what the pages of a keep-alive do not hold."""
        kept = {each.number: each for each in codec.join(codec.pages(self.streams))}
        for number in list(self.running):
            if number in kept:
                self.running[number].stream = kept[number]
            else:
                self._end(number)

    def _end(self, number: int) -> None:
        running = self.running.pop(number)
        if len(self.spare) < 2:
            self.spare.append(running.stream.address)
        else:
            self.freed.append(running.stream.address)
        self.serial += 1

    @property
    def streams(self) -> tuple[Stream, ...]:
        return tuple(self.running[number].stream for number in sorted(self.running))

    @property
    def addresses_wanted(self) -> int:
        """How many more reserved addresses a plan could use."""
        return max(0, self._senders_wanted - len(self.running) - len(self.spare))

    def _count_senders(self, now: float) -> None:
        """How many senders it takes to send what is lacking, or anything at all."""
        chosen = choose(
            self.members.lacked(), self.members.holders(), self.blocks, self.settings.streams
        )
        if len(chosen) > self._senders_wanted:
            self._wanted_since = now
        self._senders_wanted = max(1, len(chosen))

    def electorate(self) -> tuple[bytes, ...]:
        """Who ought to elect: ourselves and the best of the others."""
        others = [each.peer for each in self.members.ranked() if each.peer != self.me]
        return (self.me, *others)[: self.settings.electorate]

    def successor(self) -> bytes | None:
        """Who is to lead when we leave."""
        return next((each.peer for each in self.members.ranked() if each.peer != self.me), None)
