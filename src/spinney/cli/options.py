"""Options that read alike in every verb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from spinney.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


class _Ratio(click.FloatRange):
    """Not NaN, which is smaller than nothing and larger than nothing."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        ratio = super().convert(value, param, ctx)
        if ratio != ratio:
            self.fail(f"{value!r} is no number", param, ctx)
        return ratio


class _Parsed(click.ParamType):  # type: ignore[type-arg]
    """A text that one function of `config` reads; its `UsageError` is click's."""

    def __init__(self, name: str, function: str) -> None:
        self.name = name
        self._function = function

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from spinney import config

        if not isinstance(value, str):
            return value
        try:
            return getattr(config, self._function)(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


RATE = _Parsed("RATE", "parse_rate")
SPEED = _Parsed("RATE", "parse_speed")
SECONDS = _Parsed("SECONDS", "parse_seconds")
SIZE = _Parsed("SIZE", "parse_size")
PORT = click.IntRange(0, 65535)
RATIO = _Ratio(0)


def _apply(function: F, options: list[Callable[[F], F]]) -> F:
    for option in reversed(options):
        function = option(function)
    return function


def talking(function: F) -> F:
    """How the verb speaks: --json, -v, --quiet, --log-file."""
    return spoken("Print events as JSON, one object a line.")(function)


def spoken(json_help: str, quiet_help: str = "Print nothing but errors.") -> Callable[[F], F]:
    """As `talking`, for verbs whose result is no list of events."""
    options: list[Callable[[F], F]] = [
        click.option("--json", "as_json", is_flag=True, help=json_help),
        click.option("-v", "--verbose", count=True, help="Log to stderr (-vv: everything)."),
        click.option("-q", "--quiet", is_flag=True, help=quiet_help),
        click.option("--log-file", metavar="FILE", help="Append the whole log to this file."),
    ]
    return lambda function: _apply(function, options)


def networking(function: F) -> F:
    """Where the verb listens and how fast it may be."""
    return _apply(
        function,
        [
            click.option(
                "--port",
                type=PORT,
                metavar="PORT",
                help="Listen on this port [6881 to 6889, or what is free].",
            ),
            click.option(
                "--interface", metavar="NAME|ADDRESS", help="Use this network interface only."
            ),
            click.option("--up", type=RATE, help="Send at most this: 500k, 2M bytes a second."),
            click.option("--down", type=RATE, help="Receive at most this: as --up."),
        ],
    )


def multicasting(function: F) -> F:
    """Whether and how multicast is used."""
    return _apply(
        function,
        [
            click.option("--no-multicast", is_flag=True, help="By the swarm only."),
            click.option("--multicast-only", is_flag=True, help="No data by the swarm."),
            click.option(
                "--group", metavar="ADDRESS", help="Of the file's group, and not a free one."
            ),
            click.option(
                "--rate",
                type=SPEED,
                help="Multicast this much, if we lead the group [found, from 5M on].",
            ),
            click.option(
                "--ttl",
                type=click.IntRange(0, 255),
                metavar="N",
                help="Multicast goes so far: 0 this machine, 1 this LAN [1].",
            ),
        ],
    )


def finding(function: F) -> F:
    """Where peers come from, and how long to stay."""
    return _apply(
        function,
        [
            click.option(
                "--peer",
                "peers",
                multiple=True,
                metavar="HOST:PORT",
                help="Connect to this peer too (may be given several times).",
            ),
            click.option(
                "--tracker",
                "trackers",
                multiple=True,
                metavar="URL",
                help="Announce to this tracker too, and ask it for peers "
                "(http://HOST:PORT/announce; several times).",
            ),
            click.option(
                "--no-lan",
                is_flag=True,
                help="Neither announce in the local network nor look there.",
            ),
            click.option(
                "--seed-ratio",
                type=RATIO,
                metavar="COPIES",
                help="Serve until this many copies were sent (1.5: one and a half).",
            ),
            click.option(
                "--seed-time",
                type=SECONDS,
                help="Serve for so long once all is here (90, 10m, 2h).",
            ),
        ],
    )
