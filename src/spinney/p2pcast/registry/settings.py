"""What the operator of a registry may choose.  Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from spinney.p2pcast.registry.messages import CONTACTS_MAX

DEFAULT_PORT = 6970
PEERS_PER_NETWORK = 8


@dataclass(frozen=True, slots=True)
class RegistryLimits:
    """The bounds of a registry's memory: below 900 bytes a peer (a test)."""

    streams: int = 1_000
    peers: int = 200_000
    """Over all streams."""
    peers_per_stream: int = 50_000
    cases: int = 4_096
    """Peers that are accused at one time, over all streams."""
    bad: int = 4_096
    """Peers of one stream that are no longer handed out and remembered after they left."""
    gone: int = 16_384
    """Peers that left while a token of theirs was still good: against calls that are replayed."""
    askers: int = 50_000
    """Addresses whose calls are counted; when more come within a minute, counting begins anew."""


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Times are seconds.

    `addresses`: where it listens, each on `port`; one family that does not exist is no error as
    long as the other works.  `renew_s`: how often peers are to say that they live; one that was
    not heard for `expiry_s` is gone.  `token_s`: a token is good for so long at least and twice
    as long at most.  `ticket_s`: a ticket's life, renewed at its half.

    `streams`: only these are served; None: any whose source comes and shows its key (before
    that nobody can join).

    Addresses, each None for no limit, none for loopback and private addresses (a school is one
    network): `peers_per_network` of one stream from one /24 (IPv4) or /64 (IPv6), and
    `streams_per_network` opened from there;
    `told_per_network` contacts from one such network in one answer; `calls_per_minute` from one
    IPv4 address or /64 that has shown its token.

    `contacts_max`: told in one answer, however many are asked for.  `drawn_per_contact`: so many
    random peers are drawn for each contact that is told, and the shallowest are told, by what
    they say themselves: 1 is the paper's random choice; a liar is told at most so many times as
    often as others.

    A dead peer is believed to be dead when `alive_attempts` questions, `alive_timeout_s` apart,
    found no answer within the last `probe_holds_s` seconds, and neighbours in two stripes say
    so within `testimony_s`.  One whose accusations were found false `false_most` times in
    `false_s` is not listened to.  A peer against which `bad_witnesses` children testify within
    `testimony_s` is not handed out for `bad_s`; one that is proven bad, for `proven_bad_s`.

    `state_folder`: what it knows is kept there, written every `state_every_s` and at the end.
    """

    port: int = DEFAULT_PORT
    addresses: tuple[str, ...] = ("0.0.0.0", "::")
    renew_s: int = 45
    expiry_s: float = 120.0
    token_s: float = 60.0
    ticket_s: float = 600.0
    streams: frozenset[bytes] | None = None
    peers_per_network: int | None = PEERS_PER_NETWORK
    streams_per_network: int | None = 8
    told_per_network: int | None = 1
    calls_per_minute: int | None = 120
    contacts_max: int = CONTACTS_MAX
    drawn_per_contact: int = 1
    alive_attempts: int = 3
    alive_timeout_s: float = 0.5
    probe_holds_s: float = 20.0
    probes_max: int = 256
    testimony_s: float = 600.0
    false_most: int = 3
    false_s: float = 600.0
    accused_most: int = 32
    bad_witnesses: int = 3
    bad_s: float = 600.0
    proven_bad_s: float = 86_400.0
    state_folder: str | None = None
    state_every_s: float = 30.0
    limits: RegistryLimits = field(default_factory=RegistryLimits)
