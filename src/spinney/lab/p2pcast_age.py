"""Newcomers low, long-lived peers high: what the rule brings to those who stay.

Peers come as others go; how long they stay has a long tail, as it has in real systems.  When one
falls, everybody below it in its tree is interrupted once in one stripe.  Structure only: a fallen
peer's places are filled at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.p2pcast.place import Name
from spinney.p2pcast.plans import checks
from spinney.p2pcast.plans.forest import Forest

OLD_S = 1800.0
"""So long a peer has been there when its interruptions count."""
FIRST_RISE_S = 120.0
"""A peer looks at its parent's age when it is so old, and each time it is twice as old again."""


def run(trial: Trial) -> Iterator[Row]:
    """Fills the forest, lets it run until it is in balance, then counts."""
    rng = trial.rng("churn")
    stripes: int = trial["stripes"]
    rule = str(trial["rule"])
    forest = Forest(
        stripes,
        trial.rng("forest"),
        spare=trial["spare"] if trial["spare"] >= 0 else stripes // 4,
        contacts=trial["contacts"],
        prefer_old=rule != "none",
        sink_levels=trial["sink_levels"] if rule != "none" else 0,
    )
    hours: float = trial["hours"]
    begin_s, end_s = hours * 1800.0, hours * 5400.0
    events: list[tuple[float, str, Name]] = []

    def come(name: Name, now: float) -> None:
        forest.join(name, since=now)
        # A Pareto tail: the longer somebody has been there, the longer it stays.
        stay_s = trial["least_stay_s"] * (1.0 - rng.random()) ** (-1.0 / trial["tail"])
        heapq.heappush(events, (now + stay_s, "go", name))
        if rule == "rise":
            heapq.heappush(events, (now + FIRST_RISE_S, "rise", name))

    for name in range(trial["peers"]):
        come(name, 0.0)
    names, failures, interruptions, old_s, moved = trial["peers"], 0, 0, 0.0, 0
    last = begin_s
    while events and events[0][0] < end_s:
        now, what, name = heapq.heappop(events)
        if name not in forest.places:
            continue
        if what == "rise":
            cost = forest.rise(name, now)
            age = now - forest.places[name].since
            heapq.heappush(events, (now + age, "rise", name))
            moved += cost.moved_edges if cost is not None and now >= begin_s else 0
            continue
        if now >= begin_s:
            old = [each for each in forest.names if forest.places[each].since <= now - OLD_S]
            old_s += len(old) * (now - last)
            last = now
            failures += 1
            interruptions += sum(
                1 for each in below(forest, name) if forest.places[each].since <= now - OLD_S
            )
        left = forest.leave(name)
        moved += left.moved_edges if now >= begin_s else 0
        come(names, now)
        names += 1
    checks.whole(forest.places)
    own = {each: forest.depth(each, forest.places[each].stripe) for each in forest.names}
    inner = [each for each in forest.names if forest.places[each].out_degree]
    ages = {each: end_s - forest.places[each].since for each in inner}
    yield {
        "failures": failures,
        "interruptions_per_old_hour": round(interruptions / max(1.0, old_s / 3600.0), 3),
        "old_share": round(old_s / max(1.0, (last - begin_s) * len(forest)), 3),
        "edges_per_failure": round(moved / max(1, failures), 2),
        "age_min_depth_0_1": mean_age(ages, own, 0, 1),
        "age_min_depth_2": mean_age(ages, own, 2, 2),
        "age_min_deeper": mean_age(ages, own, 3, 99),
    }


def below(forest: Forest, name: Name) -> list[Name]:
    """Everybody below this peer in any tree; without itself."""
    found: list[Name] = []
    for stripe in range(forest.stripes):
        queue = list(forest.places[name].children[stripe])
        while queue:
            each = queue.pop()
            if each >= 0:
                found.append(each)
                queue += forest.places[each].children[stripe]
    return found


def mean_age(ages: dict[Name, float], depths: dict[Name, int], least: int, most: int) -> float:
    """Minutes, over inner peers at these depths of their own tree."""
    rows = [age for name, age in ages.items() if least <= depths[name] <= most]
    return round(sum(rows) / max(1, len(rows)) / 60.0, 1)


EXPERIMENT = Experiment(
    name="p2pcast-age",
    doc="P2PCast: long-lived peers high in their tree, and what that spares those who stay",
    parameters={
        "peers": 500,
        "stripes": 4,
        "spare": -1,
        "contacts": 4,
        "rule": "rise",
        "sink_levels": 1,
        "hours": 1.0,
        "least_stay_s": 120.0,
        "tail": 1.0,
    },
    grid={"rule": ("none", "sink", "rise")},
    run=run,
    checks=(Check("somebody fell", lambda rows: all(row["failures"] for row in rows)),),
    plot=Plot(x="sink_levels", y="interruptions_per_old_hour", by="rule"),
    source="P2PCast paper, sections 2 and 5",
    seeds=3,
    bounds={"stripes": (2, 16), "spare": (-1, 4), "peers": (40, 5000)},
)
