"""`spinney show LINK`: what a descriptor or a magnet link says."""

from __future__ import annotations

import json
from typing import Any

import click

from spinney.cli.options import spoken

MOST_FILES = 200
"""Files listed for people; `--json` lists all."""


@click.command(
    name="show",
    short_help="Show what a .torrent file, the URL of one, or a magnet link says.",
    epilog="Example:  spinney show image.torrent",
)
@click.argument("link")
@click.option("--paper", is_flag=True, help="List the MC-FTP paper's checksums.")
@click.option("--all", "all_files", is_flag=True, help="List every file, however many.")
@spoken("Print all facts as one JSON object.", "Print nothing: only whether it can be read.")
def command(link: str, paper: bool, all_files: bool, **options: Any) -> int:
    """Show what LINK says: a .torrent file, the URL of one, or a magnet link."""
    import asyncio

    from spinney.cli.running import set_up_logging
    from spinney.peer import look

    set_up_logging(options["verbose"], options["log_file"])
    facts = asyncio.run(look(link))
    if options["as_json"]:
        click.echo(json.dumps(facts, ensure_ascii=True))
    elif not options["quiet"]:
        for line in describe(facts, None if all_files else MOST_FILES):
            click.echo(line)
        for number, checksum in enumerate(checksums(facts) if paper else ()):
            click.echo(f"{number:>7}  {checksum}")
    return 0


def checksums(facts: dict[str, Any]) -> list[str]:
    from spinney.errors import UsageError

    if not facts.get("paper"):
        raise UsageError("it has no checksums of the paper: they are made by share --paper")
    rows: list[str] = facts["paper"]["checksums"]
    return rows


def paper_lines(paper: dict[str, Any]) -> list[tuple[str, str]]:
    """What the MC-FTP paper adds, as names and values."""
    from spinney.cli import words

    lists = paper["redundancy"]
    blocks = lists["blocks"]
    shared = f"1 for {-blocks} chunks" if blocks < 0 else f"{blocks} a chunk"
    rows = [
        ("File ID", f"{paper['file_id']} (MD5)"),
        (
            "Chunks",
            f"{words.count(len(paper['checksums']), 'circular checksum')}; blocks of"
            f" {words.binary_size(lists['block size'])}, {shared}, of {lists['symbols']} symbols"
            f" of {lists['symbol size']} bytes, {lists['code']}",
        ),
    ]
    if paper["publisher"]:
        holds = "the signature holds; whose key it is, a link must say"
        rows.append(("Publisher", paper["publisher"]))
        wrong = "WRONG: these checksums were not signed by it"
        rows.append(
            ("Signature", f"unverified: {holds}" if paper["signature"] != "wrong" else wrong)
        )
    return rows


def describe(facts: dict[str, Any], most_files: int | None) -> list[str]:
    """The facts as lines for people."""
    from spinney.cli import words

    lines: list[str] = []

    def row(name: str, value: object) -> None:
        if value is not None and value != "" and value != []:
            lines.append(f"{name:<11}{words.printable(str(value))}")

    row("Name", facts["name"])
    if facts.get("total_bytes") is not None:
        total = facts["total_bytes"]
        row(
            "Size",
            f"{words.size(total)} ({total:,} bytes) in {words.count(facts['file_count'], 'file')}",
        )
        pieces = words.count(facts["pieces"], "piece")
        row("Pieces", f"{pieces} of {words.binary_size(facts['piece_length'])}")
    row("Format", facts.get("format"))
    row("Infohash", facts.get("infohash_v1"))
    row("v2", facts.get("infohash_v2"))
    if facts.get("private"):
        row("Private", "yes: peers come from its trackers only")
    for tier, urls in enumerate(facts.get("trackers", [])):
        row(f"Tracker {tier + 1}", "  ".join(urls))
    for url in facts.get("web_seeds", []):
        row("Web seed", url)
    for peer in facts.get("peers", []):
        row("Peer", peer)
    row("Comment", facts.get("comment"))
    row("Made by", facts.get("created_by"))
    row("Made on", facts.get("creation_date"))
    if isinstance(facts.get("publisher"), str):
        row("Publisher", facts["publisher"])
    for name, value in paper_lines(facts["paper"]) if facts.get("paper") else ():
        row(name, value)
    row("Link", facts.get("link"))
    files = facts.get("files", [])
    if len(files) > 1:
        lines.append("")
        width = max(len(words.size(entry["length"])) for entry in files)
        for number, entry in enumerate(files[:most_files]):
            size = words.size(entry["length"])
            lines.append(f"{number:>5}  {size:>{width}}  {words.printable(entry['path'])}")
        if most_files is not None and len(files) > most_files:
            lines.append(f"       and {len(files) - most_files:,} more (--all)")
    return lines
