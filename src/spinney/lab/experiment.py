"""What an experiment is: a file that builds a world, runs real nodes, yields rows, and checks.

EXPERIMENT = Experiment(
    name="echo",
    doc="What loss does to a request with a time limit.",
    parameters={"nodes": 20, "loss": 0.05},
    grid={"loss": (0.0, 0.05, 0.2)},
    run=run,
    checks=(Check("every request ends", lambda rows: all(row["ended"] for row in rows)),),
    plot=Plot(x="loss", y="answered"),
)

def run(trial: Trial) -> Iterable[Row]:
    world = trial.world(link=Link(loss=trial["loss"]))
    ...
    yield {"node": 1, "answered": 17}
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from typing import Any, TypeAlias

from spinney.errors import UsageError
from spinney.sim import World

Value: TypeAlias = int | float | str | bool | None
Row: TypeAlias = dict[str, Value]
Parameters: TypeAlias = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Check:
    """A statement that must hold for the rows of every trial."""

    statement: str
    holds: Callable[[Sequence[Row]], bool]


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of the rows: `y` (mean and spread over seeds) against `x`, a line for each `by`."""

    x: str
    y: str
    by: str | None = None
    title: str = ""
    log_x: bool = False


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment.  `parameters` are defaults; `grid` is what a sweep varies unless told.

    `bounds`: the least and the most that a parameter may be, where not every number makes sense.
    """

    name: str
    doc: str
    parameters: Parameters
    run: Callable[[Trial], Iterable[Row]]
    grid: Mapping[str, Sequence[Value]] = field(default_factory=dict)
    checks: Sequence[Check] = ()
    plot: Plot | None = None
    source: str = ""
    seeds: int = 5
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def with_defaults(self, given: Parameters) -> dict[str, Value]:
        """All parameters of a trial; raises `UsageError` for a name that does not exist, or a
        value that is not of its kind or beyond its bounds.

        Text becomes the type of the default, so that a command line can pass it on.
        """
        merged = dict(self.parameters)
        for key, value in given.items():
            if key not in merged:
                known = ", ".join(sorted(merged))
                raise UsageError(f"{self.name} has no parameter {key!r}; it has: {known}")
            merged[key] = like(merged[key], value)
            self._check(key, merged[key])
        return merged

    def _check(self, key: str, value: Value) -> None:
        if key in self.bounds and isinstance(value, int | float):
            least, most = self.bounds[key]
            if not least <= value <= most:
                raise UsageError(f"{key}={value}: {self.name} takes {least:,} to {most:,}")


def like(default: Value, value: Value) -> Value:
    """A value given as text, as the type of the default."""
    if not isinstance(value, str) or isinstance(default, str) or default is None:
        return value
    if isinstance(default, bool):
        if value.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise UsageError(f"{value!r} is neither true nor false")
        return value.lower() in ("true", "yes", "1")
    try:
        return type(default)(value)
    except ValueError:
        kind = "whole number" if isinstance(default, int) else "number"
        raise UsageError(f"{value!r} is no {kind}, as {default} is") from None


class Trial:
    """One run of an experiment: a seed and parameters, and the worlds that it makes."""

    def __init__(
        self, experiment: Experiment, seed: int, parameters: Parameters, trace: str | None = None
    ) -> None:
        self.experiment = experiment
        self.seed = seed
        self.parameters = experiment.with_defaults(parameters)
        self._trace = trace
        self._worlds: list[World] = []

    def __getitem__(self, name: str) -> Any:
        return self.parameters[name]

    def rng(self, purpose: str) -> Random:
        """Chance for the experiment itself (what to send, who fails)."""
        return Random(blake2b(f"{self.seed}/{purpose}".encode()).digest())

    def world(self, **options: Any) -> World:
        """A world of this trial's seed; options as for `World`.  Closed when the trial ends."""
        trace = self._trace if not self._worlds else None
        seed = f"{self.seed}/{len(self._worlds)}" if self._worlds else self.seed
        world = World(seed, trace=trace, **options)
        self._worlds.append(world)
        return world

    def perform(self) -> Result:
        """Runs the experiment once.  An error or a check that fails is in the result."""
        rows: list[Row] = []
        error = ""
        try:
            rows.extend(self.experiment.run(self))
            broken = [check.statement for check in self.experiment.checks if not check.holds(rows)]
            error = "".join(f"does not hold: {statement}\n" for statement in broken)
        except Exception as problem:
            if self._trace is not None and isinstance(problem, OSError):
                self._abandon()
                raise  # the trace's: a simulated disk fails by `StorageError`
            error = traceback.format_exc()
        digest = blake2b(digest_size=16)
        for world in self._worlds:
            digest.update(world.digest().encode())
        with contextlib.ExitStack() as stack:
            for world in self._worlds:
                stack.callback(world.close)
        return Result(self.seed, self.parameters, rows, error.strip(), digest.hexdigest())

    def _abandon(self) -> None:
        """Closes the worlds, whatever that brings."""
        for world in self._worlds:
            with contextlib.suppress(Exception):
                world.close()


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one trial; `error` is empty if all went well."""

    seed: int
    parameters: dict[str, Value]
    rows: list[Row]
    error: str
    digest: str

    def table(self) -> Iterator[Row]:
        """The rows with seed and parameters in front."""
        for row in self.rows:
            yield {"seed": self.seed, **self.parameters, **row}
