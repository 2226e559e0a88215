"""`Contacts`: where a peer finds live peers of its stream; and the client of a registry.

    contacts = RegistryContacts(krpc, keys, link.registries)
    joined = await contacts.join(link.stream)         # joined.contacts, contacts.ticket
    task = create_task(contacts.stay(link.stream))    # renews until cancelled
    await contacts.delete(link.stream, neighbour, stripe)
    await contacts.leave(link.stream)

The forest knows `Contacts` only: any peer can stand in for the registry (it answers the same
calls), and an overlay that finds random nodes can take its place later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias, TypeVar

from spinney.errors import CallError, NetworkError, NoAnswerError, SpinneyError, WireError
from spinney.net.address import format_address, is_dialable
from spinney.net.guard import may_dial
from spinney.net.host import Address
from spinney.p2pcast.registry import codec
from spinney.p2pcast.registry import messages as m
from spinney.p2pcast.registry.link import RegistryPlace
from spinney.p2pcast.trust.signing import Counter
from spinney.trust.keys import Keys
from spinney.wire.krpc import Krpc
from spinney.wire.krpc_messages import Arguments

T = TypeVar("T")
Read: TypeAlias = Callable[[Arguments, RegistryPlace, Address], T]
"""Makes the result of an answer's values; raises `WireError` for rubbish."""

log = logging.getLogger("spinney.contacts")

ADDRESSES_PER_REGISTRY = 4
"""Of a name that resolves to more, the first are tried."""
SILENT_S = 60.0
"""A registry that did not answer is asked last for so long."""
TOKENS_KEPT = 64
"""Four addresses of sixteen registries."""
TOKENS_PER_CALL = 2
"""A token may be old once; a registry that refuses the fresh one as well is broken."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a peer tells of itself: reachable from outside, dials both families, how deep."""

    is_open: bool = True
    both_families: bool = False
    depth: int | None = None


class Contacts(Protocol):
    """Who knows live peers of a stream.  Every call ends: with an answer, with `NoAnswerError`
    when nobody could be asked, or with `CallError`, which says why it was refused."""

    async def join(
        self, stream: bytes, wanted: int = m.CONTACTS_WANTED, standing: Standing = Standing()
    ) -> m.Joined:
        """I come: live peers, at random."""

    async def renew(self, stream: bytes, standing: Standing = Standing()) -> m.Joined:
        """I am still here; due every `Joined.renew_s`."""

    async def leave(self, stream: bytes) -> None:
        """I go.  Never raises: who goes does not wait for anybody."""

    async def delete(self, stream: bytes, accused: bytes, stripe: int) -> int:
        """My neighbour in this stripe is dead: `GONE` or `HEARD`."""

    async def accuse(
        self, stream: bytes, accused: bytes, stripe: int, proof: tuple[bytes, bytes] | None = None
    ) -> int:
        """My parent in this stripe cheats: `GONE` (no longer handed out) or `HEARD`."""


@dataclass(frozen=True, slots=True)
class ContactsSettings:
    """`timeout_s` for the first try, twice as long for the next: `attempts` at each address.
    All registries are tried `rounds` times, with `pause_s` between, twice as long each time."""

    timeout_s: float = 1.0
    attempts: int = 3
    rounds: int = 3
    pause_s: float = 1.0
    pause_max_s: float = 30.0


class RegistryContacts:
    """The client of one or more registries, asked in the order of the link.

    `family`: of the socket under `krpc`.  `keys` must be this stream's own: each call takes a
    new number, and one key that signs two things with one number is taken for a cheat's.
    `counter`: the key's, where it signs calls of the forest as well.
    """

    def __init__(
        self,
        krpc: Krpc,
        keys: Keys,
        registries: Sequence[RegistryPlace],
        settings: ContactsSettings | None = None,
        *,
        family: Literal[0, 4, 6] = 4,
        counter: Counter | None = None,
    ) -> None:
        assert registries, "there is nobody to ask"
        self.settings = settings or ContactsSettings()
        self.ticket: m.Ticket | None = None
        """The last that a registry gave us, to show to peers."""
        self._krpc = krpc
        self._host = krpc.host
        self._keys = keys
        self._places = list(registries)
        self._family = family
        self._silent_until: dict[RegistryPlace, float] = {}
        self._tokens: dict[Address, bytes] = {}
        self._counter = counter or Counter(self._host.wall_time)
        self._turn = asyncio.Lock()

    async def join(
        self, stream: bytes, wanted: int = m.CONTACTS_WANTED, standing: Standing = Standing()
    ) -> m.Joined:
        def said(token: bytes) -> m.Join:
            told = (standing.is_open, standing.both_families, standing.depth)
            return m.Join(stream, token, min(wanted, m.CONTACTS_MAX), *told)

        return await self._joined(stream, said)

    async def renew(self, stream: bytes, standing: Standing = Standing()) -> m.Joined:
        def said(token: bytes) -> m.Renew:
            return m.Renew(stream, token, standing.is_open, standing.depth)

        return await self._joined(stream, said)

    async def _joined(self, stream: bytes, said: Callable[[bytes], m.Said]) -> m.Joined:
        def read(values: Arguments, place: RegistryPlace, remote: Address) -> m.Joined:
            joined = codec.decode_joined(values, stream, self._keys.peer)
            if place.key is not None and joined.ticket is not None:
                if not joined.ticket.is_signed(place.key):
                    raise WireError("its ticket is not signed with the key in the link")
                self.ticket = joined.ticket
            elif place.key is not None and self.ticket is None:
                raise WireError("it gives no ticket")
            self._keep(remote, joined.token)
            return replace(joined, contacts=self._dialable(joined.contacts, remote))

        return await self._call(said, read)

    def _dialable(self, contacts: tuple[m.Contact, ...], remote: Address) -> tuple[m.Contact, ...]:
        """Those that a registry there may send us to; a private one only at the word of such."""
        return tuple(
            one
            for one in contacts
            if one.peer != self._keys.peer
            and is_dialable(one.address)
            and may_dial(one.address, f"registry:{format_address(remote)}")
        )

    async def leave(self, stream: bytes) -> None:
        try:
            await self._call(
                lambda token: m.Leave(stream, token), lambda values, place, remote: None, rounds=1
            )
        except SpinneyError as error:
            log.info("the registry was not told that we left: %s", error)

    async def delete(self, stream: bytes, accused: bytes, stripe: int) -> int:
        return await self._verdict(stream, lambda token: m.Delete(stream, token, accused, stripe))

    async def accuse(
        self, stream: bytes, accused: bytes, stripe: int, proof: tuple[bytes, bytes] | None = None
    ) -> int:
        return await self._verdict(
            stream, lambda token: m.Accuse(stream, token, accused, stripe, proof)
        )

    async def _verdict(self, stream: bytes, said: Callable[[bytes], m.Said]) -> int:
        def read(values: Arguments, place: RegistryPlace, remote: Address) -> int:
            verdict = codec.decode_verdict(values)
            self._keep(remote, verdict.token)
            return verdict.state

        try:
            return await self._call(said, read)
        except CallError as error:
            if error.code != m.NO_MEMBER:
                raise
        await self.renew(stream)  # it had forgotten us: a restart without its disk
        return await self._call(said, read)

    async def stay(
        self, stream: bytes, standing: Callable[[], Standing] = Standing, renew_s: float = 45.0
    ) -> None:
        """Renews until cancelled, at the registry's own pace; what fails is tried again."""
        rng = self._host.rng
        while True:
            await asyncio.sleep(renew_s * rng.uniform(0.8, 1.0))
            try:
                renew_s = (await self.renew(stream, standing())).renew_s
            except SpinneyError as error:
                log.info("not renewed: %s", error)

    # Within

    async def _call(
        self, said: Callable[[bytes], m.Said], read: Read[T], *, rounds: int | None = None
    ) -> T:
        """The first good answer of a registry; one call at a time, so that they arrive in order.

        Raises the first refusal if there was one, else `NoAnswerError`.
        """
        settings = self.settings
        refusal: CallError | None = None
        rubbish: WireError | None = None
        pause_s = settings.pause_s
        async with self._turn:
            for turn in range(rounds or settings.rounds):
                if turn:
                    await asyncio.sleep(pause_s * self._host.rng.uniform(0.5, 1.0))
                    pause_s = min(2 * pause_s, settings.pause_max_s)
                for place in self._in_order():
                    try:
                        result = await self._at(place, said, read)
                    except CallError as error:
                        refusal = refusal or error
                    except (NoAnswerError, WireError) as error:
                        self._silent_until[place] = self._host.time() + SILENT_S
                        if isinstance(error, WireError):
                            rubbish = rubbish or error
                    else:
                        self._silent_until.pop(place, None)
                        return result
                if refusal is not None:
                    raise refusal
        raise NoAnswerError(self._nobody(rubbish))

    def _in_order(self) -> list[RegistryPlace]:
        """As in the link, but those that were silent a while ago last: one that is back is found
        again, so that peers do not stay with a stand-in while newcomers ask the registry."""
        now = self._host.time()
        return sorted(self._places, key=lambda place: self._silent_until.get(place, 0.0) > now)

    def _nobody(self, rubbish: WireError | None) -> str:
        tried = ", ".join(format_address(place.address) for place in self._places)
        if rubbish is not None:
            return (
                f"no registry of this stream can be believed (tried {tried}: {rubbish}): "
                "ask for a fresh link"
            )
        return (
            f"no registry of this stream answers (tried {tried}): is its source on the air, and "
            "may this machine send UDP?  Else ask for a fresh link"
        )

    async def _at(self, place: RegistryPlace, said: Callable[[bytes], m.Said], read: Read[T]) -> T:
        """One registry, at the first of its addresses that answers."""
        for remote in await self._resolved(place):
            try:
                return await self._ask(place, remote, said, read)
            except NoAnswerError:
                continue
        raise NoAnswerError(f"no answer from the registry {format_address(place.address)}")

    async def _resolved(self, place: RegistryPlace) -> list[Address]:
        host, port = place.address
        try:
            found = await self._host.resolve(host, port, family=self._family)
        except NetworkError as error:
            log.info("the registry %s: %s", host, error)
            return []
        return [one for one in found if is_dialable(one)][:ADDRESSES_PER_REGISTRY]

    async def _ask(
        self,
        place: RegistryPlace,
        remote: Address,
        said: Callable[[bytes], m.Said],
        read: Read[T],
    ) -> T:
        """One registry at one address.  A repeated question is the same, bit by bit: said twice
        it changes nothing."""
        for _ in range(TOKENS_PER_CALL):
            token = self._tokens.get(remote)
            if token is None:
                token = await self._token(remote, said)
                self._keep(remote, token)
            message = said(token)
            arguments = codec.sign(self._keys, self._counter.next(), message)
            try:
                return read(await self._try(remote, message.method, arguments), place, remote)
            except CallError as error:
                if error.code != m.TOKEN_OLD:
                    raise
                self._tokens.pop(remote, None)
        raise NoAnswerError("the registry refuses the tokens that it gives")

    def _keep(self, remote: Address, token: bytes) -> None:
        self._tokens.pop(remote, None)
        self._tokens[remote] = token
        if len(self._tokens) > TOKENS_KEPT:
            del self._tokens[next(iter(self._tokens))]

    async def _token(self, remote: Address, said: Callable[[bytes], m.Said]) -> bytes:
        ask = m.AskToken(said(bytes(m.TOKEN_BYTES)).stream)
        values = await self._try(remote, ask.method, codec.encode_ask(ask))
        return codec.decode_token(values).token

    async def _try(self, remote: Address, method: bytes, arguments: Arguments) -> Arguments:
        timeout_s = self.settings.timeout_s
        for _ in range(self.settings.attempts - 1):
            try:
                return await self._krpc.ask(remote, method, arguments, timeout_s)
            except NoAnswerError:
                timeout_s *= 2
        return await self._krpc.ask(remote, method, arguments, timeout_s)
