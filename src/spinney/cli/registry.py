"""`spinney registry`: who is in which live stream, for those who want one of their own."""

from __future__ import annotations

from typing import Any

import click

from spinney.cli.options import PORT, talking

DEFAULT_PORT = 6970


@click.command(
    name="registry",
    short_help="Run a registry of live streams until stopped.",
    epilog="Example:  spinney registry --port 6970 --state registry",
)
@click.option(
    "--port",
    type=PORT,
    metavar="PORT",
    default=DEFAULT_PORT,
    help="Listen on this UDP port [6970].",
)
@click.option("--interface", metavar="NAME|ADDRESS", help="Listen on this network interface only.")
@click.option(
    "--state",
    metavar="FOLDER",
    help="Keep its key and what it knows here over a restart.",
)
@click.option(
    "--stream",
    "streams",
    multiple=True,
    metavar="ID",
    help="Serve only this stream (64 hexadecimal digits; several times).",
)
@click.option(
    "--per-network",
    type=click.IntRange(0),
    metavar="N",
    default=8,
    help="Peers of one stream from one /24 or /64, 0 for no limit [8]; local networks have none.",
)
@talking
def command(**options: Any) -> int:
    """Run a registry of live streams until stopped.

    A peer that joins a stream asks a registry for others to begin with.  A source carries one
    of its own; this one serves the streams of many.  It prints what a link names it by.
    """
    from spinney.cli.serving import OnReady, serve

    async def work(ready: OnReady) -> None:
        from spinney.peer import run_registry

        await run_registry(
            port=options["port"],
            interface=options["interface"],
            state=options["state"],
            seed=_seed(options["state"]),
            streams=options["streams"],
            peers_per_network=options["per_network"] or None,
            on_ready=ready,
        )

    return serve(work, options, "Registry", _fields)


def _fields(places: list[str]) -> dict[str, Any]:
    key = places[0].partition("@")[0]
    return {"registry": places[0], "key": key, "registries": places}


def _seed(folder: str | None) -> bytes | None:
    """The key in the state folder, made when it is first used; None without a folder."""
    if folder is None:
        return None
    from pathlib import Path

    from spinney.cli.signing import kept_seed

    return kept_seed(Path(folder) / "registry.key", "--state")
