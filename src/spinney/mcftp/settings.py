"""`Settings` of the MC-FTP room's control: every interval and limit as one row, with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from spinney.mcftp.messages import ELECTORATE_MAX


@dataclass(frozen=True, slots=True)
class Settings:
    """Defaults suit a LAN.  Rates are bytes of payload a second."""

    rate_bytes_per_s: int = 5_000_000
    """What all streams of a file send together at most: safe on any LAN, Wi-Fi included, until
    somebody who knows the network says more."""
    wait_for: int = 0
    """A leader sends only when so many receivers have joined, or `begin` was called."""
    wait_at_most_s: float = float("inf")
    """…or so long after it became leader: one machine that does not boot blocks nobody."""
    dismiss_after_s: float = float("inf")
    """Who loses most of what is sent for so long, while others do not, is told to fetch elsewhere
    (by the swarm, where there is one) until the others have everything."""
    until_complete: int = 0
    """`enough` is set when so many receivers have all of it (0: never)."""

    keep_alive_s: float = 1.0
    """Between keep-alives of an active group; succession takes 1.5 to 3 of these."""
    keep_alive_least_s: float = 0.1
    """Between two that somebody asked for (newcomers, rivals)."""
    status_s: float = 2.0
    """Between status requests."""
    status_share: int = 64
    """Reports asked for by one request; with more members they are asked in turns."""
    status_per_s: float = 200.0
    """Reports a second at most: what the window of a request is computed from."""
    most_reports_heard: int = 150
    """Who hears so many reports in a second puts its own off: a thousand who join at once, or
    are done at once, are all known within ten seconds."""
    hello_spread_s: float = 0.1
    """A newcomer who hears no keep-alive for a random part of this asks for one."""
    members: int = 4_096
    """Remembered by a leader, 400 bytes and a bit for each block each."""
    forget_s: float = 8.0
    """A member that answers no request of three rounds, or for so long, is gone."""
    sender_silent_s: float = 2.5
    """A sender that has not been heard for so long is replaced."""

    may_lead: bool = True
    """Lead, when something is held and nobody else does."""
    may_send: bool = True
    send_only: bool = False
    """A sharer with everything: joins no data group to receive."""
    electorate: int = ELECTORATE_MAX
    streams: int = 8
    """Data groups at a time: each is a socket and a buffer at every receiver that needs it."""
    leaderships: int = 20
    """Files that one peer leads at a time; more are left to others (`Leaderships`)."""

    find_again_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 15.0)
    """A downloader that finds no group tries again after these, the last one for ever."""
    reserve_s: float = 120.0
    renew_s: float = 40.0
    state_folder: str | None = None
    """Where votes are kept (None: a peer that restarts is another one, with other keys)."""
    swarm_port: int = 0
    swarm_id: bytes = b""
    """Told in signed messages (of the swarm's peer id: `neighbours.short_id`), so that members do
    not swarm among themselves over this link."""
    up_bytes_per_s: int = 0
    """What the line is known to give; 0: not known."""
    down_bytes_per_s: int = 0
    """Streams that come faster together are not followed; 0: no limit."""
    interested: bool | None = None
    """Counts as a receiver, for `wait_for`, `until_complete` and the display.  None: whoever
    lacked something when it began."""


SETTINGS = Settings()
