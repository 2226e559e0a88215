"""`lay_out`: the source places few peers itself, as flat as can be.

For n <= f the rules cannot all hold (a peer has f children, and there are fewer others), and for
n below about 3f a legal local move may be lacking; then the source, who knows its registry, says
where everybody stands.  The same shape for any n is the complete tree that experiments measure
against.  n = a f + r: the first r peers are a cohort that owns the trees 0 to r - 1; of the others
each f-th owns the same tree.
"""

from __future__ import annotations

from collections.abc import Sequence

from spinney.p2pcast.place import NOBODY, SOURCE, SPECIAL, Cohort, Name, Place

Edges = list[tuple[Name, Name]]


def lay_out(stripes: int, old: Sequence[Place], source: Place, special: Place) -> dict[Name, Place]:
    """New places, versions risen by one, of all peers, the source and the special node."""
    count = len(old)
    r = count if count <= stripes else count % stripes
    cohort: Cohort = tuple((at, old[at].name) for at in range(r)) if r < stripes else ()
    owned = [at if at < r else (at - r) % stripes for at in range(count)]
    trees = [_tree(stripes, [place.name for place in old], r, tree) for tree in range(stripes)]
    parents: dict[Name, list[Name]] = {}
    rows: dict[Name, list[list[Name]]] = {}
    for name in (SOURCE, SPECIAL, *(place.name for place in old)):
        parents[name] = [NOBODY] * stripes
        rows[name] = [[] for _ in range(stripes)]
    for tree, edges in enumerate(trees):
        for parent, child in edges:
            rows[parent][tree].append(child)
            parents[child][tree] = parent
    made: dict[Name, Place] = {}
    for at, place in enumerate([*old, source, special]):
        name = place.name
        made[name] = Place(
            name,
            owned[at] if at < count else -1,
            tuple(parents[name]),
            tuple(tuple(row) for row in rows[name]),
            cohort if at < r else (),
            place.spare,
            place.since,
            place.version + 1,
        )
    return made


def _tree(stripes: int, names: Sequence[Name], r: int, tree: int) -> Edges:
    """One tree as (parent, child), the source first."""
    few, others = names[:r], names[r:]
    if not others:
        return _tree_of_few(names, tree)
    inner = list(others[tree::stripes])
    edges: Edges = []
    below: set[Name] = set()
    for at, member in enumerate(few):
        if tree < r and at == tree:
            row = [*(name for name in few if name != member), SPECIAL]
        elif tree >= r:
            row = [others[(tree + 1 + at) % stripes]]
        else:
            row = []
        edges += [(member, child) for child in row]
        below.update(row)
    hanging = [name for name in inner if name not in below]
    hanging += [name for name in few if name not in below]
    chosen = set(inner)
    hanging += [name for name in others if name not in below and name not in chosen]
    if SPECIAL not in below:
        hanging.append(SPECIAL)
    slots = [SOURCE, *(owner for owner in inner for _ in range(stripes))]
    return list(zip(slots, hanging, strict=True)) + edges


def _tree_of_few(names: Sequence[Name], tree: int) -> Edges:
    """n <= f: who owns the tree has all others as children; in a tree of nobody a chain."""
    count = len(names)
    if not count:
        return [(SOURCE, SPECIAL)]
    if tree < count:
        owner = names[tree]
        row = [*(name for name in names if name != owner), SPECIAL]
        return [(SOURCE, owner), *((owner, child) for child in row)]
    turned = [*names[tree % count :], *names[: tree % count]]
    return list(zip([SOURCE, *turned], [*turned, SPECIAL], strict=True))
