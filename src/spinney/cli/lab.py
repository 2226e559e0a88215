"""`spinney lab`: experiments with the real protocol code in a simulated network."""

from __future__ import annotations

import sys
from typing import Any

import click


@click.group(
    name="lab",
    short_help="Run experiments: the real code in a simulated network.",
    epilog="\b\nExamples:\n  spinney lab list\n  spinney lab run swarm --seeds 5 --out results\n"
    "  spinney lab replay swarm --seed 3 --trace trace.jsonl",
)
def command() -> None:
    """Run experiments: the real protocol code in a simulated network."""


def _settings(texts: tuple[str, ...]) -> dict[str, Any]:
    """`peers=50` and, for a sweep, `loss=0,0.1`; the experiment knows the types."""
    from spinney.errors import UsageError

    rows: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageError(f"{text!r} is not NAME=VALUE, such as peers=50 or loss=0,0.1")
        parts = value.split(",")
        rows[name] = parts if len(parts) > 1 else value
    return rows


@command.command(name="list", epilog="Example:  spinney lab list")
def list_experiments() -> int:
    """List the experiments, with what each can be told."""
    from spinney import lab

    for experiment in lab.list():
        click.echo(f"{experiment.name}\n    {experiment.doc}")
        if experiment.source:
            click.echo(f"    Source: {experiment.source}")
        parameters = " ".join(f"{key}={value}" for key, value in experiment.parameters.items())
        click.echo(f"    {parameters}\n")
    return 0


@command.command(name="run", epilog="Example:  spinney lab run swarm --seeds 5 --set peers=50,100")
@click.argument("name")
@click.option(
    "--seeds",
    type=click.IntRange(1),
    metavar="N",
    help="Seeds 0 to N-1 [as many as the experiment asks].",
)
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="NAME=VALUE[,VALUE]",
    help="Another value than its default, or several (see `lab list`).",
)
@click.option("--out", metavar="FOLDER", help="Write NAME.csv and NAME.json into this folder.")
@click.option(
    "--plot", is_flag=True, help="Write a picture too (needs the extra `lab`, and --out)."
)
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes [one a core].")
@click.option(
    "--summary", is_flag=True, help="Print medians and spreads over the seeds, not all rows."
)
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON, one object a line.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def run_experiment(
    name: str,
    seeds: int | None,
    given: tuple[str, ...],
    out: str | None,
    plot: bool,
    workers: int | None,
    summary: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run the experiment NAME over seeds and parameters, on all cores."""
    import json

    from spinney import lab
    from spinney.errors import UsageError
    from spinney.lab.summary import summary as summarise
    from spinney.lab.sweep import replay_command

    if plot and out is None:
        raise UsageError("--plot needs --out FOLDER to put the picture in")

    watched = not as_json and not quiet and sys.stderr.isatty()

    def told(result: Any, done: int, total: int) -> None:
        if watched:
            click.echo(f"\r{done} of {total} trials", nl=done == total, err=True)

    sweep = lab.run(name, seeds, _settings(given), out, plot=plot, workers=workers, told=told)
    rows = summarise(sweep) if summary else sweep.rows
    if not quiet:
        for line in map(json.dumps, rows) if as_json else table(rows):
            click.echo(line)
    for failure in sweep.failures:
        last = failure.error.strip().splitlines()[-1]
        click.echo(f"failed: {last}\n   {replay_command(sweep.experiment, failure)}", err=True)
    return 1 if sweep.failures else 0


@command.command(name="replay", epilog="Example:  spinney lab replay swarm --seed 3")
@click.argument("name")
@click.option("--seed", type=int, metavar="N", default=0, help="Of the trial [0].")
@click.option(
    "--set", "given", multiple=True, metavar="NAME=VALUE", help="Another value than its default."
)
@click.option("--trace", metavar="FILE", help="Write what happened into this file, in JSON lines.")
@click.option("-v", "--verbose", count=True, help="Log to stderr (-vv: everything).")
@click.option("--log-file", metavar="FILE", help="Append the whole log to this file.")
def replay_trial(
    name: str,
    seed: int,
    given: tuple[str, ...],
    trace: str | None,
    verbose: int,
    log_file: str | None,
) -> int:
    """Run one trial of NAME again: the same seed gives the same digest."""
    from spinney import lab
    from spinney.cli.running import set_up_logging

    set_up_logging(verbose, log_file)
    result = lab.replay(name, seed, _settings(given), trace)
    for line in table(list(result.table())):
        click.echo(line)
    click.echo(f"digest {result.digest}")
    if result.error:
        click.echo(result.error, err=True)
        return 1
    return 0


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows in columns; a figure has at most six digits."""
    if not rows:
        return ["no rows"]
    names = list(dict.fromkeys(key for row in rows for key in row))
    cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(names))]
    return ["  ".join(f"{cell:>{widths[at]}}" for at, cell in enumerate(row)) for row in cells]


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
