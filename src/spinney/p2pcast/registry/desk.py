"""The registry's desk: one call in, one answer out.  Pure; the node only carries.

What costs most comes last: the shape, then the token (two hashes), then the count of calls from
this address, and only then the signature.  Whoever forges addresses never gets further than the
token, and uses up nobody's calls: a limit that can be used up in another's name is a weapon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from spinney.errors import CallError, WireError
from spinney.net.host import Address, Rng
from spinney.p2pcast.registry import codec
from spinney.p2pcast.registry import messages as m
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.p2pcast.registry.streams import Member, Newcomer, Order, Registry, network_of
from spinney.p2pcast.registry.tokens import SECRET_BYTES, Tokens
from spinney.p2pcast.registry.witnesses import Testimony, Witnesses
from spinney.trust.envelope import Envelope
from spinney.trust.keys import Keys
from spinney.wire.krpc_messages import METHOD_UNKNOWN, PROTOCOL, Arguments, Query

METHODS = frozenset({m.AskToken.method, *codec.SAID})
"""Calls that a registry answers; `p2pcast.alive` is for peers."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A question that the node is to put to an accused peer."""

    ask: m.Alive
    address: Address


@dataclass(frozen=True, slots=True)
class Reply:
    values: Arguments
    probe: Probe | None = None


class Desk:
    """Answers calls from the registry's state, within the operator's settings.

    `keys` None: a stand-in, which signs no tickets.  `counts` says what was answered and why
    not; it has a few names and no address.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        keys: Keys | None,
        rng: Rng,
        entropy: Callable[[int], bytes],
    ) -> None:
        self.settings = settings
        self.registry = Registry(
            settings.limits,
            expiry_s=settings.expiry_s,
            peers_per_network=settings.peers_per_network,
            streams_per_network=settings.streams_per_network,
            allowed=settings.streams,
        )
        self.witnesses = Witnesses(
            cases_max=settings.limits.cases,
            testimony_s=settings.testimony_s,
            probe_holds_s=settings.probe_holds_s,
            false_most=settings.false_most,
            false_s=settings.false_s,
            accused_most=settings.accused_most,
            bad_witnesses=settings.bad_witnesses,
        )
        self.tokens = Tokens(entropy(SECRET_BYTES), settings.token_s)
        self.counts: Counter[str] = Counter()
        self._keys = keys
        self._rng = rng
        self._entropy = entropy
        self._calls: dict[bytes, int] = {}
        self._minute = -1
        self._probing = 0

    def answer(self, query: Query, now: float, unix_s: float) -> Reply:
        """Raises `CallError` or `WireError`, which the asker is told."""
        remote = query.remote
        if query.method == m.AskToken.method:
            codec.read_ask_token(query.arguments)
            self.counts["tokens"] += 1
            return Reply(codec.encode_token(m.Token(self.tokens.give(remote, now))))
        if query.method not in codec.SAID:
            raise CallError("method unknown", METHOD_UNKNOWN)
        said, sealed = codec.read_said(query.method, query.arguments)
        epoch = self.tokens.epoch_of(said.token, remote, now)
        if epoch is None:
            self.counts["tokens refused"] += 1
            raise CallError("the token is old or not yours: ask for one", m.TOKEN_OLD)
        self._may_call(remote[0], now)
        if not sealed.verified():
            self.counts["signatures refused"] += 1
            raise CallError("the signature is false", PROTOCOL)
        order = (epoch, sealed.sequence)
        match said:
            case m.Join() | m.Renew():
                return Reply(self._join(query, said, sealed, order, now, unix_s))
            case m.Leave():
                self.registry.leave(said.stream, sealed.peer_id, order)
                self.counts["leaves"] += 1
                return Reply({})
            case m.Delete():
                return self._delete(said, sealed, order, remote, now)
            case m.Accuse():
                return Reply(self._accuse(said, sealed, order, remote, now))

    def _may_call(self, host: str, now: float) -> None:
        most = self.settings.calls_per_minute
        if most is None:
            return
        network = network_of(host)
        if not network:
            return
        owner = host.encode() if len(network) == 3 else network
        minute = int(now // 60)
        if minute != self._minute or len(self._calls) >= self.settings.limits.askers:
            self._minute, self._calls = minute, {}
        asked = self._calls[owner] = self._calls.get(owner, 0) + 1
        if asked > most:
            self.counts["limited"] += 1
            raise CallError("too many calls from this address: wait a minute", m.TOO_OFTEN)

    # JOIN

    def _join(
        self,
        query: Query,
        said: m.Join | m.Renew,
        sealed: Envelope,
        order: Order,
        now: float,
        unix_s: float,
    ) -> Arguments:
        settings, registry, remote = self.settings, self.registry, query.remote
        newcomer = Newcomer(
            peer=sealed.peer_id,
            address=remote,
            order=order,
            is_open=said.is_open,
            depth=said.depth,
            is_source=m.stream_of(sealed.public) == said.stream,
        )
        member = registry.join(said.stream, newcomer, now)
        self.witnesses.spoke(said.stream, member.peer)
        told: list[Member] = []
        six = ":" in remote[0]
        if isinstance(said, m.Join):
            self.counts["joins"] += 1
            room = codec.room_for_contacts(query.room_bytes, six=six or said.both_families)
            told = registry.choose(
                said.stream,
                newcomer,
                min(said.wanted, settings.contacts_max, room),
                self._rng,
                families=(False, True) if said.both_families else (six,),
                drawn_per_contact=settings.drawn_per_contact,
                told_per_network=settings.told_per_network,
            )
        else:
            self.counts["renewals"] += 1
        return codec.encode_joined(
            m.Joined(
                token=self.tokens.give(remote, now),
                renew_s=settings.renew_s,
                members=len(registry.streams[said.stream].members),
                open=registry.open_count(said.stream),
                seen=remote,
                ticket=self._ticket(said, member, unix_s),
            ),
            [one.row for one in told],
        )

    def _ticket(self, said: m.Join | m.Renew, member: Member, unix_s: float) -> m.Ticket | None:
        """A new one for who joins, and for who has one that is half spent."""
        if self._keys is None:
            return None
        fresh = 0 <= unix_s - member.ticket_at < self.settings.ticket_s / 2
        if fresh and isinstance(said, m.Renew):
            return None
        member.ticket_at = int(unix_s)
        return m.Ticket.issue(self._keys, said.stream, member.peer, member.ticket_at)

    # DELETE, and parents that cheat

    def _hear(
        self, said: m.Delete | m.Accuse, sealed: Envelope, order: Order, remote: Address, now: float
    ) -> Testimony | None:
        """The testimony of a member; None if it was heard before (a repeated datagram)."""
        speaker = self.registry.speaker(said.stream, sealed.peer_id, remote)
        if speaker.peer == said.accused:
            raise WireError("a peer does not accuse itself")
        if order < speaker.said_order:
            raise CallError("this peer has said something newer since", m.OVERTAKEN)
        if order == speaker.said_order:
            return None
        speaker.said_order = order
        self.counts["accusations"] += 1
        return Testimony(speaker.peer, speaker.network, said.stripe, now)

    def _delete(
        self, said: m.Delete, sealed: Envelope, order: Order, remote: Address, now: float
    ) -> Reply:
        testimony = self._hear(said, sealed, order, remote, now)
        accused = self.registry.member(said.stream, said.accused)
        if accused is None:
            return self._verdict(remote, m.GONE, now)
        if testimony is None:
            return self._verdict(remote, m.HEARD, now)
        case = self.witnesses.says_dead(said.stream, said.accused, testimony)
        if case is None:
            return self._verdict(remote, m.HEARD, now)
        if self.witnesses.is_dead(case, now):
            self._bury(said.stream, said.accused)
            return self._verdict(remote, m.GONE, now)
        probe = None
        if self.witnesses.must_ask(case, now) and self._probing < self.settings.probes_max:
            case.is_asked = True
            self._probing += 1
            self.counts["probes"] += 1
            nonce = self._entropy(m.NONCE_BYTES)
            probe = Probe(m.Alive(said.stream, said.accused, nonce), accused.address)
        return self._verdict(remote, m.HEARD, now, probe)

    def probed(self, probe: Probe, answer: Arguments | None, now: float) -> None:
        """What became of a probe: the values that came, or None."""
        self._probing -= 1
        stream, accused = probe.ask.stream, probe.ask.peer
        if answer is not None and codec.proves_alive(probe.ask, answer):
            self.counts["false accusations"] += 1
            self.witnesses.answered(stream, accused, now)
            return
        member = self.registry.member(stream, accused)
        if member is None or member.address != probe.address:
            self.witnesses.close(stream, accused)  # it left meanwhile, or is elsewhere
            return
        case = self.witnesses.did_not_answer(stream, accused, now)
        if self.witnesses.is_dead(case, now):
            self._bury(stream, accused)
        else:
            self.registry.suspect(stream, accused)

    def unprobed(self, probe: Probe) -> None:
        """The probe could not be sent: nothing was found out."""
        self._probing -= 1
        case = self.witnesses.cases.get((probe.ask.stream, probe.ask.peer))
        if case is not None:
            case.is_asked = False

    def _bury(self, stream: bytes, accused: bytes) -> None:
        self.counts["deaths"] += 1
        self.registry.delete(stream, accused)
        self.witnesses.close(stream, accused)

    def _accuse(
        self, said: m.Accuse, sealed: Envelope, order: Order, remote: Address, now: float
    ) -> Arguments:
        testimony = self._hear(said, sealed, order, remote, now)
        registry, settings = self.registry, self.settings
        if registry.member(said.stream, said.accused) is None:
            return self._verdict(remote, m.GONE, now).values
        if said.proof is not None:
            if not codec.contradict(said.accused, said.proof):
                raise WireError("these two envelopes prove nothing")
            registry.mark_bad(said.stream, said.accused, now + settings.proven_bad_s)
            self.counts["proven bad"] += 1
            return self._verdict(remote, m.GONE, now).values
        if testimony is None:
            return self._verdict(remote, m.HEARD, now).values
        if not self.witnesses.says_bad(said.stream, said.accused, testimony):
            return self._verdict(remote, m.HEARD, now).values
        registry.mark_bad(said.stream, said.accused, now + settings.bad_s)
        self.counts["witnessed bad"] += 1
        return self._verdict(remote, m.GONE, now).values

    def _verdict(
        self, remote: Address, state: int, now: float, probe: Probe | None = None
    ) -> Reply:
        said = m.Verdict(self.tokens.give(remote, now), state)
        return Reply(codec.encode_verdict(said), probe)

    def sweep(self, now: float) -> None:
        """Forgets the silent, and what is too old to matter."""
        epoch = int(now // self.settings.token_s)
        self.registry.sweep(now, epoch - 2)
        self.witnesses.sweep(now)
