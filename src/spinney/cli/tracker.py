"""`spinney tracker`: an HTTP tracker for those who want one of their own."""

from __future__ import annotations

from typing import Any

import click

from spinney.cli.options import PORT, talking

DEFAULT_PORT = 6969


@click.command(
    name="tracker",
    short_help="Run an HTTP tracker until stopped; it has a page too.",
    epilog="Example:  spinney tracker --port 6969 --state tracker.state",
)
@click.option(
    "--port", type=PORT, metavar="PORT", default=DEFAULT_PORT, help="Listen on this port [6969]."
)
@click.option("--interface", metavar="NAME|ADDRESS", help="Listen on this network interface only.")
@click.option("--state", metavar="FILE", help="Keep what it knows here over a restart.")
@click.option(
    "--allowed",
    metavar="FILE",
    help="Serve only the torrents of this list: a line each, infohash and name.",
)
@click.option("--unlisted", is_flag=True, help="Show no infohashes on the page for people.")
@talking
def command(**options: Any) -> int:
    """Run an HTTP tracker until stopped; it has a page for people too."""
    import logging
    import time

    from spinney.cli.reporter import JsonLines, Reporter, make_reporter
    from spinney.cli.running import run_verb, set_up_logging

    least = logging.ERROR if options["quiet"] else logging.WARNING
    set_up_logging(options["verbose"], options["log_file"], least=least)
    reporter = make_reporter(as_json=options["as_json"], quiet=options["quiet"])
    is_ready = False

    async def work(report: Reporter) -> int:
        nonlocal is_ready
        from spinney.peer import run_tracker

        def ready(urls: list[str], address: str, port: int) -> None:
            nonlocal is_ready
            is_ready = True
            if isinstance(report, JsonLines):
                row = {"event": "ready", "time": time.time(), "url": urls[0], "urls": urls}
                report.line({**row, "address": address, "port": port})
            elif not options["quiet"]:
                for url in urls:
                    click.echo(f"Tracker    {url}")

        await run_tracker(
            port=options["port"],
            interface=options["interface"],
            state=options["state"],
            allowed=options["allowed"],
            listed=not options["unlisted"],
            on_ready=ready,
        )
        return 0

    return run_verb(work, reporter, ready=lambda: is_ready)
