"""A sweep over seeds in few rows: for each set of parameters the median and the spread."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from spinney.lab.experiment import Row, Value
from spinney.lab.sweep import Sweep


def summary(sweep: Sweep) -> list[Row]:
    """One row for each combination of the parameters that vary: how many trials, and of each
    figure `median (least to most)`."""
    names = sweep.experiment.parameters
    values = {name: [result.parameters[name] for result in sweep.results] for name in names}
    varied = [name for name in names if len(set(values[name])) > 1]
    groups: dict[tuple[Value, ...], list[Row]] = {}
    for result in sweep.results:
        key = tuple(result.parameters[name] for name in varied)
        groups.setdefault(key, []).extend(result.rows)
    return [
        {**dict(zip(varied, key, strict=True)), "rows": len(rows), **_figures(rows)}
        for key, rows in groups.items()
    ]


def _figures(rows: Sequence[Row]) -> Row:
    made: Row = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        found = [row.get(name) for row in rows]
        figures = [
            float(value)
            for value in found
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        if figures:
            made[name] = _spread(figures)
    return made


def _spread(figures: Sequence[float]) -> str:
    middle, least, most = (
        f"{value:.4g}" for value in (median(figures), min(figures), max(figures))
    )
    return middle if least == most else f"{middle} ({least} to {most})"
