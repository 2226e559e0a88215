"""Peers of other trees than P2PCast's, as good as they can be, to be measured beside it.

SpreadIt: one tree; whoever is asked and is full sends the newcomer down.  SplitStream: a tree for
each stripe; a peer has children in one of them (its own), and in others only where nothing else
is left (the spare capacity group); a full peer takes an inner peer in place of a leaf.

Both notice and mend as P2PCast's nodes do, with the same intervals: beats go down each tree, two
that are missing make a child ask, an orphan keeps its branch and turns to its grandparent first.
A beat carries the path that it took, so that nobody hangs below itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from random import Random

from spinney.errors import CallError, NoAnswerError
from spinney.net.host import Address, Host
from spinney.p2pcast.settings import Settings
from spinney.sim import SimHost, World
from spinney.wire.krpc import Krpc
from spinney.wire.krpc_messages import Arguments, Query

PORT = 6881
STEPS = 24
"""Peers asked on the way down, before the next contact is tried."""
REFUSED = 320

Id = bytes
"""The four bytes of a peer's address."""


def id_of(host: str) -> Id:
    return IPv4Address(host).packed


def _at(peer: Id) -> Address:
    return str(IPv4Address(peer)), PORT


@dataclass(frozen=True)
class Shape:
    """`degree`: children that a peer has at most, over all trees.  `own_only`: in one tree."""

    trees: int
    degree: int
    own_only: bool


@dataclass
class Limb:
    """A peer in one tree."""

    parent: Id | None = None
    path: tuple[Id, ...] = ()
    """From the source to the parent."""
    children: dict[Id, tuple[bool, float]] = field(default_factory=dict)
    """Whether it owns this tree too, and when it was heard."""
    number: int = 0
    heard_at: float = 0.0
    seeking: asyncio.Task[None] | None = None


class OtherNode:
    """One peer; or the source (`own` is -1), which feeds one copy: one child in each tree."""

    def __init__(self, host: Host, source: str, shape: Shape, own: int, settings: Settings) -> None:
        self.host, self.shape, self.own, self.settings = host, shape, own, settings
        self.me = b""
        self.source = id_of(source)
        self.limbs = [Limb() for _ in range(shape.trees)]
        self.known: dict[Id, None] = {}
        """The source's: who is here."""
        self._tasks: list[asyncio.Task[None]] = []
        self._krpc: Krpc

    async def open(self, address: str) -> None:
        self.me = id_of(address)
        self._krpc = krpc = Krpc(self.host)
        krpc.use(await self.host.open_datagrams(krpc, (address, PORT)))
        krpc.serve(b"tree", self._asked)
        start = asyncio.get_running_loop().create_task
        self._tasks = [start(self._source_forever() if self.is_source else self._look_forever())]

    @property
    def is_source(self) -> bool:
        return self.own < 0

    @property
    def degree(self) -> int:
        return sum(len(limb.children) for limb in self.limbs)

    async def join(self) -> None:
        """Returns when it has a parent in every tree."""
        self._krpc.tell(_at(self.source), b"tree.hello", {})
        for tree in range(self.shape.trees):
            self._seek(tree)
        while any(limb.parent is None for limb in self.limbs):
            await asyncio.sleep(0.05)

    # -- what others say

    def _asked(self, query: Query) -> Arguments | None:
        words, peer = query.arguments, id_of(query.remote[0])
        if query.method == b"tree.hello":
            self.known[peer] = None
            return {}
        if query.method == b"tree.contacts":
            rows = [each for each in self.known if each != peer]
            return {b"ids": self.host.rng.sample(rows, min(len(rows), self.settings.contacts))}
        limb = self.limbs[int(words[b"t"])]
        match query.method:
            case b"tree.attach":
                return self._taken(limb, int(words[b"t"]), peer, words)
            case b"tree.beat":
                self._beat(limb, int(words[b"t"]), peer, words)
            case b"tree.here":
                if peer not in limb.children:
                    raise CallError("not a child", REFUSED)
                limb.children[peer] = limb.children[peer][0], self.host.time()
            case b"tree.leave":
                limb.children.pop(peer, None)
            case b"tree.drop" if peer == limb.parent:
                limb.parent = None
                self._seek(int(words[b"t"]))
        return {}

    def _taken(self, limb: Limb, tree: int, peer: Id, words: Arguments) -> Arguments:
        """A place for an orphan, or others to ask."""
        owns, spare = bool(words[b"own"]), bool(words[b"spare"])
        if peer in limb.children:
            return {b"ok": 1}
        cut_off = limb.parent is None and not self.is_source
        if cut_off or peer in limb.path or peer == self.me or int(words[b"n"]) >= limb.number:
            raise CallError("cut off, or below you", REFUSED)
        now, dead = self.host.time(), bytes(words[b"dead"])
        if dead in limb.children and now - limb.children[dead][1] >= self.settings.accused_s:
            del limb.children[dead]
        inner = not self.shape.own_only or self.own == tree or (spare and not owns)
        if self.is_source:
            free, inner = not limb.children, owns or spare or not self.shape.own_only
        else:
            free = self.degree < self.shape.degree
        if inner and free:
            limb.children[peer] = owns, now
            return {b"ok": 1}
        if self.shape.own_only and owns and (self.own == tree or self.is_source):
            leaves = [each for each, row in limb.children.items() if not row[0]]
            if leaves:
                del limb.children[leaves[0]]
                self._krpc.tell(_at(leaves[0]), b"tree.drop", {b"t": tree})
                limb.children[peer] = owns, now
                return {b"ok": 1}
        wide = not self.shape.own_only or self.is_source
        below = [each for each, row in limb.children.items() if row[0] or wide]
        return {b"to": self.host.rng.sample(below, min(2, len(below)))}

    def _beat(self, limb: Limb, tree: int, peer: Id, words: Arguments) -> None:
        if peer != limb.parent:
            self._krpc.tell(_at(peer), b"tree.leave", {b"t": tree})
            return
        limb.heard_at = self.host.time()
        number, path = int(words[b"n"]), bytes(words[b"p"])
        limb.path = tuple(path[at : at + 4] for at in range(0, len(path), 4))
        if self.me in limb.path:
            limb.parent = None
            self._seek(tree)
        elif number > limb.number:
            limb.number = number
            self._pass_on(tree)

    def _pass_on(self, tree: int) -> None:
        limb = self.limbs[tree]
        words: Arguments = {b"t": tree, b"n": limb.number, b"p": b"".join((*limb.path, self.me))}
        for child in limb.children:
            self._krpc.tell(_at(child), b"tree.beat", words)

    # -- what it does by itself

    async def _source_forever(self) -> None:
        while True:
            for tree, limb in enumerate(self.limbs):
                limb.number += 1
                self._pass_on(tree)
                self._drop_silent(limb)
            await asyncio.sleep(self.settings.beat_s)

    async def _look_forever(self) -> None:
        settings, said_at, known_at = self.settings, 0.0, self.host.time()
        while True:
            await asyncio.sleep(0.05)
            now = self.host.time()
            says = now - said_at >= settings.here_s
            said_at = now if says else said_at
            if now - known_at >= settings.renew_s:
                known_at = now
                self._krpc.tell(_at(self.source), b"tree.hello", {})
            for tree, limb in enumerate(self.limbs):
                self._drop_silent(limb)
                if limb.parent is None:
                    if says:
                        self._pass_on(tree)  # the branch lives, and waits for us
                elif now - limb.heard_at >= settings.dead_s:
                    limb.parent = None
                    self._seek(tree)
                elif says:
                    self._krpc.tell(_at(limb.parent), b"tree.here", {b"t": tree})
                if limb.parent is not None and now - limb.heard_at >= settings.probe_s:
                    self._pass_on(tree)  # idle: those below need not mend

    def _drop_silent(self, limb: Limb) -> None:
        now = self.host.time()
        for child, (_, heard_at) in list(limb.children.items()):
            if now - heard_at >= self.settings.child_dead_s:
                del limb.children[child]

    def _seek(self, tree: int) -> None:
        limb = self.limbs[tree]
        if limb.seeking is None or limb.seeking.done():
            limb.seeking = asyncio.get_running_loop().create_task(self._find_parent(tree))

    async def _find_parent(self, tree: int) -> None:
        limb, rng, settings = self.limbs[tree], self.host.rng, self.settings
        tries, above = 0, list(limb.path[:-1])
        while limb.parent is None:
            start = above.pop() if above else await self._contact(tree, tries)
            # The spare capacity group is the last resort.
            if start is not None and await self._descend(tree, start, spare=tries >= 3):
                return
            tries += 1
            await asyncio.sleep(rng.uniform(0.2, 1.0) * settings.backoff_most_s)

    async def _contact(self, tree: int, tries: int) -> Id | None:
        """A random peer; the source itself as long as few are here."""
        try:
            words = await self._krpc.call(
                _at(self.source), b"tree.contacts", {}, timeout_s=self.settings.call_s
            )
        except (NoAnswerError, CallError):
            return None
        ids = [each for each in words[b"ids"] if each != self.me]
        return self.host.rng.choice(ids) if ids and tries % 4 != 3 else self.source

    async def _descend(self, tree: int, start: Id, *, spare: bool) -> bool:
        limb, asked, left = self.limbs[tree], {self.me}, [start]
        for _ in range(STEPS):
            while left and left[-1] in asked:
                left.pop()
            if not left:
                return False
            peer = left.pop()
            asked.add(peer)
            words: Arguments = {
                b"t": tree,
                b"n": limb.number,
                b"own": int(self.own == tree or not self.shape.own_only),
                b"spare": int(spare),
                b"dead": limb.path[-1] if limb.path else b"",
            }
            try:
                said = await self._krpc.call(
                    _at(peer), b"tree.attach", words, timeout_s=self.settings.call_s
                )
            except (NoAnswerError, CallError):
                continue
            if b"ok" in said:
                limb.parent, limb.heard_at = peer, self.host.time()
                return True
            left += list(said[b"to"])
        return False

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._krpc.close()


class OtherCrowd:
    """So many peers of one shape in a fresh world; looked at from above as `Crowd` is."""

    def __init__(self, world: World, rng: Random, shape: Shape) -> None:
        self.world, self.rng, self.shape = world, rng, shape
        self.settings = Settings()
        self.nodes: dict[Id, OtherNode] = {}
        self.hosts: dict[Id, SimHost] = {}
        self.joining: dict[Id, asyncio.Task[None]] = {}
        self.orphans: list[tuple[Id, int, float]] = []
        self.orphaned_s: list[float] = []
        self.fallen = 0
        self._source_host = world.host("source")

    @property
    def now(self) -> float:
        return self.world.loop.now

    @property
    def live(self) -> list[Id]:
        return [peer for peer in self.nodes if peer not in self.joining]

    async def open(self) -> None:
        await self._source_host.start(self._opened(self._source_host, -1))

    async def _opened(self, host: SimHost, own: int) -> OtherNode:
        node = OtherNode(host, self._source_host.address, self.shape, own, self.settings)
        await node.open(host.address)
        self.nodes[node.me] = node
        return node

    def start(self) -> None:
        host = self.world.host(f"n{len(self.hosts)}")
        peer, own = id_of(host.address), len(self.hosts) % self.shape.trees
        self.hosts[peer] = host
        self.joining[peer] = host.start(self._come(host, own))

    async def _come(self, host: SimHost, own: int) -> None:
        node = await self._opened(host, own)
        await node.join()
        self.joining.pop(node.me, None)

    def fall(self, peer: Id) -> None:
        self.fallen += 1
        node = self.nodes.pop(peer)
        for tree, limb in enumerate(node.limbs):
            self.orphans += [(child, tree, self.now) for child in limb.children]
        self.hosts[peer].crash()

    @property
    def peers(self) -> list[Id]:
        """Those that have joined, the source left out."""
        return [peer for peer in self.live if not self.nodes[peer].is_source]

    def look(self) -> None:
        """Which orphans have a parent now, that knows it?"""
        left = []
        for peer, tree, since in self.orphans:
            node = self.nodes.get(peer)
            if node is None:
                continue
            parent = self.nodes.get(node.limbs[tree].parent or b"")
            if parent is not None and peer in parent.limbs[tree].children:
                self.orphaned_s.append(self.now - since)
            else:
                left.append((peer, tree, since))
        self.orphans = left

    def depths(self) -> list[list[int | None]]:
        """Of each peer in each tree its hops from the source; None where it is cut off."""
        return [
            [self._depth(peer, tree) for tree in range(self.shape.trees)] for peer in self.peers
        ]

    def _depth(self, peer: Id, tree: int) -> int | None:
        for depth in range(len(self.nodes)):
            node = self.nodes[peer]
            if node.is_source:
                return depth
            parent = node.limbs[tree].parent
            if parent is None or parent not in self.nodes:
                return None
            if peer not in self.nodes[parent].limbs[tree].children:
                return None
            peer = parent
        return None

    def loads(self) -> list[int]:
        """Children of each peer, over all trees."""
        return [self.nodes[peer].degree for peer in self.peers]
