"""Tables of the multicast benchmark's rows: medians, spreads, who was best, which goals stand."""

from __future__ import annotations

import statistics
from typing import Any

from rig.rounds import spread

OURS = "spinney"  # other sides of ours begin with it, and are compared with nobody
BUSY_SHARE = 0.85
"""Above it a cell measures the machine as much as the protocol, and is marked."""
HEADERS_SHARE = 0.04
Row = dict[str, Any]


def _values(rows: list[Row], key: str) -> list[float]:
    return [row[key] for row in rows if row.get(key) is not None]


def _spread(rows: list[Row], key: str, digits: int = 2) -> str:
    values = _values(rows, key)
    if not values:
        return "-"
    return spread(values, digits) if len(values) > 1 else f"{values[0]:.{digits}f}"


def _median(rows: list[Row], key: str) -> float | None:
    values = _values(rows, key)
    return statistics.median(values) if values else None


def _seconds(rows: list[Row]) -> str:
    """The last receiver's time; a round in which one was left out is a loss and said."""
    lost = sum(row["finished"] < row["expected"] or bool(row.get("wrong")) for row in rows)
    text = _spread(rows, "seconds")
    return f"{text} ({lost} of {len(rows)} lost)" if lost else text


def _line(side: str, rows: list[Row]) -> str:
    finished = sum(row["finished"] for row in rows)
    expected = sum(row["expected"] for row in rows)
    busy = max(_values(rows, "busy"), default=0.0)
    used = [_median(rows, key) for key in ("sender_cpu_s", "receiver_cpu_s")]
    memory = [max(_values(rows, key), default=0.0) for key in ("sender_mib", "receiver_mib")]
    parts = [
        side,
        f"{finished} of {expected}",
        _seconds(rows),
        _spread(rows, "others_done" if rows[0]["slow_mbit"] or rows[0]["late_s"] else "first"),
        _spread(rows, "sent"),
        _spread(rows, "all_sent"),
        " + ".join("-" if value is None else f"{value:.1f}" for value in used),
        " / ".join(f"{value:.0f}" for value in memory),
        f"{busy:.0%}{' *' if busy > BUSY_SHARE else ''}",
        f"{max(_values(rows, 'others_cores'), default=0.0):.2f}",
    ]
    if rows[0]["beside_tcp"]:
        parts.append(f"TCP kept {_spread(rows, 'tcp_share')} of the link")
    return " | ".join(parts)


def _title(row: Row) -> str:
    link = f"{row['link_mbit']:g} Mbit/s" if row["link_mbit"] else "unlimited"
    words = [f"{row['mib']} MiB to {row['receivers']}, {row['loss']:.0%} loss, link {link}"]
    if row["offloads"] != "off":
        words.append(f"offloads {row['offloads']}")
    if row["slow_mbit"]:
        words.append(f"the last one's {row['slow_mbit']:g} Mbit/s (second time: the others')")
    if row["kill_at_s"]:
        words.append(f"the last one killed at {row['kill_at_s']:g} s")
    if row["late_s"]:
        words.append(f"the last one comes {row['late_s']:g} s late (second time: the others')")
    if row["snooping"] == "trap":
        words.append("late querier")
    if row["find_rate"]:
        words.append("each finds its rate")
    if row["beside_tcp"]:
        words.append("beside a TCP flow of the sender's host")
    return f"{row['cell']}: {', '.join(words)}"


def complete(rows: list[Row]) -> bool:
    return all(row["finished"] >= row["expected"] and not row.get("wrong") for row in rows)


def _best(sides: dict[str, list[Row]]) -> tuple[float, str] | None:
    """The fastest of the others that served all in every round."""
    found = [
        (seconds, side)
        for side, rows in sides.items()
        if not side.startswith(OURS)
        and complete(rows)
        and (seconds := _median(rows, "seconds")) is not None
    ]
    return min(found, default=None)


def _judged(what: str, value: float | None, most: float, digits: int = 2) -> list[str]:
    """One goal: at most `most`."""
    if value is None:
        return []
    miss = " MISSED" if value > most else ""
    return [f"{what} {value:.{digits}f}, goal {most:.{digits}f}{miss}"]


def _ratio(sides: dict[str, list[Row]], key: str, other: str) -> float | None:
    """Ours to another's, of the same figure."""
    ours, theirs = _median(sides[OURS], key), _median(sides.get(other, []), key)
    return ours / theirs if ours is not None and theirs else None


def _fixed_goals(sides: dict[str, list[Row]], row: Row) -> list[str]:
    """The same rate for all: time against the best, bytes against the loss."""
    best, seconds = _best(sides), _median(sides[OURS], "seconds")
    most = 1.03 if row["loss"] < 0.05 else 1 / 1.2 if row["receivers"] == 8 else 1.0
    words = []
    if best and seconds:
        words += _judged(f"time / best other ({best[1]})", seconds / best[0], most)
    most = (1 + HEADERS_SHARE) / (1 - row["loss"]) + HEADERS_SHARE
    words += _judged("sent", _median(sides[OURS], "sent"), most, 3)
    if row["loss"]:
        words += _judged(
            "a receiver's processor time / uftp's", _ratio(sides, "receiver_cpu_s", "uftp"), 1.0
        )
    return words


def _case_goals(sides: dict[str, list[Row]], row: Row) -> list[str]:
    ours = sides[OURS]
    payload_s = row["bytes"] * 8 / 1e6 / (row["link_mbit"] * 0.95) if row["link_mbit"] else None
    words: list[str] = []
    if row["slow_mbit"]:
        need_s = row["bytes"] * 8 * (1 + HEADERS_SHARE) / row["slow_mbit"] / 1e6
        words += _judged("the fast ones / uftp's", _ratio(sides, "others_done", "uftp"), 1.03)
        words += _judged("the slow one, s", _median(ours, "seconds"), 1.2 * need_s, 1)
    elif row["kill_at_s"] and payload_s:
        words += _judged("the others, s", _median(ours, "seconds"), 1.1 * payload_s)
    elif row["late_s"] and payload_s:
        for what, late_s in (
            ("missed before its first data", _median(ours, "late_heard_s")),
            ("missed before its program was started", row["late_s"]),
        ):
            missed = min(1.0, (late_s or row["late_s"]) / payload_s)
            words += _judged(
                f"all sent / file + {what}",
                (_median(ours, "all_sent") or 0.0) / (1 + missed),
                1.05,
                3,
            )
        words += _judged("the source sent", _median(ours, "sent"), 1.25)
    elif row["beside_tcp"]:
        words += _judged("taken from TCP", 1 - (_median(ours, "tcp_share") or 0.0), 0.6)
    elif row["find_rate"] and payload_s:
        words += _judged("seconds", _median(ours, "seconds"), 1.3 * payload_s)
    elif not row["link_mbit"]:
        for other in ("uftp", "udpcast"):
            words += _judged(f"time / {other}'s", _ratio(sides, "seconds", other), 1.0)
    return words


def _verdict(sides: dict[str, list[Row]]) -> list[str]:
    """Where ours meets the goals in one cell, and where it does not."""
    ours = sides.get(OURS)
    if not ours:
        return []
    row = ours[0]
    fixed = row["cell"].startswith(("fixed", "sixteen"))
    words = _fixed_goals(sides, row) if fixed else _case_goals(sides, row)
    if not complete(ours):
        words.insert(0, "spinney did not serve all: LOST")
    return [f"-> {'; '.join(words)}"] if words else []


HEAD = (
    "side | served | last has it, s | first, s | sender sent, x file | all sent, x file |"
    " processor s, sender + a receiver | MiB | busy | others' cores"
)


def report(rows: list[Row]) -> str:
    """All tables; the cells in the order in which they were run."""
    cells: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        cells.setdefault(row["cell"], {}).setdefault(row["side"], []).append(row)
    lines = []
    versions = sorted({row["version"] for row in rows if row.get("version")})
    lines.append(
        f"{'; '.join(versions)}.  Medians, with the least and the most of several runs."
        f"  * = the cores were above {BUSY_SHARE:.0%} busy."
    )
    for sides in cells.values():
        first = next(iter(sides.values()))
        often = "one run" if len(first) == 1 else f"{len(first)} runs in turns"
        lines += ["", f"{_title(first[0])}; {often}", HEAD]
        lines += [_line(side, of_side) for side, of_side in sides.items()]
        lines += _verdict(sides)
    return "\n".join(lines)
