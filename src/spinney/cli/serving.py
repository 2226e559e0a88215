"""Runs a verb that serves others until it is stopped, and says where it can be reached."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

import click

from spinney.cli.reporter import JsonLines, Reporter, make_reporter
from spinney.cli.running import run_verb, set_up_logging

OnReady = Callable[[list[str], str, int], None]
"""Where it can be reached, as users write it (the first is the best); address and port."""


def serve(
    work: Callable[[OnReady], Coroutine[Any, Any, None]],
    options: dict[str, Any],
    label: str,
    fields: Callable[[list[str]], dict[str, Any]],
) -> int:
    """The exit code.  `label` stands before each place, `fields` are theirs in the `ready` event.

    Once it was ready, to be stopped is how it ends well.
    """
    least = logging.ERROR if options["quiet"] else logging.WARNING
    set_up_logging(options["verbose"], options["log_file"], least=least)
    reporter = make_reporter(as_json=options["as_json"], quiet=options["quiet"])
    is_ready = False

    async def run(report: Reporter) -> int:
        def ready(places: list[str], address: str, port: int) -> None:
            nonlocal is_ready
            is_ready = True
            if isinstance(report, JsonLines):
                row = {"event": "ready", "time": time.time(), **fields(places)}
                report.line({**row, "address": address, "port": port})
            elif not options["quiet"]:
                for place in places:
                    click.echo(f"{label:<10} {place}")

        await work(ready)
        return 0

    return run_verb(run, reporter, ready=lambda: is_ready)
