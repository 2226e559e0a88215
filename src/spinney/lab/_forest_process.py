"""One node of a forest as a process of its own: for the tests that kill processes.

    python -m spinney.lab._forest_process source --stripes 4 --spare 1 [--patience 2]
    python -m spinney.lab._forest_process viewer LINK [--patience 2]

Prints a line of JSON when it is ready (the source: its link), and one with its places whenever they
have changed, looked at each `--every` seconds.  The source's registry falls silent by SIGUSR1, and
by SIGUSR2 another takes its place, which knows what is in `--state`.  It is ended by a signal, or
ends when nobody reads what it prints.  Live streams come through it later: nothing of them is here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any

from spinney.errors import SpinneyError
from spinney.net.host import Host
from spinney.p2pcast.place import Place
from spinney.p2pcast.registry.link import parse_link
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.p2pcast.settings import Settings
from spinney.p2pcast.viewer import Broadcast, Viewer
from spinney.trust.keys import Keys


def settings_of(patience: float) -> Settings:
    """The defaults, on a machine that is so many times slower: for a hundred on two cores.  How
    long a silent child is kept stays, since that bounds how long a dead one is in the way."""
    usual = Settings()
    return Settings(
        beat_s=usual.beat_s * patience,
        probe_s=usual.probe_s * patience,
        dead_s=usual.dead_s * patience,
    )


def packed(place: Place) -> dict[str, Any]:
    return {
        "name": place.name,
        "stripe": place.stripe,
        "parents": place.parents,
        "children": place.children,
        "cohort": place.cohort,
        "spare": place.spare,
        "since": place.since,
        "version": place.version,
    }


def unpacked(row: dict[str, Any]) -> Place:
    return Place(
        row["name"],
        row["stripe"],
        tuple(row["parents"]),
        tuple(map(tuple, row["children"])),
        tuple((stripe, name) for stripe, name in row["cohort"]),
        row["spare"],
        row["since"],
        row["version"],
    )


def _say(**said: Any) -> None:
    sys.stdout.write(json.dumps(said, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def _live_host(name: str) -> Host:
    """Imported late: the package stands without the real machine's part."""
    from spinney.net.live.host import LiveHost

    return LiveHost(name)


async def _report(places: Callable[[], Iterable[Place]], every_s: float) -> None:
    """Until cancelled; a pipe that nobody reads ends the process."""
    said: list[Place] = []
    while True:
        now = list(places())
        if now != said:
            said = now
            _say(places=[packed(place) for place in now])
        await asyncio.sleep(every_s)


async def _source(given: argparse.Namespace) -> None:
    host = _live_host("source")
    broadcast = Broadcast(
        host,
        Keys(host.entropy(32)),
        stripes=given.stripes,
        spare=given.spare,
        settings=settings_of(given.patience),
        registry=RegistrySettings(state_folder=given.state) if given.state else None,
    )
    await broadcast.open(("127.0.0.1", 0))
    seats = broadcast.source.station.seats
    changes: set[asyncio.Task[None]] = set()

    async def change(registry: str) -> None:
        await (broadcast.close_registry if registry == "closed" else broadcast.open_registry)()
        _say(registry=registry)

    for number, registry in ((signal.SIGUSR1, "closed"), (signal.SIGUSR2, "open")):
        asyncio.get_running_loop().add_signal_handler(
            number, lambda to: changes.add(asyncio.ensure_future(change(to))), registry
        )
    _say(ready=str(broadcast.link))
    try:
        await _report(lambda: [seat.place for seat in seats.values()], given.every)
    finally:
        await broadcast.close()


async def _viewer(given: argparse.Namespace) -> None:
    viewer = Viewer(
        _live_host("viewer"), parse_link(given.link), settings=settings_of(given.patience)
    )
    await viewer.open(("127.0.0.1", 0))
    report = asyncio.create_task(
        _report(lambda: [viewer.node.place] if viewer.node.place.version else [], given.every)
    )
    try:
        await viewer.join()
        _say(ready=viewer.node.name)
        await report
    finally:
        report.cancel()
        viewer.close()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="forest_process")
    roles = parser.add_subparsers(required=True)
    source, viewer = roles.add_parser("source"), roles.add_parser("viewer")
    source.add_argument("--stripes", type=int, default=4)
    source.add_argument("--spare", type=int, default=1)
    source.add_argument("--state", help="the registry's folder")
    viewer.add_argument("link")
    for role, work in ((source, _source), (viewer, _viewer)):
        role.add_argument("--patience", type=float, default=1.0)
        role.add_argument("--every", type=float, default=0.25)
        role.set_defaults(work=work)
    given = parser.parse_args(arguments)
    try:
        asyncio.run(given.work(given))
    except SpinneyError as error:
        print(f"forest_process: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
