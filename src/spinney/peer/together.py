"""`Together`: one transfer's part in its multicast group, beside its swarm.

It is also the transfer's policy.  Members of one group do not also swarm among themselves over
the same link for what its streams bring, or while its leader waits to begin: they state where
they swarm in signed messages.  When the streams stop (their leases are given back), they may.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from spinney.bittorrent.downloading import Downloader
from spinney.bittorrent.node import PEER_ID_PREFIX
from spinney.config import SAFE_RATE_BYTES_PER_S
from spinney.content.pieces import Bitfield
from spinney.content.source import Source
from spinney.content.transfer import Transfer
from spinney.mcftp.datasettings import DATA_SETTINGS
from spinney.mcftp.given_rate import GivenRate
from spinney.mcftp.neighbours import short_id
from spinney.mcftp.node import McftpNode
from spinney.mcftp.publishing import Publishing
from spinney.mcftp.rate import FoundRate, Rate
from spinney.mcftp.settings import Settings
from spinney.mcftp.stream import Stream
from spinney.mcftp.view import McftpEvent, View
from spinney.net.host import Address, Host
from spinney.net.limits import Limit
from spinney.peer.aside import Aside
from spinney.peer.ending import end_all

if TYPE_CHECKING:
    from spinney.groups.fanout import FanoutGroups
    from spinney.peer.multicasting import Multicast, Plan

PROGRAM = PEER_ID_PREFIX[:3]
"""So begins the peer id of this program, of any version."""
LOOK_S = 0.1
"""How often it is looked what the streams bring."""
LOOKING_S = 2.0
"""So long neighbours are not asked by the swarm while the group is looked for and joined: that
takes 0.3 s if there is one, 0.8 s if there is none, and more on a busy machine."""
BEGIN_S = 1.5
"""From the leader's word that it begins to the first data."""
FRESH_INTERVALS = 4.0
"""A leader that is silent for longer says nothing about the swarm."""
LEASE_AHEAD_S = 1.0
"""What the streams will bring within so long is left to them.  More would leave the swarm idle at
the end, waiting for a group that is slower."""
LITTLE_SHARE = 0.5
LITTLE_S = 2.0
"""Streams that for so long bring less than this part of what they are said to, or of the safe
rate if that is less, are helped by the swarm: a slow radio, a lossy cable."""
DISMISS_AFTER_S = 2.0
"""Who loses most of what is multicast for so long fetches by the swarm."""
LEAST_MEMBERS = 3
"""A sender and one receiver have nothing to gain from a group: they use both ways at once."""
LEAST_FOUND_BYTES_PER_S = 100_000.0
SHARE_OF_LIMIT = 0.95
"""Of `--up` that multicast takes at most, so that the swarm does not stand still."""


class BoundRate:
    """A sender's rate within the limits that bind all ways of sending."""

    def __init__(self, inner: Rate, limit: Limit, most: float, now: Callable[[], float]) -> None:
        self._inner = inner
        self._limit = limit
        self._most = most
        self._now = now

    @property
    def bytes_per_s(self) -> float:
        return min(self._inner.bytes_per_s, self._most)

    @property
    def is_found(self) -> bool:
        return self._inner.is_found

    @property
    def asks(self) -> int:
        return self._inner.asks

    def heard(self, loss: float, queue_s: float, now: float, came_bytes_per_s: float = 0) -> None:
        self._inner.heard(loss, queue_s, now, came_bytes_per_s)

    def sent(self, size_bytes: int, now: float) -> None:
        """The swarm waits until this is paid."""
        self._inner.sent(size_bytes, now)
        self._limit.take(self._now(), size_bytes)


class Together:
    """Make it before the transfer, which it is handed to as its policy; then `start`."""

    def __init__(self, host: Host, up: Limit, down: Limit) -> None:
        self.node: McftpNode | None = None
        self._host = host
        self._up, self._down = up, down
        self._paid = 0
        self._transfer: Transfer | None = None
        self._began = host.time()
        self._started_at: float | None = None
        self._closed: Bitfield | None = None
        """Pieces that neighbours are not asked for."""
        self._some_open = True
        self._meets_neighbours = False
        """The swarm has machines of this network that run this program."""
        self._looking = False
        self._finds_rate = self._only = False
        self._enough_at = float("-inf")
        """When the streams last brought what they ought to."""
        self._carried: tuple[tuple[Stream, ...], Bitfield] | None = None
        self.aside: Aside | None = None
        self._task: asyncio.Task[None] | None = None
        self._on_event: Callable[[McftpEvent], None] | None = None

    # -- life

    async def start(
        self,
        transfer: Transfer,
        multicast: Multicast,
        plan: Plan,
        settings: Settings,
        on_event: Callable[[McftpEvent], None],
        publishing: Publishing | None = None,
        door: FanoutGroups | None = None,
        hubs: Sequence[Address] = (),
    ) -> None:
        """Joins, or goes on looking for the group; raises nothing that a network can cause."""
        self._transfer = transfer
        self._finds_rate, self._only = plan.finds_rate, plan.only
        self._began = self._host.time()
        most_up, most_down = _least(self._up), _least(self._down)
        rate = plan.rate_bytes_per_s
        if most_up is not None:
            rate = max(1, min(rate, int(most_up * SHARE_OF_LIMIT)))
        settings = replace(
            settings,
            rate_bytes_per_s=rate,
            up_bytes_per_s=int(most_up or 0),
            down_bytes_per_s=int(most_down or 0),
            dismiss_after_s=float("inf") if plan.only else DISMISS_AFTER_S,
        )
        founds = transfer.complete and settings.may_lead
        groups, directory = multicast.for_group(plan.group, founds=founds)
        self.node = McftpNode(
            self._host,
            transfer,
            groups,
            directory,
            settings,
            data=replace(DATA_SETTINGS, lease_ahead_s=LEASE_AHEAD_S),
            leaderships=multicast.leaderships,
            rate=self._rate_of if plan.finds_rate or most_up is not None else None,
            on_event=self._heard,
            publishing=publishing,
        )
        self._on_event = on_event
        self._looking = not transfer.complete
        self._closed = None if transfer.complete else self._everything()
        self._some_open = transfer.complete
        await self.node.start()
        if door is not None:
            self.aside = Aside(
                self._host, transfer, self.node, door, hubs, self._rate_of, self._heard
            )
        self._task = asyncio.get_running_loop().create_task(self._look_forever(), name="together")

    def _heard(self, event: McftpEvent) -> None:
        if event.what == "searching":
            self._looking = False  # there is none yet
        if self._on_event is not None:
            self._on_event(event)

    def _rate_of(self, stream: Stream) -> Rate:
        """A sender's: as the schedule says, or found below that; within our own limit."""
        said, most = float(stream.rate_bytes_per_s), _least(self._up)
        rate: Rate = GivenRate(said)
        if self._finds_rate:
            floor = min(LEAST_FOUND_BYTES_PER_S, said)
            rate = FoundRate(SAFE_RATE_BYTES_PER_S, floor=floor, ceiling=said)
        if most is None:
            return rate
        return BoundRate(rate, self._up, max(1.0, most * SHARE_OF_LIMIT), self._host.time)

    async def close(self) -> None:
        """Leaves politely; the swarm may do everything from now on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await end_all(
            *([self.aside.close] if self.aside is not None else []),
            *([self.node.close] if self.node is not None else []),
            self._open_all,
        )

    def begin(self) -> None:
        """Start sending now, whoever is here."""
        if self.node is not None:
            self.node.begin()

    # -- what is seen

    def view(self) -> View | None:
        view = self.node.view() if self.node is not None else None
        other = self.aside.node if self.aside is not None else None
        if view is None or other is None:
            return view
        more = other.view()
        if self.aside is not None and self.aside.working:
            return more
        return replace(
            view,
            receivers=(*view.receivers, *more.receivers),
            joined=view.joined + more.joined,
            complete=view.complete + more.complete,
            sent_bytes=self.sent_bytes,
        )

    @property
    def heard_at(self) -> float:
        """When the leader was heard last."""
        return self.node.election.heard_at if self.node is not None else float("-inf")

    @property
    def sent_bytes(self) -> int:
        beside = self.aside.sent_bytes if self.aside is not None else 0
        return beside + (self.node.flows.sent_bytes if self.node is not None else 0)

    def finished(self, peer_ids: list[bytes]) -> int:
        """How many receivers have everything, each once, with those that the swarm has counted
        (by their peer ids there); or as many as the leader says, if another leads by now."""
        node = self.node
        if node is None:
            return len(peer_ids)
        beside = self.aside.node if self.aside is not None else None
        mine = list(node.finished | (beside.finished if beside is not None else {}))
        seen = {node.neighbours.swarm_id_of(peer) for peer in mine}
        ours = len(mine) + sum(1 for peer_id in peer_ids if short_id(peer_id) not in seen)
        if node.leading is not None:
            return max(ours, node.leading.leader.members.complete())
        said = node.last_keep_alive
        return ours if said is None else max(ours, said.complete)

    @property
    def brings_something(self) -> bool:
        """Does anything come by multicast, if no whole piece?"""
        return self.node is not None and self.node.flows.rate_bytes_per_s() > 0

    @property
    def goes_aside(self) -> bool:
        """Does it come by unicast from one machine instead?"""
        return self.aside is not None and self.aside.working

    @property
    def is_deaf(self) -> bool:
        """Do we fetch from machines of this network, and hear none of them by multicast?"""
        view = self.view()
        return self._meets_neighbours and (view is None or view.members < 2)

    # -- the policy

    def may_request(self, source: Source, piece: int) -> bool:
        closed = self._closed
        return closed is None or piece not in closed or not self._is_neighbour(source)

    def may_request_any(self, source: Source) -> bool:
        if not self._meets_neighbours and isinstance(source, Downloader):
            self._meets_neighbours = source.on_link and source.peer_id.startswith(PROGRAM)
        return self._closed is None or self._some_open or not self._is_neighbour(source)

    def _is_neighbour(self, source: Source) -> bool:
        if not isinstance(source, Downloader) or self.node is None:
            return False
        if self._looking:
            return source.on_link
        return short_id(source.peer_id) in self.node.neighbours

    # -- looking

    async def _look_forever(self) -> None:
        while True:
            self._look()
            self._pay()
            if self.aside is not None:
                self.aside.look()
            await asyncio.sleep(LOOK_S)

    def _look(self) -> None:
        transfer = self._transfer
        assert transfer is not None
        closed = None if transfer.complete else self._closed_now()
        if closed is self._closed:
            if closed is not None:
                self._some_open = _beyond(transfer.needed, closed)
            return
        self._closed = closed
        self._some_open = closed is None or _beyond(transfer.needed, closed)
        transfer.changed()

    def _open_all(self) -> None:
        self._closed = None
        if self._transfer is not None:
            self._transfer.changed()

    def _closed_now(self) -> Bitfield | None:
        node, now = self.node, self._host.time()
        assert node is not None
        said = node.last_keep_alive
        if said is not None or node.leading is not None or now >= self._began + LOOKING_S:
            self._looking = False
        if self._looking:
            return self._everything()
        fresh = now - node.election.heard_at < FRESH_INTERVALS * node.settings.keep_alive_s
        if node.leading is not None:
            members, started = len(node.leading.leader.members), node.leading.leader.started
        elif said is not None and fresh:
            members, started = said.members, said.started
        else:
            return None
        if not started:
            return self._everything() if node.leading is None else None
        if self._started_at is None:
            self._started_at = now
        if members < LEAST_MEMBERS:
            return None
        receiving = node.flows.receiving
        live = tuple(receiving.live()) if receiving is not None else ()
        if not live and now < self._started_at + BEGIN_S:
            return self._everything()
        little = bool(live) and not self._only and self._bring_little(live, now)
        if receiving is not None and receiving.helped is not little:
            receiving.helped = little
            if little:
                node.flows.warn_once("multicast brings little here: the swarm helps")
        return None if little or not live else self._carried_by(live)

    def _bring_little(self, live: tuple[Stream, ...], now: float) -> bool:
        assert self.node is not None
        if self._carried is None or not self._carried[0]:
            self._enough_at = now  # they have just begun
        said = sum(stream.rate_bytes_per_s for stream in live)
        least = LITTLE_SHARE * min(said, SAFE_RATE_BYTES_PER_S)
        if self.node.flows.rate_bytes_per_s() >= least:
            self._enough_at = now
        return now - self._enough_at > LITTLE_S

    def _everything(self) -> Bitfield:
        return self._kept(())

    def _carried_by(self, live: tuple[Stream, ...]) -> Bitfield:
        return self._kept(live)

    def _kept(self, live: tuple[Stream, ...]) -> Bitfield:
        """The pieces of these streams (of none: all pieces); the same object for the same."""
        assert self._transfer is not None
        assert self.node is not None
        if self._carried is not None and self._carried[0] == live:
            return self._carried[1]
        layout = self.node.layout
        carried = Bitfield(self._transfer.needed.size, full=not live)
        for stream in live:
            runs = stream.blocks or ((0, layout.block_count),)
            for first, count in runs:
                for block in range(first, min(first + count, layout.block_count)):
                    for piece in layout.pieces_of(block):
                        carried.add(piece)
        self._carried = live, carried
        return carried

    def _pay(self) -> None:
        """What came by multicast counts against the limits of receiving, too."""
        transfer = self._transfer
        assert transfer is not None
        tally = transfer.tally("multicast")
        came = tally.useful + tally.duplicate + tally.bad
        if came > self._paid:
            self._down.take(self._host.time(), came - self._paid)
            self._paid = came


def _least(limit: Limit) -> float | None:
    rows = [each.rate_bytes_per_s for each in limit.buckets if each.rate_bytes_per_s is not None]
    return min(rows, default=None)


def _beyond(needed: Bitfield, closed: Bitfield) -> bool:
    return bool(needed.as_int() & ~closed.as_int())
