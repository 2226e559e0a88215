"""`spinney doctor`: what this machine and its network can do."""

from __future__ import annotations

import json

import click

from spinney.cli.options import SECONDS


@click.command(
    name="doctor",
    short_help="Say what this machine and network can do: multicast, buffers, offloads.",
    epilog="\b\nExamples:\n  spinney doctor                 on two machines at the same time\n"
    "  spinney doctor 192.0.2.7       when they do not find each other\n"
    "  spinney doctor --wait 0 --json\n\n"
    "Exit codes: 0 multicast works (alone: within this machine), 1 it does not.",
)
@click.argument("machines", nargs=-1, metavar="[MACHINE]...")
@click.option("--interface", "interfaces", multiple=True, metavar="NAME|ADDRESS", help="Only it.")
@click.option("--wait", "wait_s", type=SECONDS, default="8", help="For another machine [8].")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(
    machines: tuple[str, ...], interfaces: tuple[str, ...], wait_s: float, as_json: bool
) -> int:
    """Say what this machine and its network can do, and what to change.

    Run it on two machines at the same time: they find each other and measure whether multicast
    works between them, both ways, over IPv4 and IPv6 (a second and 10 MB for each).  MACHINE
    names one that is to be asked by itself too.  Alone it looks at this machine only.
    """
    import asyncio

    from spinney.cli.words import printable
    from spinney.peer import examine

    if not as_json and wait_s:
        click.echo(f"looking for another machine, up to {wait_s:g} s ...", err=True)
    report = asyncio.run(examine(interfaces=interfaces, others=machines, wait_s=wait_s))
    if as_json:
        del report["text"]
        click.echo(json.dumps(report, ensure_ascii=True))
    else:
        for line in report["text"]:
            click.echo(printable(line))
        for problem in report["problems"]:
            click.echo(f"problem: {printable(problem)}")
        for line in report["advice"]:
            click.echo(f"to do: {printable(line)}")
    return 0 if report["works"] else 1
