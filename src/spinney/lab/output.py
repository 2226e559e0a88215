"""What a sweep leaves behind: CSV, JSON, the failures with their replay, and a picture."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

from spinney.errors import NotWritableError, StorageError
from spinney.lab.experiment import Row
from spinney.lab.sweep import Sweep, replay_command


def prepare(folder: Path, name: str) -> None:
    """Makes the folder.  Raises `NotWritableError` if the results could not be put there."""
    table = folder / f"{name}.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_new = not table.exists()
        with table.open("a", encoding="utf-8"):
            pass
        if is_new:
            table.unlink()
    except OSError as error:
        raise NotWritableError(
            f"the results cannot be written to {folder}: {error.strerror}; "
            "choose another folder with --out"
        ) from None


def columns(rows: Sequence[Row]) -> list[str]:
    """Every key of the rows, in the order of its first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns(rows), restval="")
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, sweep: Sweep) -> None:
    """One object: the experiment, and for each trial its seed, parameters, digest and rows."""
    trials = [
        {
            "seed": result.seed,
            "parameters": result.parameters,
            "digest": result.digest,
            "error": result.error or None,
            "rows": result.rows,
        }
        for result in sweep.results
    ]
    experiment = sweep.experiment
    document = {"experiment": experiment.name, "doc": experiment.doc, "trials": trials}
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def write_failures(path: Path, sweep: Sweep) -> None:
    """One JSON object a line for each trial that failed, with the command that repeats it."""
    lines = [
        json.dumps(
            {
                "seed": result.seed,
                "parameters": result.parameters,
                "error": result.error,
                "replay": replay_command(sweep.experiment, result),
            }
        )
        for result in sweep.failures
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write(sweep: Sweep, folder: Path, *, plot: bool = False) -> list[Path]:
    """Writes everything into `folder`; returns what was written.

    `plot` needs matplotlib (extra `lab`): raises `UsageError` if it is missing.
    """
    from spinney.lab import plot as plotting

    if plot:
        plotting.require(sweep.experiment)
    try:
        return _write(sweep, folder, plot=plot)
    except OSError as error:
        raise StorageError(
            f"the results cannot be written to {folder}: {error.strerror}; make room there, or "
            "choose another folder with --out"
        ) from None


def _write(sweep: Sweep, folder: Path, *, plot: bool) -> list[Path]:
    from spinney.lab import plot as plotting

    name = sweep.experiment.name
    paths = [folder / f"{name}.csv", folder / f"{name}.json"]
    write_csv(paths[0], sweep.rows)
    write_json(paths[1], sweep)
    failures = folder / f"{name}.failures.jsonl"
    if sweep.failures:
        write_failures(failures, sweep)
        paths.append(failures)
    else:
        failures.unlink(missing_ok=True)
    if plot:
        paths.append(plotting.draw(sweep, folder / f"{name}.png"))
    return paths
