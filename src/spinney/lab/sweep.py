"""Sweeps: seeds times parameters, over all cores; a trial that fails is kept with its replay."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

from spinney.lab import registry
from spinney.lab.experiment import Experiment, Parameters, Result, Row, Trial, Value

MOST_WAITING_A_WORKER = 4
"""Trials handed to the pool ahead of time: a sweep of millions must not be a list in memory."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """All results of a sweep, in the order of parameters and seeds."""

    experiment: Experiment
    results: list[Result]

    @property
    def rows(self) -> list[Row]:
        return [row for result in self.results for row in result.table()]

    @property
    def failures(self) -> list[Result]:
        return [result for result in self.results if result.error]


def replay_command(experiment: Experiment, result: Result) -> str:
    """The command that runs one trial again, with a trace."""
    parts = ["spinney", "lab", "replay", experiment.name, "--seed", str(result.seed)]
    for key, value in result.parameters.items():
        if value != experiment.parameters[key]:
            parts += ["--set", f"{key}={value}"]
    return shlex.join(parts)


def points(
    experiment: Experiment, given: Mapping[str, Value | Sequence[Value]]
) -> list[dict[str, Value]]:
    """Every combination of parameters: what was given replaces the experiment's own grid."""
    axes: dict[str, Sequence[Value]] = dict(experiment.grid)
    for key, value in given.items():
        several = isinstance(value, Sequence) and not isinstance(value, str)
        axes[key] = value if several else (value,)  # type: ignore[assignment]
    keys = list(axes)
    return [
        experiment.with_defaults(dict(zip(keys, values, strict=True)))
        for values in itertools.product(*(axes[key] for key in keys))
    ]


def run_trial(name: str, seed: int, parameters: Parameters, trace: str | None = None) -> Result:
    """One trial in this process."""
    return Trial(registry.load(name), seed, parameters, trace).perform()


def sweep(
    experiment: Experiment,
    seeds: Iterable[int],
    given: Mapping[str, Value | Sequence[Value]],
    *,
    workers: int | None = None,
    told: Callable[[Result, int, int], object] | None = None,
) -> Sweep:
    """Runs every trial; `told(result, done, total)` hears of each as it ends."""
    trials = [(seed, point) for point in points(experiment, given) for seed in seeds]
    workers = min(workers or os.cpu_count() or 1, max(1, len(trials)))
    results: dict[int, Result] = {}
    made = _here(experiment, trials) if workers == 1 else _everywhere(experiment, trials, workers)
    for number, result in made:
        results[number] = result
        if told is not None:
            told(result, len(results), len(trials))
    return Sweep(experiment, [results[number] for number in range(len(trials))])


Trials = Sequence[tuple[int, Parameters]]


def _here(experiment: Experiment, trials: Trials) -> Iterator[tuple[int, Result]]:
    for number, (seed, parameters) in enumerate(trials):
        yield number, Trial(experiment, seed, parameters).perform()


def _everywhere(
    experiment: Experiment, trials: Trials, workers: int
) -> Iterator[tuple[int, Result]]:
    # `spawn`: a worker inherits nothing, so a trial gives what it gives anywhere else.
    context = multiprocessing.get_context("spawn")
    left = iter(enumerate(trials))
    waiting: dict[Future[Result], int] = {}
    with _stopped_at_once(ProcessPoolExecutor(workers, context, _begin_worker)) as pool:
        while True:
            room = workers * MOST_WAITING_A_WORKER - len(waiting)
            with _interrupts_later():
                for number, (seed, parameters) in itertools.islice(left, room):
                    future = pool.submit(run_trial, experiment.name, seed, parameters)
                    waiting[future] = number
            if not waiting:
                return
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield waiting.pop(future), future.result()


def _begin_worker() -> None:
    """Ctrl-C goes to every process of the terminal: here it is the sweep's own to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """A worker that starts meanwhile never hears of Ctrl-C, not even before it can ignore it."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _stopped_at_once(pool: ProcessPoolExecutor) -> Iterator[ProcessPoolExecutor]:
    """Whatever ends the sweep early ends the trials that run as well: each may take minutes."""
    try:
        yield pool
    except BaseException:
        workers = list((pool._processes or {}).values())  # no public way before Python 3.14
        for worker in workers:
            worker.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()
