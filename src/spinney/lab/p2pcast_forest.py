"""The forest's structure: how deep it is, what a join and a failure move, what a disaster cuts off.

No network: plans are applied at once.  Beside the forest stand the complete tree (the forest laid
out by the source), one tree (SpreadIt) and random striped trees (SplitStream's shape).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from spinney.lab._trees import Parents, depths, hops_until, lacking, one_tree, random_stripes
from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.p2pcast.place import SOURCE, SPECIAL, Name, Place, empty_place
from spinney.p2pcast.plans import checks
from spinney.p2pcast.plans.forest import Cost, Forest
from spinney.p2pcast.plans.layout import lay_out

SHAPES = ("forest", "complete", "one-tree", "random-stripes")


def run(trial: Trial) -> Iterator[Row]:
    """One shape: grown, churned (the forest only), then hit by a disaster."""
    shape = str(trial["shape"])
    stripes: int = trial["stripes"]
    spare: int = trial["spare"] if trial["spare"] >= 0 else stripes // 4
    rng = trial.rng(shape)
    row: Row = {"invariants": True}
    forest: Forest | None = None
    needed = max(1, stripes - 1)
    if shape == "forest":
        forest = Forest(stripes, rng, spare=spare, contacts=trial["contacts"])
        row |= _grow_and_churn(forest, trial)
        trees = _parents(forest.places, sorted(forest.names))
    elif shape == "complete":
        names = range(trial["peers"])
        old = [empty_place(name, stripes) for name in names]
        ends = (empty_place(SOURCE, stripes), empty_place(SPECIAL, stripes))
        places = lay_out(stripes, old, *ends)
        checks.whole(places)
        trees = _parents(places, list(names))
    elif shape == "one-tree":
        trees, needed = one_tree(trial["peers"], stripes, rng), 1
    else:
        assert shape == "random-stripes", f"no shape {shape!r}"
        trees, row["fallbacks"] = random_stripes(trial["peers"], stripes, spare, rng)
    row |= _depths(trees, needed)
    gone = rng.sample(range(len(trees[0])), round(len(trees[0]) * trial["failed"]))
    lacks = lacking(trees, set(gone))
    row["lack_none"] = _share(lacks, 0, 0)
    row["lack_one"] = _share(lacks, 1, 1)
    row["lack_more"] = _share(lacks, 2, stripes)
    if forest is not None and gone:
        names_now = sorted(forest.names)
        forest.fall(names_now[at] for at in gone)
        costs = forest.mend()
        checks.whole(forest.places)
        row["mend_edges"] = _mean([cost.moved_edges for cost in costs])
        mended = _depths(_parents(forest.places, sorted(forest.names)), needed)
        row["hops_max_mended"] = mended["hops_max"]
    yield row


def _grow_and_churn(forest: Forest, trial: Trial) -> Row:
    rng = trial.rng("churn")
    peers, churn = trial["peers"], trial["churn"]
    joins = [forest.join(name, since=float(name)) for name in range(peers)]
    leaves: list[Cost] = []
    for name in range(peers, peers + churn):
        leaves.append(forest.leave(rng.choice(forest.names)))
        joins.append(forest.join(name, since=float(name)))
        touched = {move.child for cost in (joins[-1], leaves[-1]) for move in cost.moves}
        checks.around(forest.places, sorted(touched))
    checks.whole(forest.places)
    late = joins[-max(1, churn) :]
    incomplete = sum(bool(place.cohort) for place in forest.places.values())
    return {
        "join_edges": _mean([cost.moved_edges for cost in late]),
        "join_calls": _mean([cost.calls for cost in late]),
        "plain_share": _mean([cost.kind == "join: plain" for cost in late]),
        "leave_edges": _mean([cost.moved_edges for cost in leaves]),
        "leave_calls": _mean([cost.calls for cost in leaves]),
        "updates": _mean([cost.updates for cost in (*late, *leaves)]),
        "incomplete_share": round(incomplete / len(forest), 4),
        "most_children": max(place.out_degree for place in forest.places.values()),
        "laid_out": forest.totals.layouts,
    }


def _parents(places: dict[Name, Place], names: list[Name]) -> Parents:
    at = {name: number for number, name in enumerate(names)} | {SOURCE: -1}
    stripes = len(places[SOURCE].parents)
    return [[at[places[name].parents[stripe]] for name in names] for stripe in range(stripes)]


def _depths(trees: Parents, needed: int) -> Row:
    hops = [depths(parents) for parents in trees]
    until = hops_until(hops, needed)
    return {
        "depth_max": max(map(max, hops)) - 1,
        "depth_mean": round(sum(map(sum, hops)) / len(hops) / len(until) - 1, 3),
        "hops_p50": until[len(until) // 2],
        "hops_p99": until[int(len(until) * 0.99)],
        "hops_max": until[-1],
    }


def _share(counts: list[int], least: int, most: int) -> float:
    return round(sum(least <= count <= most for count in counts) / max(1, len(counts)), 4)


def _mean(values: list[int] | list[bool]) -> float:
    return round(sum(values) / max(1, len(values)), 3)


def _few_lack_more(rows: object) -> bool:
    """One failure costs anybody at most one stripe; that is checked as a rule, too."""
    assert isinstance(rows, list)
    return all(row["lack_none"] + row["lack_one"] + row["lack_more"] > 0.999 for row in rows)


def _hops_rise(rows: object) -> bool:
    assert isinstance(rows, list)
    names = ("hops_p50", "hops_p99", "hops_max")
    return all(row[a] <= row[b] for row in rows for a, b in pairwise(names))


EXPERIMENT = Experiment(
    name="p2pcast-forest",
    doc="P2PCast's forest: depth, hops, edges that a join and a failure move, and disasters",
    parameters={
        "shape": "forest",
        "peers": 1000,
        "stripes": 4,
        "spare": -1,
        "contacts": 4,
        "churn": 200,
        "failed": 0.05,
    },
    grid={"shape": SHAPES, "stripes": (2, 4, 8)},
    run=run,
    checks=(
        Check("the rules hold", lambda rows: all(row["invariants"] for row in rows)),
        Check("shares sum to one", _few_lack_more),
        Check("hops rise with the share of peers", _hops_rise),
    ),
    plot=Plot(x="stripes", y="hops_p99", by="shape"),
    source="P2PCast paper, sections 3 to 5",
    seeds=2,
    bounds={
        "peers": (20, 20_000),
        "stripes": (2, 16),
        "spare": (-1, 16),
        "contacts": (1, 64),
        "churn": (0, 20_000),
        "failed": (0, 0.5),
    },
)
