"""`spinney verify TORRENT [PATH]`: checks files against a descriptor."""

from __future__ import annotations

import json
from typing import Any

import click

from spinney.cli.options import spoken


@click.command(
    name="verify",
    epilog="Example:  spinney verify image.torrent downloads/image.iso\n\n"
    "Exit codes: 0 everything is right, 1 something is not.",
)
@click.argument("torrent")
@click.argument("path", required=False)
@spoken("Print the report as one JSON object.", "Print nothing: the exit code tells.")
def command(torrent: str, path: str | None, **options: Any) -> int:
    """Check the files at PATH against TORRENT, piece by piece.

    PATH is the file, its folder, or the folder that it was fetched into [the working folder].
    """
    from spinney.cli.reporter import ForPeople
    from spinney.cli.running import set_up_logging
    from spinney.peer import verify

    as_json, quiet = options["as_json"], options["quiet"]
    set_up_logging(options["verbose"], options["log_file"])

    async def work() -> dict[str, Any]:
        reporter = ForPeople(quiet=quiet or as_json)
        with reporter:
            return await verify(torrent, path, on_preparing=reporter.preparing)

    import asyncio

    report = asyncio.run(work())
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=True))
    elif not quiet:
        for line in describe(report):
            click.echo(line)
    return 0 if report["whole"] else 1


def describe(report: dict[str, Any]) -> list[str]:
    """The report as lines for people."""
    from spinney.cli import words

    lines: list[str] = []
    for entry in report["files"]:
        name = words.printable(entry["path"])
        if entry["state"] == "missing":
            lines.append(f"missing  {name}")
        elif entry["state"] == "wrong size":
            have, want = entry["have_bytes"], entry["length"]
            lines.append(f"wrong    {name}: {have:,} bytes instead of {want:,}")
        if entry["bad_pieces"] and entry["state"] != "missing":
            pieces = words.ranges(entry["bad_pieces"])
            lines.append(
                f"bad      {name}: {words.count(len(entry['bad_pieces']), 'piece')} ({pieces})"
            )
    good, total = report["good_pieces"], report["pieces"]
    files = words.count(len(report["files"]), "file")
    if report["whole"]:
        lines.append(
            f"whole: {files}, {words.count(total, 'piece')}, {words.size(report['total_bytes'])}"
        )
    else:
        lines.append(f"not whole: {good:,} of {words.count(total, 'piece')} are right")
    return lines
