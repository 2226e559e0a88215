"""Pictures of a sweep; matplotlib is imported only when one is asked for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from statistics import mean
from typing import Any

from spinney.errors import UsageError
from spinney.lab.experiment import Experiment, Row, Value
from spinney.lab.sweep import Sweep


def require(experiment: Experiment) -> None:
    """Raises `UsageError` if no picture can be drawn."""
    if experiment.plot is None:
        raise UsageError(f"{experiment.name} does not say what to plot")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("plots need matplotlib: install spinney[lab]")


def series(
    rows: list[Row], x: str, y: str, by: str | None
) -> dict[Value, dict[Value, list[float]]]:
    """For each value of `by`, for each value of `x`, all values of `y`."""
    lines: dict[Value, dict[Value, list[float]]] = {}
    for row in rows:
        value = row.get(y)
        if isinstance(value, int | float):
            label = row.get(by) if by else y
            lines.setdefault(label, {}).setdefault(row.get(x), []).append(float(value))
    return lines


def draw(sweep: Sweep, path: Path) -> Path:
    """Draws the experiment's plot into a PNG file."""
    require(sweep.experiment)
    plot = sweep.experiment.plot
    assert plot is not None
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for label, points in series(sweep.rows, plot.x, plot.y, plot.by).items():
        keys: list[Any] = list(points)
        middles = [mean(points[key]) for key in keys]
        below = [m - min(points[key]) for m, key in zip(middles, keys, strict=True)]
        above = [max(points[key]) - m for m, key in zip(middles, keys, strict=True)]
        name = f"{plot.by} = {label}" if plot.by else None
        axes.errorbar(keys, middles, yerr=[below, above], marker="o", capsize=3, label=name)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    axes.set_title(plot.title or sweep.experiment.doc)
    if plot.log_x:
        axes.set_xscale("log")
    if plot.by:
        axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=140)
    pyplot.close(figure)
    return path
