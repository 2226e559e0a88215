"""The LAN directory: a `GroupDirectory` on one well-known group, without any server.

Everybody who claims something keeps it and answers for it:

    query  k           who has this key?
    claim  k v s p     this is mine for s seconds; `p`: I only ask (probe); I defend otherwise
    release k          it is free again

A claim is made by three probes.  Who holds the key already, or claims it too and is first by
`directory.order`, defends it, and the other yields; so two or ten who claim at once end with
one.  What loss or a partition let through is found when entries are told again: after 1, 2, 4,
… seconds and with each renewal.  Answers go to all and are limited by key, so that a thousand
who ask at once are told once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from spinney.errors import WireError
from spinney.groups.group import Group, GroupReceiver, Groups, Sent
from spinney.groups.ip import IpGroups
from spinney.mcftp.directory import (
    CLAIM_S,
    KEY_BYTES_MAX,
    VALUE_BYTES_MAX,
    Entry,
    order,
)
from spinney.net.host import Host
from spinney.trust.envelope import Envelope, Replays, file_tag, make, parse
from spinney.trust.keys import Keys
from spinney.wire.bencode import Value

PORT = 6781
LAN_TAG = file_tag(b"LAN directory 1")

HEARD_MAX = 4_096
"""Entries of others that are remembered; those that end first make room."""
OWN_MAX = 1_024
"""Claims of one program: twenty files with their groups are some hundred."""
PROBES = 3
PROBE_S = 0.12
"""Between probes: an answer's delay and a round trip of a busy LAN fit in."""
QUERIES = 3
QUERY_S = 0.25
QUERY_JITTER_S = 0.06
"""A thousand who start at once ask within this time; who hears the question keeps silent."""
ANSWER_JITTER_S = 0.02
ANSWER_EVERY_S = 0.1
"""An entry is told at most so often, whoever asks."""
TELL_AGAIN_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""After a claim: a rival whose probes were lost is found soon."""


def lan_address(groups: IpGroups) -> bytes:
    """Where the LAN directory of a scope is."""
    if groups.six:
        return groups.address("ff12::5350:4e59" if groups.hops <= 1 else "ff18::5350:4e59", PORT)
    return groups.address("239.255.83.80" if groups.hops <= 1 else "239.192.83.80", PORT)


@dataclass(slots=True)
class _Own:
    """A claim of ours."""

    key: bytes
    value: bytes
    ends: float
    sure: bool = False
    told: float = float("-inf")
    again: list[float] = field(default_factory=lambda: list(TELL_AGAIN_S))
    repeat: asyncio.TimerHandle | None = None
    answer: asyncio.TimerHandle | None = None


class LanDirectory(GroupReceiver):
    """See `GroupDirectory`; `start` first, `close` last."""

    def __init__(self, host: Host, groups: Groups, address: bytes) -> None:
        self._host = host
        self._groups = groups
        self._address = address
        self._keys = Keys(host.entropy(32))
        self._sequence = 0
        self._group: Group | None = None
        self._own: dict[bytes, _Own] = {}
        self._lost: OrderedDict[bytes, Entry] = OrderedDict()
        self._heard: OrderedDict[bytes, tuple[Entry, float]] = OrderedDict()
        self._asked: OrderedDict[bytes, float] = OrderedDict()
        self._news: dict[bytes, list[asyncio.Event]] = {}
        self._replays = Replays(HEARD_MAX)
        self.sent = 0
        self.malformed = 0

    async def start(self) -> None:
        """Raises `NetworkError` where groups cannot be joined."""
        self._group = await self._groups.join(self._address, self)

    async def close(self) -> None:
        for key in list(self._own):
            await self.release(key)
        if self._group is not None:
            self._group.close()
            self._group = None

    # -- the five calls -----------------------------------------------------------------

    async def find(self, key: bytes, *, patience_s: float = 0.0) -> Entry | None:
        found = self.known(key)
        if found is not None:
            return found
        await asyncio.sleep(self._host.rng.uniform(0.0, QUERY_JITTER_S))
        for _ in range(QUERIES):
            now = self._host.time()
            if now - self._asked.get(key, float("-inf")) > QUERY_JITTER_S:
                self._note_asked(key, now)
                self._say({b"t": b"query", b"k": key})
            found = await self._news_of(key, QUERY_S)
            if found is not None:
                return found
        if self._group is not None:
            await self._group.rejoin()  # a switch may have forgotten us
        return await self._news_of(key, patience_s) if patience_s > 0 else None

    async def claim(self, key: bytes, value: bytes, seconds: float = CLAIM_S) -> bool:
        assert len(key) <= KEY_BYTES_MAX
        assert len(value) <= VALUE_BYTES_MAX
        known = self.known(key)
        if known is not None and known.value != value:
            return False
        if len(self._own) >= OWN_MAX and key not in self._own:
            return False
        own = self._own[key] = _Own(key, value, self._host.time() + seconds)
        self._lost.pop(key, None)
        if known is not None:
            own.sure = True  # we hold up what somebody else claimed: nobody needs be asked
            return True
        for _ in range(PROBES):
            self._tell(own)
            await asyncio.sleep(PROBE_S * self._host.rng.uniform(0.8, 1.2))
            if self._own.get(key) is not own:
                return False
        own.sure = True
        self._tell(own)
        self._tell_later(own)
        return True

    async def renew(self, key: bytes, seconds: float = CLAIM_S) -> bool:
        own = self._own.get(key)
        if own is None or not own.sure:
            return False
        own.ends = self._host.time() + seconds
        self._tell(own)
        return True

    async def release(self, key: bytes) -> None:
        own = self._own.pop(key, None)
        self._lost.pop(key, None)
        if own is not None:
            self._forget_timers(own)
            self._say({b"t": b"release", b"k": key})

    def conflicts(self, key: bytes) -> Entry | None:
        return self._lost.get(key)

    # -- what is known ------------------------------------------------------------------

    def known(self, key: bytes) -> Entry | None:
        """Of ours and those heard of."""
        now = self._host.time()
        own = self._own.get(key)
        if own is not None and own.sure:
            return Entry(key, own.value, self._keys.public, own.ends - now)
        row = self._heard.get(key)
        if row is None:
            return None
        entry, ends = row
        if ends <= now:
            del self._heard[key]
            return None
        return Entry(key, entry.value, entry.owner, ends - now)

    async def _news_of(self, key: bytes, seconds: float) -> Entry | None:
        event = asyncio.Event()
        waiting = self._news.setdefault(key, [])
        waiting.append(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            waiting.remove(event)
            if not waiting:
                self._news.pop(key, None)
        return self.known(key)

    # -- speaking -----------------------------------------------------------------------

    def _say(self, message: dict[bytes, Value]) -> None:
        if self._group is not None:
            self._sequence += 1
            self.sent += 1
            self._group.send(make(self._keys, LAN_TAG, self._sequence, message))

    def _tell(self, own: _Own) -> None:
        now = self._host.time()
        own.told = now
        left = max(0, round((own.ends - now) * 1000))
        if left:
            self._say(
                {
                    b"t": b"claim",
                    b"k": own.key,
                    b"v": own.value,
                    b"s": left,
                    b"p": int(not own.sure),
                }
            )

    def _tell_later(self, own: _Own) -> None:
        if own.again:
            loop = asyncio.get_running_loop()
            own.repeat = loop.call_later(own.again.pop(0), self._tell_again, own)

    def _tell_again(self, own: _Own) -> None:
        self._tell(own)
        self._tell_later(own)

    def _answer_soon(self, own: _Own) -> None:
        """Answers after a little while; one that is due already answers this question too."""
        if own.answer is None:
            wait = max(0.0, own.told + ANSWER_EVERY_S - self._host.time())
            wait += self._host.rng.uniform(0.0, ANSWER_JITTER_S)
            own.answer = asyncio.get_running_loop().call_later(wait, self._answer, own)

    def _answer(self, own: _Own) -> None:
        own.answer = None
        self._tell(own)

    def _forget_timers(self, own: _Own) -> None:
        for timer in (own.repeat, own.answer):
            if timer is not None:
                timer.cancel()
        own.repeat = own.answer = None

    def _note_asked(self, key: bytes, now: float) -> None:
        self._asked[key] = now
        self._asked.move_to_end(key)
        if len(self._asked) > HEARD_MAX:
            self._asked.popitem(last=False)

    # -- hearing ------------------------------------------------------------------------

    def group_received(self, batch: list[Sent]) -> None:
        for data, _ in batch:
            try:
                said = parse(data)
                if said.file == LAN_TAG and said.public != self._keys.public:
                    self._hear(said)
            except WireError:
                self.malformed += 1

    def _hear(self, said: Envelope) -> None:
        message = said.message
        kind, key = message.get(b"t"), message.get(b"k")
        if type(key) is not bytes or not 0 < len(key) <= KEY_BYTES_MAX:
            raise WireError("no key")
        if kind == b"query":
            # Costs an answer at most, so nobody checks who asked.
            self._note_asked(key, self._host.time())
            own = self._own.get(key)
            if own is not None and own.sure:
                self._answer_soon(own)
            return
        if not said.verified() or not self._replays.is_new(said.public, said.sequence):
            return
        if kind == b"claim":
            self._hear_claim(key, said, message)
        elif kind == b"release":
            row = self._heard.get(key)
            if row is not None and row[0].owner == said.public:
                del self._heard[key]
        else:
            raise WireError("no word of the LAN directory")

    def _hear_claim(self, key: bytes, said: Envelope, message: dict[bytes, Value]) -> None:
        value, left, probe = message.get(b"v"), message.get(b"s"), message.get(b"p")
        if type(value) is not bytes or len(value) > VALUE_BYTES_MAX:
            raise WireError("a claim without a value")
        if type(left) is not int or not 0 < left <= 3_600_000 or probe not in (0, 1):
            raise WireError("a claim without an end")
        entry = Entry(key, value, said.public, left / 1000)
        own = self._own.get(key)
        if own is not None and own.value != value:
            first = order(key, self._keys.public) < order(key, said.public)
            if own.sure and (probe or first):
                self._answer_soon(own)  # defend
                return
            if not own.sure and probe and first:
                self._tell(own)
                return
            self._yield(own, entry)
        if probe:
            return
        self._keep(entry)

    def _yield(self, own: _Own, entry: Entry) -> None:
        del self._own[own.key]
        self._forget_timers(own)
        if own.sure:
            self._lost[own.key] = entry
            while len(self._lost) > OWN_MAX:
                self._lost.popitem(last=False)

    def _keep(self, entry: Entry) -> None:
        """Of two entries for one key, the first by `order` is kept while it lasts."""
        now = self._host.time()
        row = self._heard.get(entry.key)
        if row is not None and row[1] > now and row[0].owner != entry.owner:
            other = row[0]
            if other.value != entry.value and order(entry.key, other.owner) < order(
                entry.key, entry.owner
            ):
                return
        self._heard[entry.key] = (entry, now + entry.seconds)
        self._heard.move_to_end(entry.key)
        if len(self._heard) > HEARD_MAX:
            self._heard.popitem(last=False)
        for event in self._news.get(entry.key, ()):
            event.set()
