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
@click.option("--paper", is_flag=True, help="Check the MC-FTP paper's checksums too (MD5).")
@click.option("--publisher", metavar="KEY", help="Who must have signed them (as in x.pub).")
@spoken("Print the report as one JSON object.", "Print nothing: the exit code tells.")
def command(
    torrent: str, path: str | None, paper: bool, publisher: str | None, **options: Any
) -> int:
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
            return await verify(
                torrent,
                path,
                paper=paper or publisher is not None,
                publisher=publisher,
                on_preparing=reporter.preparing,
            )

    import asyncio

    report = asyncio.run(work())
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=True))
    elif not quiet:
        for line in describe(report):
            click.echo(line)
    return 0 if report["whole"] and agrees(report.get("paper")) else 1


def agrees(paper: dict[str, Any] | None) -> bool:
    """Do the paper's checksums and signature say the same, if they were asked?"""
    if paper is None:
        return True
    doubts = paper["bad_chunks"] or paper["doubted_chunks"] or paper["file_id"] is False
    return not doubts and paper["signature"] not in ("wrong", "another publisher")


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
    if "paper" in report:
        lines += describe_paper(report["paper"])
    return lines


SIGNATURES = {
    "none": "not signed",
    "wrong": "the signature is WRONG",
    "unverified": "signed by {}: unverified, for nobody said whose key it is (--publisher)",
    "verified": "signed by {}: verified",
    "another publisher": "signed by {}, who is ANOTHER publisher",
}


def describe_paper(paper: dict[str, Any]) -> list[str]:
    """What the paper's checksums tell, and what they cannot."""
    from spinney.cli import words

    held, pairs = words.count(paper["held_chunks"], "chunk"), paper["checked_pairs"]
    lines = [
        f"paper: {pairs:,} of {words.count(paper['chunks'], 'pair')} can be checked with {held}"
        f" here: {paper['good_chunks']:,} good, {len(paper['bad_chunks']):,} provably bad,"
        f" {len(paper['doubted_chunks']):,} in doubt, {paper['unchecked_chunks']:,} unchecked"
    ]
    for name, key in (("bad", "bad_chunks"), ("in doubt", "doubted_chunks")):
        if paper[key]:
            lines.append(f"paper: {name}: chunks {words.ranges(paper[key])}")
    told = {None: "cannot be checked", True: "is right", False: "is WRONG"}[paper["file_id"]]
    lines.append(f"paper: the file id {told}")
    lines.append(f"paper: {SIGNATURES[paper['signature']].format(paper['publisher'])}")
    return lines
