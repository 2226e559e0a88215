"""Other shapes for the experiments on the forest: one tree, and random striped trees.

Both are the best that their systems could be with the same degree: nobody who joins is turned away
for any other reason than a full parent.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

Parents = list[list[int]]
"""For each tree the parent of each peer; -1 is the source."""


def one_tree(peers: int, degree: int, rng: Random) -> Parents:
    """SpreadIt: a newcomer asks a random peer, and is sent down at random while that one is full.
    An inner peer uploads the whole stream to each of its children."""
    parents: list[int] = []
    children: list[list[int]] = []
    for name in range(peers):
        at = -1 if not name else rng.randrange(name)
        while at >= 0 and len(children[at]) >= degree:
            at = rng.choice(children[at])
        parents.append(at)
        children.append([])
        if at >= 0:
            children[at].append(name)
    return [parents]


def random_stripes(peers: int, stripes: int, spare: int, rng: Random) -> tuple[Parents, int]:
    """SplitStream's shape: everybody is inner in one tree, by its name, and hangs below a random
    owner with a free slot in each.  Where there is none it falls back on whoever has a slot (the
    spare capacity group); the second value counts these."""
    load = [0] * peers
    parents: Parents = [[-1] * peers for _ in range(stripes)]
    fallbacks = 0
    for stripe in range(stripes):
        order = [name for name in range(peers) if name % stripes == stripe]
        free: list[int] = []
        for name in order:
            fallbacks += _attach(parents[stripe], name, free, load, stripes + spare, rng)
            free.append(name)
        for name in range(peers):
            if name % stripes != stripe:
                fallbacks += _attach(parents[stripe], name, free, load, stripes + spare, rng)
    return parents, fallbacks


def _attach(
    row: list[int], name: int, free: list[int], load: list[int], degree: int, rng: Random
) -> bool:
    """True if it had to fall back on somebody who is inner elsewhere (or found nobody)."""
    if free:
        at = rng.randrange(len(free))
        row[name] = free[at]
        load[free[at]] += 1
        if load[free[at]] >= degree:
            free[at] = free[-1]
            free.pop()
        return False
    if not any(parent >= 0 for parent in row):
        return False  # the root
    others = [each for each in range(len(load)) if load[each] < degree and row[each] >= 0]
    for at in rng.sample(others, len(others)):
        if not _is_below(row, at, name):
            row[name] = at
            load[at] += 1
            return True
    return True


def _is_below(row: list[int], name: int, ancestor: int) -> bool:
    while name >= 0:
        if name == ancestor:
            return True
        name = row[name]
    return False


def depths(parents: list[int]) -> list[int]:
    """Hops from the source: a root has one."""
    known: dict[int, int] = {-1: 0}
    for name in range(len(parents)):
        path = []
        at = name
        while at not in known:
            path.append(at)
            at = parents[at]
        for each in reversed(path):
            known[each] = known[parents[each]] + 1
    return [known[name] for name in range(len(parents))]


def hops_until(trees: Iterable[list[int]], needed: int) -> list[int]:
    """For each peer the hops after which it has so many stripes."""
    columns = list(zip(*trees, strict=True))
    return sorted(sorted(column)[needed - 1] for column in columns)


def lacking(trees: Parents, gone: set[int]) -> list[int]:
    """How many stripes each peer that is left lacks while those are gone and nothing is mended."""
    counts = [0] * len(trees[0])
    for parents in trees:
        cut: dict[int, bool] = {-1: False}
        for name in range(len(parents)):
            path = []
            at = name
            while at not in cut:
                path.append(at)
                at = parents[at]
            for each in reversed(path):
                cut[each] = cut[parents[each]] or parents[each] in gone
        for name in range(len(parents)):
            counts[name] += cut[name]
    return [count for name, count in enumerate(counts) if name not in gone]
