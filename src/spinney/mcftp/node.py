"""`McftpNode`: one peer in the file management group of one file.

How a peer wires it (all on the event loop):

    groups = IpGroups(host, interfaces=(), hops=1)
    directory = LanDirectory(host, groups, lan_address(groups))     # one for all files
    await directory.start()                                         # NetworkError: no multicast
    leaderships = Leaderships(20)                                   # one for all files

    node = McftpNode(host, transfer, groups, directory, Settings(...), data=DataSettings(...),
                     leaderships=leaderships, on_event=listener)
    await node.start()            NetworkError when groups cannot be joined at all
    node.begin()                  sharer: start sending now, whoever has joined (a key press)
    node.view()                   `View`: receivers, leader, streams, for the progress display
    await node.enough.wait()      set when `until_complete` receivers have everything
    swarm_id in node.neighbours   is this one of the swarm a member?  Then the policy of the swarm
                                  does not fetch from it what live streams bring
    await node.close()            polite: says that it goes, hands leadership over, gives leases
                                  back

`transfer` is a started `Transfer`; the node attaches to it as the way `multicast` while it
follows streams, and offers what is verified, whoever brought it.  A downloader looks for the
group and tries again with a back-off; a provider, also a partial one (a downloader becomes one
with its first block), founds the group when there is none.

`publishing`: `Publishing(blob)` of who has what the publisher signed, `Publishing(check=f)` of who
wants it; `rate`: a factory such as `lambda stream: FoundRate(ceiling=stream.rate_bytes_per_s)`.

`on_event` gets `McftpEvent`s: `leader` (who leads, and is it us), `group` (joined at which
address), `started`, `warning` (one line for the user: multicast does not work here, streams have
stopped, ...).  Several files on one peer are several nodes with one directory and one
`Leaderships`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from spinney.content.transfer import Transfer
from spinney.errors import NetworkError, WireError
from spinney.groups.group import Group, GroupReceiver, Groups, Sent
from spinney.mcftp import codec
from spinney.mcftp import messages as m
from spinney.mcftp.datasettings import DATA_SETTINGS, DataSettings
from spinney.mcftp.directory import GroupDirectory, file_key
from spinney.mcftp.election import Election
from spinney.mcftp.flows import Flows
from spinney.mcftp.layout import BlockLayout
from spinney.mcftp.leading import Leading
from spinney.mcftp.neighbours import Neighbours
from spinney.mcftp.packets import tag_of
from spinney.mcftp.publishing import Publishing
from spinney.mcftp.rate import Rate
from spinney.mcftp.reporting import Reporting
from spinney.mcftp.schedule import bits_of
from spinney.mcftp.searching import Reservations, find_or_found
from spinney.mcftp.settings import SETTINGS, Settings
from spinney.mcftp.showing import view_of
from spinney.mcftp.speaking import Speaking
from spinney.mcftp.stream import Stream
from spinney.mcftp.view import McftpEvent, View
from spinney.net.host import Host
from spinney.trust.envelope import Envelope, Replays, file_tag, parse
from spinney.trust.keys import Keys

JOIN_AGAIN_S = 3.0
"""After the group could not be joined: an interface may come up."""
REJOIN_INTERVALS = 2.5
REJOIN_S = 2.0
"""Without a keep-alive for so long the group is joined anew, so often: switches forget members."""
DEAF_S = 6.0
"""A leader with members that hears nobody for so long joins anew too."""
LOST_INTERVALS = 4.0
"""Without a leader for so long, the directory is asked again: the group may have moved."""
HAND_OVER_S = 1.0
"""How long a leader that leaves waits for its successor."""

Listener = Callable[[McftpEvent], None]


class Leaderships:
    """How many files one peer leads: shared by its nodes."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    @property
    def room(self) -> bool:
        return self.held < self.most


class McftpNode(GroupReceiver):
    """See the module."""

    def __init__(
        self,
        host: Host,
        transfer: Transfer,
        groups: Groups,
        directory: GroupDirectory,
        settings: Settings = SETTINGS,
        *,
        data: DataSettings = DATA_SETTINGS,
        leaderships: Leaderships | None = None,
        rate: Callable[[Stream], Rate] | None = None,
        on_event: Listener | None = None,
        publishing: Publishing | None = None,
        seed: bytes | None = None,
    ) -> None:
        self._seed = seed  # of the keys: who is in two groups of a file is one peer in both
        self.host = host
        self.transfer = transfer
        self.groups = groups
        self.directory = directory
        self.settings = settings
        self.key = transfer.infohash
        self.file = file_tag(self.key)
        self.layout = BlockLayout(transfer.descriptor)
        self.enough = asyncio.Event()
        self.leaderships = leaderships or Leaderships(settings.leaderships)
        self.group: Group | None = None
        self.publishing = publishing or Publishing()
        self.malformed = 0
        self.neighbours = Neighbours()
        self.keys: Keys
        self.election: Election
        self.speaking: Speaking
        self.flows: Flows
        self.reporting: Reporting
        self.leading: Leading | None = None
        self._data = data
        self._rate = rate
        self._listener = on_event
        self._replays = Replays()
        self.reservations = Reservations(host, directory, settings)
        self._pages = codec.Pages()
        self._streams: tuple[Stream, ...] = ()
        self.spare: list[bytes] = []
        """Addresses reserved with the group's, for its first stream."""
        self.previous_leader = b""
        """Who led before the last change, perhaps us."""
        self.finished: dict[bytes, None] = {}
        """Receivers that had everything, as we saw when we led, or as they said when they left."""
        self.last_keep_alive: m.KeepAlive | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._begin = False
        self._looked_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._heard_at = float("-inf")
        self._rejoined_at = float("-inf")
        self._rejoining: asyncio.Task[None] | None = None
        self._closed = False

    # -- life ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Begins to look for the group.  Raises nothing that a network can cause."""
        self.speaking = Speaking(
            self.host,
            self.key,
            self.file,
            self.settings.state_folder,
            swarm_id=self.settings.swarm_id,
            warn=lambda line: self.tell(McftpEvent("warning", line)),
            wake=self.wake,
            seed=self._seed,
        )
        votes = await self.speaking.restore()
        self.keys = self.speaking.keys
        self.election = Election(
            self.keys.peer,
            self.file,
            self.host.rng,
            interval_s=self.settings.keep_alive_s,
            may_lead=False,
        )
        self.election.restore(votes)
        self.reporting = Reporting(self)
        self.flows = Flows(
            self.host,
            self.layout,
            self.transfer,
            self.groups,
            self.keys,
            self._data,
            sends=self.settings.may_send,
            receives=not self.settings.send_only,
            most_bytes_per_s=self.settings.down_bytes_per_s or float("inf"),
            rate=self._rate,
            warn=lambda line: self.tell(McftpEvent("warning", line)),
            changed=self.wake,
        )
        self.flows.leaves = self.settings.dismiss_after_s < float("inf")
        self.transfer.on_complete(self._completed)
        self._task = asyncio.get_running_loop().create_task(self._live(), name="MC-FTP")

    async def close(self) -> None:
        """Leaves politely: a leader hands over, streams end, addresses are given back."""
        if self._closed or self._task is None:
            return
        try:
            if self.group is not None and self.election.reign:
                await self._say_goodbye()
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        self._closed = True
        tasks = [task for task in (self._task, self._looking, self._rejoining) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._stop_leading()
        await self.flows.close()
        await self.reservations.close()
        if self.group is not None:
            self.group.close()
            self.group = self.speaking.group = None
        await self.speaking.forget()

    async def _say_goodbye(self) -> None:
        leading = self.leading
        successor = leading.leader.successor() if leading is not None else None
        if successor is not None and leading is not None:
            leading.mute = True
            self.say(m.HandOver(self.election.reign, self.election.leader_term, successor))
            ends_at = self.host.time() + HAND_OVER_S
            while self.leading is not None and self.host.time() < ends_at:
                await asyncio.sleep(0.05)
        await self.reporting.last()

    def begin(self) -> None:
        """Start sending now, whoever is here."""
        self._begin = True
        if self.leading is not None:
            self.leading.leader.begin()
        self.wake()

    def wake(self) -> None:
        """Something changed: what is due is computed anew."""
        self._wake.set()

    def tell(self, event: McftpEvent) -> None:
        if self._listener is not None:
            self._listener(event)

    def _completed(self) -> None:
        if not self._closed and self.group is not None:
            self.reporting.soon()
            self.wake()

    # -- the life of a member -----------------------------------------------------------

    async def _live(self) -> None:
        while self.group is None:
            address, founds = await find_or_found(self, self.reservations)
            try:
                await self._join(address)
            except NetworkError as error:
                self.flows.warn_once(f"multicast does not work here: {error}")
                await asyncio.sleep(JOIN_AGAIN_S)
                continue
            if founds and not self.election.reign:
                self.election.found(self.host.entropy(m.REIGN_BYTES))
        while True:
            self._wake.clear()
            now = self.host.time()
            self._do(now)
            await self.speaking.flush(self.election)
            next_at = self._next_at()
            try:
                async with asyncio.timeout_at(None if next_at == float("inf") else next_at):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _join(self, address: bytes) -> None:
        """Becomes a member of the group at an address, and of no other."""
        old, self.group = self.group, None
        self.speaking.group = None
        if old is not None:
            old.close()
            self._stop_leading()
            self.election.role = "follower"
            self.election.reign = b""
            self._pages = codec.Pages()
            self.last_keep_alive = None
            self.apply(())
        self.group = self.speaking.group = await self.groups.join(address, self)
        self.election.watch(self.host.time())
        self.reporting.joined()
        self.tell(McftpEvent("group", address.decode("ascii", "replace")))

    def _do(self, now: float) -> None:
        election = self.election
        held = self.reporting.held_blocks > 0
        room = self.leading is not None or self.leaderships.room
        election.allow(self.settings.may_lead and held and room, now)
        if election.role == "leader" and self.leading is None:
            self._start_leading(now)
        if now >= election.next_at:
            election.tick(now, self.host.entropy(m.REIGN_BYTES))
            if election.role == "leader":
                self._start_leading(now)
        if self.leading is not None:
            self.leading.act(now)
        self.reporting.act(now)
        if self.leading is None and now - election.heard_at > LOST_INTERVALS * election.interval_s:
            self._look_again(now)
        self._hold_up(now)
        self._rejoin(now)

    def _rejoin(self, now: float) -> None:
        """Keeps switches from forgetting us (a querier that came late)."""
        if self.leading is not None:
            alone = len(self.leading.leader.members) < 2
            due_at = float("inf") if alone else self._heard_at + DEAF_S
        else:
            due_at = self.election.heard_at + REJOIN_INTERVALS * self.election.interval_s
        if now >= max(due_at, self._rejoined_at + REJOIN_S) and self.group is not None:
            self._rejoined_at = now
            self._rejoining = asyncio.get_running_loop().create_task(self.group.rejoin())

    def _next_at(self) -> float:
        election = self.election
        rows = [election.next_at if election.may_lead else float("inf"), self.reporting.next_at()]
        if self.leading is not None:
            rows.append(self.leading.next_at)
        else:
            silent_at = election.heard_at + REJOIN_INTERVALS * election.interval_s
            rows.append(max(silent_at, self._rejoined_at + REJOIN_S))
            lost_at = election.heard_at + LOST_INTERVALS * election.interval_s
            rows.append(max(lost_at, self._looked_at + self.settings.find_again_s[-1] / 2) + 0.01)
        return max(min(rows), self.host.time() + 0.001)

    # -- leading ------------------------------------------------------------------------

    def _start_leading(self, now: float) -> None:
        if self.leading is not None:
            return
        self.leaderships.held += 1
        self.leading = Leading(self, now, self.last_keep_alive, self._streams)
        if self._begin:
            self.leading.leader.begin()
        self.tell(McftpEvent("leader", self.keys.peer.hex(), mine=True))

    def _stop_leading(self) -> None:
        if self.leading is not None:
            self.leading.close()
            self.leading = None
            self.leaderships.held -= 1
            self._pages = codec.Pages()  # our own schedule was at work: any other is news again

    def _hold_up(self, now: float) -> None:
        """Leader and electors keep the group's entry in the directory; a leader moves to where
        the directory says that the group is."""
        group = self.group
        if group is None:
            return
        if self.election.role == "leader" or self.keys.peer in self.election.electorate.peers:
            self.reservations.want(file_key(self.key), group.address, self._moved)

    def _moved(self, address: bytes) -> None:
        """Another group won the directory's entry."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._move(address))

    def _look_again(self, now: float) -> None:
        if now - self._looked_at < self.settings.find_again_s[-1] / 2:
            return
        self._looked_at = now
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._find_other())

    async def _find_other(self) -> None:
        entry = await self.directory.find(file_key(self.key))
        if entry is not None:
            await self._move(entry.value)

    async def _move(self, address: bytes) -> None:
        if self.group is None or address == self.group.address or not self.groups.valid(address):
            return
        await self.reservations.drop(file_key(self.key))
        try:
            await self._join(address)
        except NetworkError as error:
            self.flows.warn_once(f"the group has moved, and cannot be joined: {error}")
            return
        self.wake()

    def say(self, message: m.Message) -> None:
        """To the group, signed."""
        self.speaking.say(message, self.election)

    # -- hearing ------------------------------------------------------------------------

    def group_received(self, batch: list[Sent]) -> None:
        for data, _ in batch:
            if self.leading is None and b"1:t6:status1:x" in data:
                self.reporting.heard_report(self.host.time())
                self.neighbours.glance(data, self.file)
                continue
            try:
                said = parse(data)
                if said.file == self.file and said.public != self.keys.public:
                    self.neighbours.note(said)
                    self._hear(said)
            except WireError:
                self.malformed += 1

    def group_error(self, error: OSError) -> None: ...

    def _hear(self, said: Envelope) -> None:
        if not self._matters(codec.kind_of(said.message)):
            return
        message = codec.decode(said.message)
        if not said.verified() or not self._replays.is_new(said.public, said.sequence):
            return
        now, sender = self.host.time(), said.peer_id
        self._heard_at = now
        if isinstance(message, m.KeepAlive):
            self._hear_keep_alive(sender, message, now)
        elif isinstance(message, m.StatusRequest):
            if sender == self.election.leader and message.reign == self.election.reign:
                self.reporting.asked(message, now)
        elif isinstance(message, m.Ballot | m.PreVote | m.Vote | m.HandOver | m.Accept):
            self.election.heard(sender, message, now)
        elif isinstance(message, m.Published):
            if sender == self.election.leader and self.publishing.heard(sender, message):
                self.tell(McftpEvent("published"))
        elif self.leading is not None:
            self.leading.heard(sender, message, now)
        elif isinstance(message, m.Leave) and message.complete:
            self._remember(sender)
        self.wake()

    def _remember(self, finished: bytes) -> None:
        if len(self.finished) < self.settings.members:
            self.finished[finished] = None

    def _matters(self, kind: bytes) -> bool:
        """Most members can drop most messages before they check a signature."""
        if kind in (b"hello", b"sent", b"accept", b"status"):
            return self.leading is not None
        elects = self.keys.peer in self.election.electorate.peers
        if kind == b"leave":
            return elects or self.leading is not None or self.settings.until_complete > 0
        if kind in (b"prevote", b"vote"):
            return elects
        if kind == b"ballot":
            return self.election.role in ("asking", "candidate")
        return True

    def _hear_keep_alive(self, sender: bytes, said: m.KeepAlive, now: float) -> None:
        before = (self.election.reign, self.election.leader)
        if not self.election.follows(sender, said, now):
            return
        if self.leading is not None:
            self._stop_leading()
        self.last_keep_alive = said
        self.count_complete(said.complete)
        self.previous_leader = sender
        if (said.reign, sender) != before:
            self.tell(McftpEvent("leader", sender.hex()))
            self.reporting.joined(said.members)
        streams = self._pages.add(said)
        if streams is not None:
            self.apply(streams)

    def count_complete(self, receivers: int) -> None:
        """So many have everything, by our own count or by the leader's."""
        enough = self.settings.until_complete
        if enough and receivers >= enough and not self.enough.is_set():
            self.enough.set()
            self.tell(McftpEvent("complete"))

    def apply(self, streams: tuple[Stream, ...]) -> None:
        """A schedule, the leader's or our own, is put into work."""
        self._streams = streams
        if self.leading is not None:
            started = self.leading.leader.started
        else:
            started = self.last_keep_alive is not None and self.last_keep_alive.started
        self.flows.set(tag_of(self.key, self.election.reign), streams, started=started)
        self.reporting.served(bits_of(run for stream in streams for run in stream.blocks))
        self.wake()

    # -- what is seen -------------------------------------------------------------------

    def view(self) -> View:
        """How it stands."""
        return view_of(self)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Of the schedule that is at work."""
        return self._streams
