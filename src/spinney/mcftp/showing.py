"""`view_of`: a node as its user sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinney.mcftp.view import StreamView, View

if TYPE_CHECKING:
    from spinney.mcftp.node import McftpNode


def view_of(node: McftpNode) -> View:
    """How it stands; receivers are known to the leader only."""
    election, leader = node.election, node.leading.leader if node.leading else None
    followed, last = node.flows.followed, node.last_keep_alive
    return View(
        group=node.group.address.decode("ascii", "replace") if node.group else "",
        leader=election.leader.hex(),
        leading=node.leading is not None,
        reign=election.reign.hex(),
        term=election.leader_term,
        members=len(leader.members) if leader else last.members if last else 0,
        started=leader.started if leader else last is not None and last.started,
        receivers=node.leading.receivers() if node.leading else (),
        streams=tuple(
            StreamView(
                stream.number,
                stream.address.decode("ascii", "replace"),
                stream.sender.hex(),
                stream.sender == node.keys.peer,
                stream.number in followed,
                stream.rate_bytes_per_s,
                _position(node, stream.number),
                stream.block_count,
            )
            for stream in node.streams
        ),
        sent_bytes=node.flows.sent_bytes,
        joined=leader.members.joined() if leader else 0,
        complete=leader.members.complete() if leader else last.complete if last else 0,
    )


def _position(node: McftpNode, number: int) -> int:
    sending = node.flows.sending.get(number)
    if sending is not None:
        return sending.progress.position
    running = node.leading.leader.running.get(number) if node.leading else None
    return running.position if running is not None else 0
