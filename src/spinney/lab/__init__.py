"""The laboratory: experiments with the real protocol code in a simulated network.

An experiment is one file of this folder with an `EXPERIMENT` (see `echo.py`); `spinney lab`
is the command.  From Python:

    from spinney import lab

    lab.list()                                       # the experiments
    sweep = lab.run("echo", seeds=5, parameters={"loss": [0, 0.1]}, out="results")
    lab.replay("echo", seed=3, parameters={"loss": 0.1}, trace="trace.jsonl")
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spinney.lab.experiment import Experiment, Result, Value
    from spinney.lab.sweep import Sweep

    Given = Mapping[str, Value | Sequence[Value]]


def list() -> builtins.list[Experiment]:
    """All experiments, sorted by name."""
    from spinney.lab import registry

    return registry.load_all()


def run(
    name: str,
    seeds: int | Iterable[int] | None = None,
    parameters: Given | None = None,
    out: str | None = None,
    *,
    plot: bool = False,
    workers: int | None = None,
    told: Callable[[Result, int, int], object] | None = None,
) -> Sweep:
    """Runs an experiment for every seed and every combination of parameters.

    `seeds`: how many (0, 1, …) or which; None: as many as the experiment asks for.
    `parameters`: a value or a list of values for each name; what is not given is as the
    experiment has it.  `out`: a folder for NAME.csv, NAME.json, with `plot` NAME.png, and
    NAME.failures.jsonl.  `workers`: processes, all cores if None, 1 in this process.
    `told(result, done, total)` hears of each trial.

    Raises `UsageError` for a name or parameter that does not exist, or a plot without
    matplotlib; `NotWritableError` if `out` takes no files.  Trials that failed are in
    `failures`, each with its error.
    """
    from pathlib import Path

    from spinney.lab import output, plotting_needs, registry, sweep

    experiment = registry.load(name)
    if plot:
        plotting_needs(experiment)
    chosen = experiment.seeds if seeds is None else seeds
    if out is not None:
        output.prepare(Path(out), experiment.name)
    which = range(chosen) if isinstance(chosen, int) else builtins.list(chosen)
    done = sweep.sweep(experiment, which, parameters or {}, workers=workers, told=told)
    if out is not None:
        output.write(done, Path(out), plot=plot)
    return done


def replay(
    name: str,
    seed: int,
    parameters: Mapping[str, Value] | None = None,
    trace: str | None = None,
) -> Result:
    """Runs one trial again in this process, with a trace in JSON lines if asked for.

    Raises `UsageError`, and `StorageError` for a trace that cannot be written.
    """
    from spinney.errors import StorageError, UsageError
    from spinney.lab import registry, sweep

    registry.load(name)
    for key, value in (parameters or {}).items():
        if not isinstance(value, int | float | str | None):
            raise UsageError(f"replay runs one trial: give {key} one value")
    if trace is None:
        return sweep.run_trial(name, seed, parameters or {})
    try:
        return sweep.run_trial(name, seed, parameters or {}, trace)
    except OSError as error:
        raise StorageError(
            f"the trace cannot be written to {trace}: {error.strerror}; "
            "choose another file with --trace"
        ) from None


def plotting_needs(experiment: Experiment) -> None:
    """Raises `UsageError` if a plot cannot be drawn, before anything runs."""
    from spinney.lab import plot

    plot.require(experiment)
