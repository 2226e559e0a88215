"""`Aside`: a transfer's way to those whom multicast does not reach, or from those whom it does.

Where the swarm may be used it serves them better: everybody gives on what he has, and nobody
sends one copy for each receiver.  With `--multicast-only` there is no swarm.  So who then hears
no leader, from the start or in the middle, goes to a machine that the link names and joins a
unicast fan-out of the same file there: the same control, symbols and repair, another group.  Who
shares opens that group when somebody knocks.  When multicast is heard again, the fan-out is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from spinney.content.transfer import Transfer
from spinney.groups.fanout import FanoutGroups, address_text
from spinney.mcftp.hub_directory import HubDirectory, token_of
from spinney.mcftp.node import Leaderships, McftpNode
from spinney.mcftp.rate import Rate
from spinney.mcftp.stream import Stream
from spinney.mcftp.view import McftpEvent
from spinney.net.address import is_local
from spinney.net.host import Address, Host
from spinney.peer.multicasting import FoundHere

DEAF_S = 3.0
"""No leader heard for so long: the group was joined again meanwhile, in vain."""
HEARD_S = 1.5
"""A leader that was heard within so long is back."""
NEVER = 1 << 30
"""Receivers: where the group by multicast waits for some, it says when."""
HUBS_MAX = 8
"""Machines of a link that are asked."""


class SharedRate:
    """A rate of a line over which each payload goes several times."""

    def __init__(self, inner: Rate, copies: Callable[[], int]) -> None:
        self._inner = inner
        self._copies = copies
        self.extra_bytes = 0

    @property
    def bytes_per_s(self) -> float:
        return self._inner.bytes_per_s / self._copies()

    @property
    def is_found(self) -> bool:
        return self._inner.is_found

    @property
    def asks(self) -> int:
        return self._inner.asks

    def heard(self, loss: float, queue_s: float, now: float, came_bytes_per_s: float = 0) -> None:
        self._inner.heard(loss, queue_s, now, came_bytes_per_s * self._copies())

    def sent(self, size_bytes: int, now: float) -> None:
        more = (self._copies() - 1) * size_bytes
        self.extra_bytes += more
        self._inner.sent(size_bytes + more, now)


class Aside:
    """`main`: the node of the group by multicast, started.  `hubs`: where to go when it is deaf."""

    def __init__(
        self,
        host: Host,
        transfer: Transfer,
        main: McftpNode,
        groups: FanoutGroups,
        hubs: Sequence[Address],
        rate: Callable[[Stream], Rate],
        tell: Callable[[McftpEvent], None],
    ) -> None:
        six = ":" in groups.local_address[0]
        self.node: McftpNode | None = None
        self.working = False
        """Somebody was found there."""
        self._host, self._transfer, self._main, self._groups = host, transfer, main, groups
        self._hubs = [hub for hub in hubs if (":" in hub[0]) == six and is_local(hub[0])][:HUBS_MAX]
        self._rate, self._tell = rate, tell
        self._rates: list[SharedRate] = []
        self._wakes = False
        self._began = host.time()
        self._moving: asyncio.Task[None] | None = None
        self._token = token_of(transfer.infohash)
        if transfer.complete:
            groups.expect(self._token, self._knocked)

    def _knocked(self) -> None:
        self._wakes = True

    def look(self) -> None:
        """Does what is due; often."""
        if self._moving is not None and not self._moving.done():
            return
        if self.node is None:
            if self._wakes or self._is_deaf():
                self._moving = asyncio.get_running_loop().create_task(self._begin())
        elif not self._wakes and self._is_heard():
            self._moving = asyncio.get_running_loop().create_task(self._end())
        else:
            self._join_counts()

    def _is_deaf(self) -> bool:
        if not self._hubs or self._transfer.complete:
            return False
        return self._silent_s() > DEAF_S

    def _is_heard(self) -> bool:
        receiving = self._main.flows.receiving
        return self._silent_s() < HEARD_S and receiving is not None and bool(receiving.live())

    def _silent_s(self) -> float:
        leading = self._main.leading
        if leading is not None and len(leading.leader.members) > 1:
            return 0.0
        return self._host.time() - max(self._began, self._main.election.heard_at)

    async def _begin(self) -> None:
        founds = self._wakes
        waits = NEVER if founds and self._main.settings.wait_for else 0
        local = address_text(self._groups.local_address, self._token)
        directory = HubDirectory(self._transfer.infohash, () if founds else self._hubs, self._where)
        self.node = McftpNode(
            self._host,
            self._transfer,
            FoundHere(self._groups, local) if founds else self._groups,
            directory,
            replace(self._main.settings, wait_for=waits, state_folder=None),
            leaderships=Leaderships(1),
            rate=self._shared,
            on_event=self._heard,
            publishing=self._main.publishing,
            seed=self._main.keys.seed,
        )
        await self.node.start()

    def _where(self) -> bytes | None:
        group = self.node.group if self.node is not None else None
        return group.address if group is not None else None

    def _shared(self, stream: Stream) -> SharedRate:
        rate = SharedRate(self._rate(stream), lambda: self._groups.copies(stream.address))
        self._rates.append(rate)
        return rate

    def _heard(self, event: McftpEvent) -> None:
        if event.what == "group" and not self._wakes:
            self.working = True
            place = event.detail.removeprefix("fan:").rpartition(":")[0]
            line = f"multicast does not come here: {place} sends to this machine by itself"
            self._tell(McftpEvent("warning", line))

    def _join_counts(self) -> None:
        """Both groups begin at the same time, with the receivers of both."""
        node, main = self.node, self._main
        if node is None or node.leading is None:
            return
        if main.leading is not None:
            main.leading.leader.elsewhere = node.leading.leader.members.joined()
        said = main.last_keep_alive
        started = main.leading.leader.started if main.leading else said is None or said.started
        if started and not node.leading.leader.started and node.leading.leader.members.joined():
            node.begin()

    async def _end(self) -> None:
        node, self.node = self.node, None
        self.working = False
        if node is not None:
            await node.close()

    @property
    def sent_bytes(self) -> int:
        """All copies."""
        node = self.node
        more = sum(rate.extra_bytes for rate in self._rates)
        return more + (node.flows.sent_bytes if node is not None else 0)

    async def close(self) -> None:
        self._groups.expect(self._token, None)
        if self._moving is not None:
            self._moving.cancel()
            await asyncio.gather(self._moving, return_exceptions=True)
        await self._end()
