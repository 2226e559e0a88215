"""`spinney get LINK`: fetches by every way that works, verified, resumable."""

from __future__ import annotations

from typing import Any

import click

from spinney.cli.options import SECONDS, finding, multicasting, networking, talking


@click.command(
    name="get",
    short_help="Fetch a magnet link, a .torrent file, or the URL of one.",
    epilog="\b\nExamples:\n  spinney get 'magnet:?xt=urn:btih:...' -o downloads\n"
    "  spinney get image.torrent -o - | zstd -d | dd of=/dev/sdX",
)
@click.argument("link")
@click.option(
    "-o",
    "--output",
    default=".",
    metavar="FOLDER|FILE|DEVICE|-",
    help="Where to put it [.]: a folder, unless it exists as a file or device, is - (standard "
    "output), or ends in the file's own name.",
)
@finding
@networking
@multicasting
@click.option(
    "--select",
    "--files",
    "select",
    multiple=True,
    metavar="NAME|PATTERN|NUMBERS",
    help="Fetch only these files: '*.mp4', 'docs/*', 0,3-5 (as `show` numbers them).",
)
@click.option("--sequential", is_flag=True, help="Fetch from the beginning on, for players.")
@click.option("--give-up", type=SECONDS, help="Fail after so long without a new byte.")
@talking
def command(link: str, **options: Any) -> int:
    """Fetch LINK: a magnet link, a .torrent file, or the URL of one.

    Run the same command again after Ctrl-C, a crash or a power cut: it resumes.
    """
    return get_link(link, options)


def get_link(link: str, options: dict[str, Any]) -> int:
    from spinney.cli import INTERRUPTED
    from spinney.cli.reporter import Reporter, make_reporter
    from spinney.cli.running import run_verb, set_up_logging
    from spinney.cli.stdstreams import closed_at_start
    from spinney.cli.wishes import settings, transfer_options
    from spinney.errors import UsageError

    if options["output"] == "-" and "stdout" in closed_at_start:
        raise UsageError("-o - writes to standard output, and that is closed")
    set_up_logging(options["verbose"], options["log_file"])
    reporter = make_reporter(
        as_json=options["as_json"],
        quiet=options["quiet"],
        data_on_stdout=options["output"] == "-",
    )

    done = False

    async def work(report: Reporter) -> int:
        nonlocal done
        from spinney.cli.stdout import write_to_stdout
        from spinney.peer import Peer

        async with Peer.live(settings(options)) as peer:
            getting = await peer.get(
                link,
                options["output"],
                select=options["select"],
                sequential=options["sequential"],
                give_up_s=options["give_up"],
                on_event=report.heard,
                on_preparing=report.preparing,
                stream=write_to_stdout if options["output"] == "-" else None,
                **transfer_options(options),
            )
            stays = options["seed_ratio"] is not None or options["seed_time"] is not None
            try:
                await getting.wait()
            finally:
                done = getting.done and not stays
        return 0

    # Done, it only lingers for others.
    code = run_verb(work, reporter, ready=lambda: done, finished=lambda: done)
    if code == INTERRUPTED and options["output"] != "-":  # a pipe begins anew
        reporter.stopped()
    return code
