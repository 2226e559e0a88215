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
    from spinney.cli.serving import OnReady, serve

    async def work(ready: OnReady) -> None:
        from spinney.peer import run_tracker

        await run_tracker(
            port=options["port"],
            interface=options["interface"],
            state=options["state"],
            allowed=options["allowed"],
            listed=not options["unlisted"],
            on_ready=ready,
        )

    return serve(work, options, "Tracker", lambda urls: {"url": urls[0], "urls": urls})
