"""`spinney share PATH`: makes a descriptor and serves the data until stopped."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import click

from spinney.cli.options import SECONDS, SIZE, finding, multicasting, networking, talking


@click.command(
    name="share",
    short_help="Share a file or folder, and print the link that fetches it.",
    epilog="Example:  spinney share holiday.mp4 --up 2M",
)
@click.argument("path")
@finding
@networking
@multicasting
@click.option("--name", help="What standard input is called (PATH is -) [stdin].")
@click.option("--torrent", metavar="FILE", help="Serve PATH under this .torrent (checked first).")
@click.option("--torrent-out", metavar="FILE", help="Write the .torrent here [NAME.torrent].")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["v1", "v2", "hybrid"]),
    help="Version of the .torrent [v1].",
)
@click.option("--piece-length", type=SIZE, help="A power of two: 256k, 1M [from the size].")
@click.option("--comment", help="Words to put into the .torrent.")
@click.option("--paper", is_flag=True, help="Add the MC-FTP paper's checksums (MD5, slow).")
@click.option("--sign", is_flag=True, help="Sign them with your key, and name it in the link.")
@click.option("--key", metavar="FILE", help="The key to sign with [one of yours, made once].")
@click.option(
    "--private", is_flag=True, help="Peers come from its trackers only; announced nowhere else."
)
@click.option(
    "--until-complete",
    type=click.IntRange(1),
    metavar="N",
    help="Stop when N others have all of it.",
)
@click.option(
    "--wait-for",
    type=click.IntRange(1),
    metavar="N",
    help="Multicast when N receivers have joined, or at Enter.",
)
@click.option("--wait-at-most", type=SECONDS, help="... or after so long [no limit].")
@talking
def command(path: str, **options: Any) -> int:
    """Share the file, folder or block device PATH (- for standard input), and print the link
    that fetches it."""
    return share_path(path, options)


def share_path(path: str, options: dict[str, Any]) -> int:
    from spinney.cli.reporter import Reporter, make_reporter
    from spinney.cli.running import run_verb, set_up_logging
    from spinney.cli.wishes import settings, transfer_options
    from spinney.errors import UsageError

    if options["name"] is not None and path != "-":
        raise UsageError("--name is for standard input: spinney share - --name NAME")
    if options["wait_for"] is None and options["wait_at_most"] is not None:
        raise UsageError("--wait-at-most needs --wait-for N: nothing is waited for otherwise")
    if options["wait_for"] is not None and options["no_multicast"]:
        raise UsageError("--wait-for and --no-multicast exclude each other: a swarm never waits")
    set_up_logging(options["verbose"], options["log_file"])
    seed = signing_seed(options)
    reporter = make_reporter(as_json=options["as_json"], quiet=options["quiet"])
    is_ready = False

    async def work(report: Reporter) -> int:
        nonlocal is_ready
        from spinney.cli.keypress import at_a_line
        from spinney.peer import Peer

        async with AsyncExitStack() as stack:
            here = path
            if path == "-":
                from spinney.cli.spooling import spooled

                here = await stack.enter_async_context(spooled(options["name"]))
            peer = await stack.enter_async_context(Peer.live(settings(options)))
            sharing = await peer.share(
                here,
                torrent=options["torrent"],
                torrent_out=options["torrent_out"],
                format=options["format_"],
                piece_length=options["piece_length"],
                comment=options["comment"],
                private=options["private"],
                paper=options["paper"],
                signing_seed=seed,
                until_complete=options["until_complete"],
                wait_for=options["wait_for"] or 0,
                wait_at_most_s=options["wait_at_most"] or float("inf"),
                on_event=report.heard,
                on_preparing=report.preparing,
                **transfer_options(options),
            )
            is_ready = True
            with at_a_line(sharing.start_sending, wanted=options["wait_for"] is not None):
                await sharing.wait()
        return 0

    return run_verb(work, reporter, ready=lambda: is_ready)


def signing_seed(options: dict[str, Any]) -> bytes | None:
    """The publisher's secret, if something is to be signed; tells the public key."""
    if not options["sign"] and options["key"] is None:
        return None
    if options["torrent"] is not None:
        from spinney.errors import UsageError

        raise UsageError("--sign makes a new descriptor: it does not go with --torrent")
    from spinney.cli.signing import publisher_seed

    seed, public = publisher_seed(options["key"])
    if not options["quiet"]:
        click.echo(f"signed by {public.hex()}", err=True)
    return seed
