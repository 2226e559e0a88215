"""A registry and its peers, for the tests: at a desk without a network, and on hosts."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from spinney.errors import CallError
from spinney.net.host import Address, Datagrams, Host
from spinney.p2pcast.registry import codec
from spinney.p2pcast.registry import messages as m
from spinney.p2pcast.registry.contacts import ContactsSettings, RegistryContacts
from spinney.p2pcast.registry.desk import Desk, Probe
from spinney.p2pcast.registry.link import RegistryPlace
from spinney.p2pcast.registry.node import RegistryNode
from spinney.p2pcast.registry.settings import RegistrySettings
from spinney.trust.keys import Keys
from spinney.wire.krpc import Krpc
from spinney.wire.krpc_messages import (
    Arguments,
    Query,
    answer_overhead_bytes,
    encode_answer,
    encode_query,
)

PORT = 6970
UNIX_S = 1_800_000_000.0


def keys_of(name: str) -> Keys:
    return Keys(random.Random(name).randbytes(32))


REGISTRY = keys_of("registry")
SOURCE = keys_of("source")
STREAM = m.stream_of(SOURCE.public)


class AtDesk:
    """Calls at a desk, as if they had come by datagrams from `remote`."""

    def __init__(self, settings: RegistrySettings | None = None, *, signs: bool = True) -> None:
        rng = random.Random(7)
        self.now = 1_000.0
        self.desk = Desk(
            settings or RegistrySettings(), REGISTRY if signs else None, rng, rng.randbytes
        )
        self.sequence = 0
        self.probes: list[Probe] = []
        self.largest = 0.0
        """Bytes of an answer for each byte of its question, at the most."""

    def ask(self, method: bytes, arguments: Arguments, remote: Address) -> Arguments:
        query = encode_query(b"tttt", method, arguments)
        room = len(query) * 3 - answer_overhead_bytes(b"tttt")
        asked = Query(method, arguments, remote, b"tttt", False, min(room, 1_178))
        reply = self.desk.answer(asked, self.now, UNIX_S + self.now)
        if reply.probe is not None:
            self.probes.append(reply.probe)
        answer = encode_answer(b"tttt", reply.values)
        self.largest = max(self.largest, len(answer) / len(query))
        return reply.values

    def token(self, remote: Address, stream: bytes = STREAM) -> bytes:
        ask = m.AskToken(stream)
        return codec.decode_token(self.ask(ask.method, codec.encode_ask(ask), remote)).token

    def say(
        self, keys: Keys, remote: Address, said: Callable[[bytes], m.Said], sequence: int = 0
    ) -> Arguments:
        """Signed with a fresh token and a number of its own."""
        self.sequence += 1
        message = said(self.token(remote))
        arguments = codec.sign(keys, sequence or self.sequence, message)
        return self.ask(message.method, arguments, remote)

    def join(self, keys: Keys, remote: Address, **fields: object) -> m.Joined:
        stream = fields.pop("stream", STREAM)
        values = self.say(keys, remote, lambda token: m.Join(stream, token, **fields))  # type: ignore[arg-type]
        return codec.decode_joined(values, stream, keys.peer)  # type: ignore[arg-type]

    def open(self) -> m.Joined:
        return self.join(SOURCE, ("20.0.0.1", PORT), is_open=True)

    def delete(self, keys: Keys, remote: Address, accused: bytes, stripe: int) -> int:
        values = self.say(keys, remote, lambda token: m.Delete(STREAM, token, accused, stripe))
        return codec.decode_verdict(values).state

    def accuse(
        self,
        keys: Keys,
        remote: Address,
        accused: bytes,
        stripe: int = 0,
        proof: tuple[bytes, bytes] | None = None,
    ) -> int:
        values = self.say(
            keys, remote, lambda token: m.Accuse(STREAM, token, accused, stripe, proof)
        )
        return codec.decode_verdict(values).state

    def told(self, keys: Keys, remote: Address, wanted: int = 16) -> set[bytes]:
        """Whom ten joins of this peer are told of."""
        rows = [self.join(keys, remote, wanted=wanted).contacts for _ in range(10)]
        return {contact.peer for row in rows for contact in row}

    def refused(self, call: Callable[[], object]) -> int:
        try:
            call()
        except CallError as error:
            return error.code
        raise AssertionError("it was not refused")


def far(number: int) -> Address:
    """A public address in a network of its own."""
    return f"21.{number >> 8}.{number & 255}.7", PORT


class OnHost:
    """One peer on a host: a port, keys, contacts; it answers whether it lives."""

    def __init__(
        self,
        host: Host,
        name: str,
        registries: Sequence[RegistryPlace],
        *,
        keys: Keys | None = None,
        stream: bytes = STREAM,
        settings: ContactsSettings | None = None,
    ) -> None:
        self.host = host
        self.keys = keys or keys_of(name)
        self.stream = stream
        self.krpc = Krpc(host)
        self.krpc.serve(b"p2pcast", self._served)
        self.contacts = RegistryContacts(self.krpc, self.keys, registries, settings)
        self.asked = 0
        self.datagrams: Datagrams | None = None

    def _served(self, query: Query) -> Arguments:
        assert query.method == m.Alive.method
        self.asked += 1
        return codec.answer_alive(self.keys, self.stream, query.arguments)

    async def open(self, address: str = "0.0.0.0", port: int = 0) -> OnHost:
        self.datagrams = await self.host.open_datagrams(self.krpc, (address, port))
        self.krpc.use(self.datagrams)
        return self

    async def join(self, wanted: int = 16) -> m.Joined:
        return await self.contacts.join(self.stream, wanted)

    def close(self) -> None:
        self.krpc.close()
        if self.datagrams is not None:
            self.datagrams.close()


def place_of(node: RegistryNode, host: str, keys: Keys | None = REGISTRY) -> RegistryPlace:
    return RegistryPlace((host, node.port), None if keys is None else keys.public)
