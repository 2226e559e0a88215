"""What the MC-FTP paper's circular pairwise checksums can tell, against a hash for each chunk.

c_i covers chunks i and i + 1, so it can be checked when both are here.  With part of a file in
random order, few are; with all of it, a wrong pair says that one of two chunks is bad, and only
a good neighbour says which.  A torrent's own hashes check each chunk alone: always all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from spinney.content.paper import Verdict, judge
from spinney.lab.experiment import Check, Experiment, Plot, Row, Trial


def run(trial: Trial) -> Iterator[Row]:
    """One row for the received chunks, some of them bad."""
    rng = trial.rng("chunks")
    count = trial["chunks"]
    held = sorted(rng.sample(range(count), max(1, round(count * trial["received"]))))
    bad = set(rng.sample(held, round(len(held) * trial["bad"])))
    here = set(held)
    pairs = {
        chunk: chunk not in bad and (chunk + 1) % count not in bad
        for chunk in held
        if (chunk + 1) % count in here
    }
    verdicts = judge(pairs, count, held)
    named = {chunk for chunk, verdict in verdicts.items() if verdict is Verdict.BAD}
    cleared = {chunk for chunk, verdict in verdicts.items() if verdict is Verdict.GOOD}
    unchecked = sum(verdict is Verdict.UNCHECKED for verdict in verdicts.values())
    good = len(held) - len(bad)
    yield {
        "held": len(held),
        "checkable": round(1 - unchecked / len(held), 4),
        "bad_named": round(len(named) / len(bad), 4) if bad else None,
        "good_not_cleared": round((good - len(cleared)) / good, 4) if good else None,
        "wrongly_named": len(named - bad) + len(cleared & bad),
    }


EXPERIMENT = Experiment(
    name="circular-checksums",
    doc="Circular pairwise checksums: what can be checked, which bad chunks are named",
    parameters={"chunks": 1000, "received": 1.0, "bad": 0.0},
    grid={"received": (0.05, 0.1, 0.25, 0.5, 0.75, 1.0), "bad": (0.0, 0.01, 0.1, 0.2, 0.3, 0.5)},
    run=run,
    checks=(
        Check(
            "no good chunk is called bad, no bad one good",
            lambda rows: not any(row["wrongly_named"] for row in rows),
        ),
    ),
    plot=Plot(x="received", y="checkable", title="Chunks that a pair can check / chunks received"),
    source="MC-FTP paper, figure 4",
    seeds=10,
)
