"""`Speaking`: signs what a node says; what binds it is on its disk before it is said."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from spinney.errors import StorageError
from spinney.groups.group import Group
from spinney.mcftp import ballots, codec, neighbours
from spinney.mcftp.election import Election, Votes
from spinney.mcftp.messages import Message
from spinney.net.host import Host
from spinney.trust.envelope import make
from spinney.trust.keys import Keys

LIFE_BITS = 40
"""Sequence numbers of one life: more envelopes than are sent in a thousand years."""


class Speaking:
    """One node's voice and its record of votes.  `folder` None: nothing is kept.  `swarm_id`: under
    which our swarm knows us, stated in each message (empty: none)."""

    def __init__(
        self,
        host: Host,
        key: bytes,
        file: bytes,
        folder: str | None,
        *,
        swarm_id: bytes,
        warn: Callable[[str], None],
        wake: Callable[[], None],
        seed: bytes | None = None,
    ) -> None:
        self.group: Group | None = None
        self.keys: Keys
        self._host = host
        self._file = file
        self._path = None if folder is None else ballots.path_of(folder, key)
        self._warn = warn
        self._wake = wake
        self._swarm_id = swarm_id
        self._seed = seed
        self._lives = 1
        self._sequence = 0
        self._waiting: deque[Message] = deque()

    async def restore(self) -> list[tuple[bytes, Votes]]:
        """Makes the keys, or takes those of the life before; returns what was voted in it."""
        found = None
        if self._path is not None:
            found = await self._host.work(ballots.load, self._host.storage, self._path)
        record = found or ballots.Record(self._seed or self._host.entropy(32), 0, [])
        self.keys = Keys(record.seed)
        # What a peer says after a restart counts as later than all that it said before.
        self._lives = record.lives + 1
        self._sequence = self._lives << LIFE_BITS
        if found is not None:
            await self._save(record.votes)
        return record.votes

    def say(self, message: Message, election: Election) -> None:
        """To the group, at once or after what must be on disk before."""
        self._waiting.append(message)
        if election.unsaved:
            self._wake()
        else:
            self._send()

    async def flush(self, election: Election) -> None:
        """Saves what binds us, then says what waits."""
        while election.outbox or election.unsaved:
            said, election.outbox = election.outbox, []
            if election.unsaved:
                election.unsaved = False
                await self._save(election.record())
            self._waiting.extend(said)
        self._send()

    def _send(self) -> None:
        while self._waiting and self.group is not None:
            self._sequence += 1
            table = codec.encode(self._waiting.popleft())
            if self._swarm_id:
                table[neighbours.KEY] = self._swarm_id
            self.group.send(make(self.keys, self._file, self._sequence, table))

    async def _save(self, votes: list[tuple[bytes, Votes]]) -> None:
        if self._path is None:
            return
        record = ballots.Record(self.keys.seed, self._lives, votes)
        try:
            await self._host.work(ballots.save, self._host.storage, self._path, record)
        except StorageError as error:
            self._warn(f"votes cannot be kept: {error}")

    async def forget(self) -> None:
        """After a polite end: the next life is another peer's."""
        if self._path is not None:
            await self._host.work(ballots.forget, self._host.storage, self._path)
