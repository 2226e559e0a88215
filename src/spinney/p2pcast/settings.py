"""`Settings` of a forest's protocol: every interval and limit, with its reason.  Seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Defaults suit 100 ms a hop.  All peers of a stream use the source's `beat_s`."""

    beat_s: float = 0.25
    """Between beats of the source, where no data takes their place."""
    idle_beats: float = 1.2
    """Without a newer number for so many beats a peer says that it lives but is cut off."""
    probe_s: float = 0.5
    """A parent so long silent is asked: two beats, so that one lost datagram asks nobody."""
    dead_s: float = 0.85
    """A parent silent for so long, probes unanswered, is dead: two probes had their round trip."""
    cut_off_s: float = 6.0
    """Idle beats for so long, up to twice as long by lot: the parent lives, but the tree above does
    not mend.  Not all of a branch at once: one who finds a parent brings those below with it."""
    here_s: float = 1.0
    """Between a child's words to its parents."""
    child_dead_s: float = 3.0
    """A child silent for so long is dropped: three words lost in a row, or death."""
    accused_s: float = 1.2
    """A child silent for so long may be replaced by its own child at once; else it is probed."""
    call_s: float = 0.5
    """A call's time limit: five hops of 100 ms would be one; a round trip is two."""
    resend_s: float = 0.25
    """A call unanswered for so long is sent again, where it has several attempts: a round trip of
    200 ms, and some."""
    lock_s: float = 0.6
    lock_attempts: int = 2
    apply_attempts: int = 4
    backoff_s: float = 0.05
    backoff_most_s: float = 0.4
    join_s: float = 60.0
    """A newcomer that has found no place after so long is told so."""
    leave_s: float = 3.0
    """Who leaves tries for so long to leave no gap."""
    contacts: int = 4
    """Random peers that a newcomer asks."""
    planned_joins: int = 2
    """Where there are spare slots, a newcomer whose plans failed so often attaches tree by tree."""
    renew_s: float = 10.0
    """Between a peer's words to the registry: it may have been forgotten after a partition."""
    parents_apart: bool = True
    """No two parents in one /24 or /64, where an orphan has the choice; local addresses aside."""
    stripe_bytes_per_s: float = 0.0
    """Of one stripe, by which a peer that knows its line counts its slots; 0: the source does not
    say."""
    least_slots: int | None = None
    """Children that each peer must be able to carry; None: as many as there are stripes.  With
    fewer, the spare slots of others must make up for who is slow."""
    late_s: float = 2.0
    """A parent by whom everything comes so much later than in other trees is too slow."""
    nat: bool = False
    """Some peers cannot be reached from outside, and their names say so (`reaching.py`)."""
    rounds: int = 40
    """Of looking for a parent, before the orphan joins anew."""

    @property
    def uneven(self) -> bool:
        """Are peers unlike each other?  A plan does not know who can reach whom, or carry what:
        then all attach tree by tree."""
        return self.nat or self.least_slots is not None
