"""The multicast group in lines of text: its leader, its streams, every receiver.  Pure."""

from __future__ import annotations

from spinney import events
from spinney.cli import words

MOST_ROWS = 24
"""Receivers shown, however high the terminal is: those that have least, first."""
BAR_CELLS = 20


def ready_line(multicast: events.Multicast) -> str | None:
    """`eth0, TTL 1, at most 5.0 MB/s`, `off (why)`; None if there is nothing to tell."""
    if multicast.off is not None:
        return f"off: {multicast.off}"
    if not multicast.interfaces:
        return None
    where = ", ".join(multicast.interfaces)
    reach = "this machine only" if multicast.ttl == 0 else f"TTL {multicast.ttl}"
    rate = words.rate(multicast.rate_bytes_per_s or 0)
    return f"{where}, {reach}, at most {rate} (--rate)"


def group_lines(event: events.Progress, rows: int, columns: int) -> list[str]:
    """At most `rows` lines of at most `columns` cells; none without a group."""
    group = event.group
    if group is None or not group.address or rows < 1:
        return []
    lines = [_head(group)]
    lines += [_stream(stream) for stream in group.streams] if group.started else []
    if group.leading and not group.started and group.wait_for:
        lines.append(
            f"  waiting for {group.wait_for}: {group.joined or 0} have joined; Enter begins"
        )
    lines = lines[: max(1, rows // 2)]
    receivers = sorted(event.receivers or (), key=lambda row: (row.complete, row.have_bytes))
    room = min(MOST_ROWS, rows - len(lines))
    shown = receivers if len(receivers) <= room else receivers[: max(0, room - 1)]
    lines += [_receiver(row, event.total_bytes) for row in shown]
    if len(shown) < len(receivers) and room > 0:
        rest = receivers[len(shown) :]
        done = sum(row.complete for row in rest)
        lines.append(f"  and {words.count(len(rest), 'receiver')} more, {done} of them done")
    return [line[:columns] for line in lines]


def _head(group: events.GroupState) -> str:
    where = group.address.partition(":")[2]
    leader = f"led by {group.leader}" if group.leader else "no leader"
    parts = [f"group {where}", "led by us" if group.leading else leader]
    if group.joined is not None:
        parts.append(f"{words.count(group.joined, 'receiver')}, {group.complete or 0} done")
    else:
        parts.append(words.count(group.members, "member"))
    if group.sent_bytes:
        parts.append(f"sent {words.size(group.sent_bytes)}")
    return " · ".join(parts)


def _stream(stream: events.GroupStream) -> str:
    who = "us" if stream.mine else stream.sender
    line = f"  stream {stream.address.partition(':')[2]} · from {who}"
    return f"{line} · {words.rate(stream.rate_bytes_per_s)}"


def _receiver(row: events.Receiver, total_bytes: int | None) -> str:
    share = row.have_bytes / total_bytes if total_bytes else 0.0
    filled = round(share * BAR_CELLS)
    bar = "█" * filled + "░" * (BAR_CELLS - filled)
    if row.complete:
        return f"  {row.peer} {bar} {100:5.1f} %  done"
    line = f"  {row.peer} {bar} {100 * share:5.1f} %  loss {100 * row.loss:.1f} %"
    return f"{line}  {words.rate(row.rate_bytes_per_s)}"
