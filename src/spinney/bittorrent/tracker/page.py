"""The tracker's page for people, and its figures as JSON.  Pure.

Nothing on the page comes from a peer but numbers and infohashes in hex; names come from the
operator's list of allowed torrents and are escaped all the same.  No scripts, no forms, nothing
loaded from elsewhere: the headers forbid it too.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from spinney.bittorrent.tracker.state import TrackerState

ROWS_MAX = 200
"""Torrents listed, the largest swarms first."""

HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"Content-Security-Policy",
        b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; "
        b"base-uri 'none'; form-action 'none'",
    ),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cache-Control", b"no-store"),
)

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;"
    "color:#123;background:#fafbf7}h1{color:#2a5d34}table{border-collapse:collapse;width:100%}"
    "th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid #dde5d8}"
    "th:first-child,td:first-child{text-align:left;word-break:break-all}"
    "code{font-size:.85rem}.empty{color:#567}"
)


@dataclass(slots=True)
class Counts:
    """What a tracker has done since it started."""

    announces: int = 0
    scrapes: int = 0
    refused: int = 0
    """Announces and scrapes answered with a failure reason."""
    limited: int = 0
    """Of these, because an address asked too often."""


def stats(state: TrackerState, counts: Counts, uptime_s: float) -> dict[str, object]:
    """The figures of `/stats.json`: whole numbers, times in seconds."""
    seeds = sum(torrent.seed_count for torrent in state.torrents.values())
    return {
        "uptime_s": int(uptime_s),
        "torrents": len(state.torrents),
        "peers": state.peer_count,
        "seeds": seeds,
        "leechers": state.peer_count - seeds,
        **asdict(counts),
    }


def stats_json(state: TrackerState, counts: Counts, uptime_s: float) -> bytes:
    return json.dumps(stats(state, counts, uptime_s)).encode() + b"\n"


def _duration(seconds: float) -> str:
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if hours >= 48:
        return f"{hours // 24} days"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{int(seconds)} s"


def page(
    state: TrackerState,
    counts: Counts,
    uptime_s: float,
    announce_url: str,
    names: Mapping[bytes, str],
    listed: bool,
) -> bytes:
    """The page as HTML in UTF-8.  `names` by infohash; `listed` False keeps infohashes private."""
    figures = stats(state, counts, uptime_s)
    largest = sorted(state.torrents.items(), key=lambda item: (-len(item[1].peers), item[0]))[
        : ROWS_MAX if listed else 0
    ]
    rows = []
    for infohash, torrent in largest:
        name = html.escape(names.get(infohash, ""))
        label = f"<code>{infohash.hex()}</code>" + (f"<br>{name}" if name else "")
        rows.append(
            f"<tr><td>{label}</td><td>{torrent.seed_count}</td>"
            f"<td>{len(torrent.peers) - torrent.seed_count}</td>"
            f"<td>{torrent.downloaded}</td></tr>"
        )
    table = (
        "<table><thead><tr><th>Torrent</th><th>Seeds</th><th>Leechers</th><th>Completed</th>"
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        if rows
        else '<p class="empty">No torrent is announced here at the moment.</p>'
        if listed
        else '<p class="empty">This tracker keeps its list of torrents to itself.</p>'
    )
    hidden = int(str(figures["torrents"])) - len(rows)
    more = f"<p>… and {hidden} more.</p>" if listed and hidden > 0 else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Spinney tracker</title><style>{_STYLE}</style></head><body>"
        "<h1>Spinney tracker</h1>"
        f"<p>{figures['peers']} peers in {figures['torrents']} torrents "
        f"({figures['seeds']} seeds), {counts.announces} announces answered, "
        f"running for {_duration(uptime_s)}.</p>"
        f"<p>Announce address: <code>{html.escape(announce_url)}</code></p>"
        f"{table}{more}</body></html>\n"
    ).encode()
