"""What a transfer's multicast group says, as events have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spinney.content.descriptor import Descriptor
from spinney.events import GroupState, GroupStream, Receiver

if TYPE_CHECKING:
    from spinney.mcftp.view import View

ID_DIGITS = 8
"""Of a peer's id: enough to tell those of one group apart."""


def group_state(view: View, wait_for: int, complete: int) -> GroupState:
    """`complete`: who has everything by the group or the swarm.  One count for the eye and for
    `--until-complete`: a receiver that was done told the swarm a moment before the group, and the
    sharer ended with a last row that knew of one less."""
    return GroupState(
        address=view.group,
        leader=view.leader[:ID_DIGITS],
        leading=view.leading,
        members=view.members,
        started=view.started,
        sent_bytes=view.sent_bytes,
        streams=tuple(
            GroupStream(
                each.address,
                each.sender[:ID_DIGITS],
                each.mine,
                each.rate_bytes_per_s,
                each.position,
                each.blocks,
            )
            for each in view.streams
        ),
        joined=view.joined if view.leading else None,
        complete=max(view.complete, complete) if view.leading else None,
        wait_for=wait_for if view.leading and wait_for else None,
    )


def receivers_of(view: View, descriptor: Descriptor) -> tuple[Receiver, ...] | None:
    """The receivers, known to the leader only; what they have in blocks is told in bytes."""
    if not view.leading:
        return None
    total = descriptor.total_bytes
    return tuple(
        Receiver(
            peer=each.peer[:ID_DIGITS],
            have_bytes=total if each.complete else total * each.have // max(1, each.total),
            complete=each.complete,
            loss=round(each.loss, 4),
            rate_bytes_per_s=each.rate_bytes_per_s,
            silent_s=round(each.silent_s, 1),
        )
        for each in view.receivers
    )
