"""KRPC in the order of BEP 5: messages, queries, answers, errors; then time limits and bounds."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as some
from tests.wire.wires import Wire

from spinney.errors import CallError, NoAnswerError, WireError
from spinney.wire import krpc as krpc_module
from spinney.wire import krpc_messages
from spinney.wire.bencode import decode, encode
from spinney.wire.krpc import Krpc
from spinney.wire.krpc_messages import (
    MAX_SENT_BYTES,
    Arguments,
    Query,
    answer_overhead_bytes,
    decode_message,
    encode_answer,
    encode_error,
    encode_query,
    read_error,
)
from spinney.wire.krpc_shapes import MAX_SHAPES, MISSES_A_SHAPE, Shapes

A, B, C = ("198.18.0.1", 1), ("198.18.0.2", 2), ("198.18.0.3", 3)
PING = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"


def test_the_examples_of_bep_5() -> None:
    arguments = {b"id": b"abcdefghij0123456789"}
    assert encode_query(b"aa", b"ping", arguments) == PING
    assert decode_message(PING)[:2] == (b"q", b"aa")
    answer = b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re"
    assert encode_answer(b"aa", {b"id": b"mnopqrstuvwxyz123456"}) == answer
    error = b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee"
    assert encode_error(b"aa", 201, "A Generic Error Ocurred") == error
    assert read_error(decode_message(error)[2]) == (201, "A Generic Error Ocurred")


@given(
    some.binary(max_size=32),
    some.binary(max_size=20),
    some.dictionaries(some.binary(max_size=5), some.binary(max_size=20), max_size=4),
    some.booleans(),
)
def test_every_message_is_canonical(
    transaction: bytes, method: bytes, table: Arguments, read_only: bool
) -> None:
    query = encode_query(transaction, method, table, read_only=read_only)
    assert encode(decode(query)) == query
    kind, told, message = decode_message(query)
    assert (kind, told, message[b"q"], message[b"a"]) == (b"q", transaction, method, table)
    answer = encode_answer(transaction, table)
    assert decode_message(answer) == (b"r", transaction, decode(answer))
    assert len(answer) <= len(encode(table)) + answer_overhead_bytes(transaction) + 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"de",
        b"le",
        b"i1e",
        b"d1:t2:aae",
        b"d1:y1:qe",
        b"d1:t2:aa1:y1:qe",
        b"d1:t2:aa1:y1:re",
        b"d1:t2:aa1:y1:ee",
        b"d1:t2:aa1:y1:xe",
        b"d1:t2:aa1:yi1ee",
        b"d1:ti1e1:y1:re",
        b"d1:rle1:t2:aa1:y1:re",
        b"d1:a0:1:q4:ping1:t2:aa1:y1:qe",
        b"d1:ade1:qi1e1:t2:aa1:y1:qe",
        b"d1:ele1:t2:aa1:y1:ee",
        b"d1:eli201ee1:t2:aa1:y1:ee",
        b"d1:el3:2013:abce1:t2:aa1:y1:ee",
        b"d1:rde1:t33:" + b"x" * 33 + b"1:y1:re",
        b"d1:rd1:x2100:" + b"x" * 2100 + b"e1:t2:aa1:y1:re",
        PING + b"x",
    ],
)
def test_other_datagrams_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_message(data)


@given(some.binary(max_size=80))
def test_any_datagram_parses_or_raises_the_one_error(data: bytes) -> None:
    for candidate in (data, PING[: len(data)] + data):
        with contextlib.suppress(WireError):
            decode_message(candidate)


SHAPES = some.sampled_from(
    [
        PING,
        b"d1:ad1:xlee1:q9:find.node1:t4:abcd1:y1:qe",
        b"d1:ade1:q0:1:t4:1:t41:y1:qe",
        b"d1:rd1:b0:1:ai1ee1:t4:abcd1:y1:re",
        b"d1:ade1:rde1:t4:abcd1:y1:re",
    ]
)


@given(SHAPES, some.integers(0, 60), some.integers(0, 3), some.binary(max_size=4))
def test_the_short_way_through_usual_messages_comes_to_the_same(
    shape: bytes, at: int, cut: int, new: bytes
) -> None:
    for data in (shape, shape[:at] + new + shape[at + cut :]):
        usual = krpc_messages._decode_usual(data)
        if usual is not None:
            assert usual == krpc_messages._decode_any(data)


def test_our_own_messages_take_the_short_way() -> None:
    query = encode_query(b"abcd", b"chord.find", {b"key": b"x"})
    answer = encode_answer(b"abcd", {b"x": [1, {}]})
    for data in (query, answer):
        assert krpc_messages._decode_usual(data) == krpc_messages._decode_any(data)


TABLES = some.dictionaries(some.binary(max_size=5), some.binary(max_size=120), max_size=4)


@given(TABLES, some.sampled_from([b"q", b"r"]), some.data())
def test_a_message_of_a_known_shape_means_what_the_parser_says(
    table: Arguments, kind: bytes, data: some.DataObject
) -> None:
    """Learnt from one message, a shape reads every other as the general parser does, or not."""
    shapes = Shapes()
    if kind == b"q":
        known = encode_query(b"abcd", b"chord.find", table)
    else:
        known = encode_answer(b"abcd", table)
    shapes.learn(known, krpc_messages._decode_any(known))
    assert shapes.read(known) == krpc_messages._decode_any(known)
    at = data.draw(some.integers(0, len(known) - 1))
    new = data.draw(some.binary(min_size=1, max_size=3) | some.sampled_from([b"0", b"1", b":"]))
    other = (known[:at] + new + known[at + len(new) :])[: len(known)]
    found = shapes.read(other)
    if found is not None:
        assert found == krpc_messages._decode_any(other)
    inside = {key: bytes(len(value)) for key, value in table.items()}
    like = encode_query(b"zzzz", b"chord.find", inside) if kind == b"q" else b""
    if like:
        assert shapes.read(like) == krpc_messages._decode_any(like)


def test_shapes_are_learnt_now_and_then_bounded_and_only_of_flat_messages() -> None:
    shapes = Shapes()
    nested = encode_answer(b"abcd", {b"x": [1]})
    shapes.learn(nested, krpc_messages._decode_any(nested))
    assert shapes.read(nested) is None
    for length in range(MISSES_A_SHAPE * 4):
        data = encode_answer(b"abcd", {b"x": bytes(length)})
        shapes.missed(data, krpc_messages._decode_any(data))
    assert len(shapes._by_length) == 4
    for length in range(MAX_SHAPES * 2):
        data = encode_answer(b"abcd", {b"x": bytes(length)})
        shapes.learn(data, krpc_messages._decode_any(data))
        assert len(shapes._by_length) <= MAX_SHAPES


def pair(wire: Wire) -> tuple[Krpc, Krpc]:
    asker, answerer = Krpc(wire.host()), Krpc(wire.host())
    asker.use(wire.end(asker, A))
    answerer.use(wire.end(answerer, B))
    return asker, answerer


def test_calls_go_to_their_room_and_answers_come_back() -> None:
    async def scene() -> None:
        wire = Wire()
        asker, answerer = pair(wire)
        answerer.serve(b"chord", lambda query: {b"room": b"chord", b"q": query.method})
        answerer.serve(b"", lambda query: {b"room": b"dht", b"from": query.remote[0].encode()})
        assert await asker.call(B, b"chord.find", {}) == {b"room": b"chord", b"q": b"chord.find"}
        assert await asker.call(B, b"ping", {}) == {b"room": b"dht", b"from": b"198.18.0.1"}
        with pytest.raises(CallError) as refused:
            await asker.call(B, b"pastry.join", {})
        assert refused.value.code == 204
        answerer.stop_serving(b"")
        with pytest.raises(CallError):
            await asker.call(B, b"ping", {})
        assert asker.outstanding == 0

    asyncio.run(scene())


def test_a_handler_refuses_fails_answers_late_or_never() -> None:
    def refuse(query: Query) -> Arguments | None:
        if query.arguments[b"how"] == b"refuse":
            raise CallError("not here", 202)
        if query.arguments[b"how"] == b"wire":
            raise WireError("no key")
        if query.arguments[b"how"] == b"bug":
            raise KeyError("x")
        if query.arguments[b"how"] == b"late":
            asyncio.get_running_loop().call_later(0.01, servers[0].answer, query, {b"x": 1})
        return None

    servers: list[Krpc] = []

    async def scene() -> None:
        said: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        asker, answerer = pair(Wire())
        servers.append(answerer)
        answerer.serve(b"", refuse)
        for how, code in ((b"refuse", 202), (b"wire", 203)):
            with pytest.raises(CallError) as refused:
                await asker.call(B, b"x", {b"how": how})
            assert refused.value.code == code
        assert await asker.call(B, b"x", {b"how": b"late"}) == {b"x": 1}
        assert said == []
        with pytest.raises(NoAnswerError):
            await asker.call(B, b"x", {b"how": b"bug"}, timeout_s=0.05)
        assert len(said) == 1
        with pytest.raises(NoAnswerError):
            await asker.call(B, b"x", {b"how": b"never"}, timeout_s=0.05)

    asyncio.run(scene())


def test_unanswered_calls_end_in_time_each_by_its_own_limit() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        asker, _ = pair(Wire())
        began = loop.time()

        async def ends_after(timeout_s: float) -> float:
            with pytest.raises(NoAnswerError):
                await asker.call(C, b"ping", {}, timeout_s=timeout_s)
            return loop.time() - began

        first, second, third = await asyncio.gather(*map(ends_after, (0.3, 0.1, 0.2)))
        assert 0.1 <= second <= third <= first
        assert 0.3 <= first < 1.0
        assert asker.outstanding == 0

    asyncio.run(scene())


def test_a_lost_query_is_sent_again() -> None:
    async def scene() -> None:
        wire = Wire()
        asker, answerer = pair(wire)
        answerer.serve(b"", lambda query: {})
        wire.lose = lambda data: len(wire.sent) < 3
        assert await asker.call(B, b"ping", {}, timeout_s=0.07, attempts=3) == {}
        assert len([data for sender, _, data in wire.sent if sender == A]) == 3

    asyncio.run(scene())


def test_only_the_asked_address_may_answer_and_only_once() -> None:
    async def scene() -> None:
        wire = Wire()
        asker, _ = pair(wire)
        answer = asker.ask(C, b"ping", {}, 0.2)
        transaction = decode(wire.sent[0][2])[b"t"]
        assert len(transaction) == 4
        forged = encode_answer(transaction, {b"who": b"B"})
        asker.datagrams_received([(forged, B, 0), (forged, (C[0], 99), 0)])
        await asyncio.sleep(0)
        assert not answer.done()
        assert not asker.proven(B)
        right = encode_answer(transaction, {b"who": b"C"})
        asker.datagrams_received([(right, C, 0), (forged, C, 0)])
        assert await answer == {b"who": b"C"}
        assert asker.proven(C)
        assert asker.dropped["answer to no call"] == 3

    asyncio.run(scene())


def test_an_unproven_address_gets_at_most_three_times_what_it_sent() -> None:
    async def scene() -> None:
        wire = Wire()
        asker, answerer = pair(wire)
        answerer.serve(b"big", lambda query: {b"x": b"y" * 900})
        answerer.serve(b"room", lambda query: {b"x": b"y" * (query.room_bytes - 9)})
        asker.serve(b"", lambda query: {})
        with pytest.raises(CallError) as refused:
            await asker.call(B, b"big.x", {})
        assert refused.value.code == 203
        await asker.call(B, b"room.x", {b"padding": b"z" * 90})
        with pytest.raises(CallError):
            await asker.call(B, b"no.x", {})
        for (_, _, query), (_, _, answer) in zip(wire.sent[::2], wire.sent[1::2], strict=True):
            assert len(answer) <= 3 * len(query)
        await answerer.call(A, b"ping", {})
        assert len((await asker.call(B, b"big.x", {}))[b"x"]) == 900
        await asker.call(B, b"room.x", {})
        assert max(len(data) for _, _, data in wire.sent) <= MAX_SENT_BYTES

    asyncio.run(scene())


def test_nothing_larger_than_1200_bytes_is_sent() -> None:
    async def scene() -> None:
        wire = Wire()
        asker, answerer = pair(wire)
        with pytest.raises(ValueError, match="page it"):
            await asker.call(B, b"x.y", {b"x": b"y" * 1200})
        with pytest.raises(ValueError, match="page it"):
            asker.tell(B, b"x.y", {b"x": b"y" * 1200})
        assert asker.outstanding == 0
        asker.serve(b"", lambda query: {})
        answerer.serve(b"x", lambda query: {b"x": b"y" * 1200})
        await answerer.call(A, b"ping", {})
        with pytest.raises(CallError):
            await asker.call(B, b"x.y", {})
        assert max(len(data) for _, _, data in wire.sent) <= MAX_SENT_BYTES

    asyncio.run(scene())


def test_outstanding_calls_and_proven_addresses_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(krpc_module, "MAX_OUTSTANDING", 5)
    monkeypatch.setattr(krpc_module, "MAX_PROVEN", 2)

    async def scene() -> None:
        wire = Wire()
        asker, _ = pair(wire)
        waiting = [asker.ask(("198.18.1.1", port), b"ping", {}, 5) for port in range(1, 6)]
        with pytest.raises(NoAnswerError, match="wait for answers"):
            await asker.ask(C, b"ping", {}, 5)
        for port, (_, remote, query) in enumerate(list(wire.sent), 1):
            answer = encode_answer(decode(query)[b"t"], {})
            asker.datagrams_received([(answer, remote, 0)])
            assert await waiting[port - 1] == {}
        proven = [asker.proven(("198.18.1.1", port)) for port in range(1, 6)]
        assert proven == [False, False, False, True, True]

    asyncio.run(scene())


def test_rubbish_is_counted_and_a_read_only_node_answers_nothing() -> None:
    async def scene() -> None:
        wire = Wire()
        asker = Krpc(wire.host(), read_only=True)
        asker.use(wire.end(asker, A))
        asker.serve(b"", lambda query: {})
        asker.datagrams_received([(b"d1:xe", B, 0), (b"", B, 0), (PING, B, 0)])
        assert asker.dropped == {"no KRPC message": 2, "query to a read-only node": 1}
        assert wire.sent == []
        asker.tell(B, b"x.y", {})
        assert decode(wire.sent[0][2])[b"ro"] == 1

    asyncio.run(scene())


def test_a_call_that_calls_back_hears_its_end_once() -> None:
    async def scene() -> None:
        said: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        asker, answerer = pair(Wire())
        heard: list[tuple[object, object]] = []
        ended = asyncio.Event()

        def told(values: Arguments | None, error: Exception | None) -> None:
            heard.append((values, type(error)))
            if len(heard) == 4:
                ended.set()
            elif len(heard) == 1:
                asker.request(B, b"no.x", {}, told, 0.1)
            raise KeyError("our own mistake")

        answerer.serve(b"", lambda query: {b"x": 1})
        asker.request(C, b"ping", {}, told, 0.05)
        asker.request(C, b"ping", {}, told, 0.07)
        asker.request(B, b"ping", {}, told, 5.0)
        assert heard == []
        await asyncio.wait_for(ended.wait(), 5)
        assert heard[0] == ({b"x": 1}, type(None))
        assert heard[1] == (None, CallError)
        assert heard[2:] == [(None, NoAnswerError)] * 2
        assert len(said) == 4, "each mistake is said, and the others are told all the same"
        assert asker.outstanding == 0

    asyncio.run(scene())


def test_one_timer_wakes_for_calls_that_wait_still() -> None:
    """A thousand calls that are answered at once cost no wakings but the first one's."""

    async def scene() -> None:
        asker, answerer = pair(Wire())
        answerer.serve(b"", lambda query: {})
        wakings: list[int] = []
        tick = asker._tick
        asker._tick = lambda: (wakings.append(asker.outstanding), tick())[1]  # type: ignore
        for _ in range(200):
            await asker.call(B, b"ping", {}, timeout_s=0.1)
        with pytest.raises(NoAnswerError):
            await asker.call(C, b"ping", {}, timeout_s=0.3)
        assert len(wakings) <= 6
        assert asker._timer is None

    asyncio.run(scene())


def test_close_while_calls_end_tells_each_once_and_refuses_new_ones() -> None:
    async def scene() -> None:
        asker, _ = pair(Wire())
        heard: list[str] = []
        ended = asyncio.Event()

        def told(values: Arguments | None, error: Exception | None) -> None:
            heard.append(str(error))
            asker.close()
            with pytest.raises(NoAnswerError, match="closed"):
                asker.request(C, b"ping", {}, told)
            ended.set()

        for _ in range(3):
            asker.request(C, b"ping", {}, told, 0.01)
        await asyncio.wait_for(ended.wait(), 5)
        await asyncio.sleep(0)
        assert len(heard) == 3

    asyncio.run(scene())


def test_close_ends_every_call() -> None:
    async def scene() -> None:
        asker, _ = pair(Wire())
        answer = asker.ask(C, b"ping", {}, 100)
        asker.close()
        with pytest.raises(NoAnswerError):
            await answer

    asyncio.run(scene())
