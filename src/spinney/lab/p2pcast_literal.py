"""The paper's text to the letter, for two stripes: when its first rule breaks, and when the forest.

The paper never ran its deletion.  Here it runs, with all six calls: the forest grows to its size,
then a random peer fails and another joins, until somebody is cut off from the source for good.
"""

from __future__ import annotations

from collections.abc import Iterator

from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial
from spinney.p2pcast.plans import checks
from spinney.p2pcast.plans.literal import LiteralForest


def run(trial: Trial) -> Iterator[Row]:
    rng = trial.rng("literal")
    forest = LiteralForest(rng)
    for name in range(trial["peers"]):
        forest.join(name)
    checks.whole(forest.places())  # insertion alone holds
    rule, broken_at, failures, lost = "", 0, 0, 0
    while failures < trial["failures"] and not lost:
        failures += 1
        forest.fail(rng.choice([name for name in forest.nodes if name >= 0]))
        if not broken_at:
            try:
                checks.whole(forest.places())
            except checks.Broken as broken:
                broken_at, rule = failures, ", ".join(sorted(broken.rules))
        lost = forest.cut_off()
        if not lost:
            forest.join(trial["peers"] + failures)
    yield {
        "first_broken": broken_at,
        "rule": rule,
        "first_cut_off": failures if lost else 0,
        "cut_off": lost,
        **{call: forest.calls[call] for call in sorted(forest.calls)},
    }


EXPERIMENT = Experiment(
    name="p2pcast-literal",
    doc="P2PCast's deletion to the letter: failures until a rule breaks and peers are cut off",
    parameters={"peers": 100, "failures": 400},
    grid={"peers": (100, 1000)},
    run=run,
    checks=(
        Check("a rule breaks", lambda rows: all(row["first_broken"] for row in rows)),
        Check(
            "the first rule breaks before anybody is cut off",
            lambda rows: all(
                not row["first_cut_off"]
                or int(row["first_broken"] or 0) <= int(row["first_cut_off"])
                for row in rows
            ),
        ),
    ),
    plot=Plot(x="peers", y="first_cut_off", log_x=True),
    source="P2PCast paper, sections 4, 5 and 7",
    seeds=20,
    bounds={"peers": (10, 20_000), "failures": (1, 10_000)},
)
