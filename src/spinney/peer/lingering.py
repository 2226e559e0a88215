"""`Lingering`: how long who has got everything stays for others of its group.  Pure.

`get` ends when it is done, unless it was asked to seed.  But who came late would then be served
by the source alone.  So a member stays for a moment, in which the leader can ask it to send, and
goes on while it is sending, within a bound: nobody gives longer than it took.
"""

from __future__ import annotations

from dataclasses import dataclass

from spinney.mcftp.view import View

MOMENT_S = 2.0
"""So long at most without being asked: a late one that lacks something is noticed by its report,
once all has gone by; and the plan that follows takes half a second."""
NEWS_S = 0.3
"""Our own report has reached the leader: what it says from then on counts us."""
LEAST_BOUND_S = 10.0
"""Who is sending ends within the time that its own download took, or within so long."""
LEAST_MEMBERS = 3
"""A sender and one receiver: nobody else is there."""


@dataclass(slots=True)
class Lingering:
    """Made at the end of a download that began at `began` and was whole at `whole_at`.

    `had_it`: it was here before, so nobody has heard of us yet.  Who shares may count receivers
    (`--until-complete`): we stay for the moment in which a group is found, and tell it.
    """

    began: float
    whole_at: float
    had_it: bool = False

    def over(self, view: View | None, heard_at: float, now: float) -> bool:
        """May it go?  `heard_at`: when the leader's last keep-alive came."""
        if view is None:
            return True
        if not view.leader:
            return not self.had_it or now - self.whole_at >= MOMENT_S
        if view.members < LEAST_MEMBERS:
            return True
        if now - self.whole_at >= max(LEAST_BOUND_S, self.whole_at - self.began):
            return True
        if any(stream.mine for stream in view.streams):
            return False
        told = heard_at >= self.whole_at + NEWS_S or view.leading
        if told and now >= self.whole_at + NEWS_S and view.complete >= view.members - 1:
            return True
        return now - self.whole_at >= MOMENT_S
