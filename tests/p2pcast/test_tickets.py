"""Place tickets, and signed calls: what is believed, and the one error for what is not."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinney.errors import CallError, WireError
from spinney.p2pcast.place import SOURCE
from spinney.p2pcast.registry.messages import stream_of
from spinney.p2pcast.trust import ticket_codec as codec
from spinney.p2pcast.trust.identity import HashSigner, KeySigner, Signer
from spinney.p2pcast.trust.signing import (
    FORGED,
    LATE,
    NUMBERS_KEPT,
    REPLAYED,
    SIGNERS_KEPT,
    UNSIGNED,
    Counter,
    Heard,
    opened,
    seal,
)
from spinney.p2pcast.trust.tickets import LIFE_S, MOST_LEVELS, TICKET_FALSE, Chain, issue, judge
from spinney.trust.keys import Keys
from spinney.wire.krpc_messages import MAX_SENT_BYTES, Arguments, encode_query

NOW = 1_800_000_000.0
TAG = b"a stream"
AT = ("20.0.0.1", 6881)
ELSEWHERE = ("20.0.0.2", 6881)


def keys_of(name: str) -> Keys:
    return Keys(random.Random(name).randbytes(32))


STREAM = stream_of(keys_of("source").public)


def signer_of(name: str) -> KeySigner:
    return KeySigner(keys_of(name), STREAM)


def chain_of(*signers: Signer, child: Signer, tree: int = 0, now: float = NOW) -> Chain:
    """From the first signer down to the child."""
    chain: Chain = ()
    below = (*signers[1:], child)
    for signer, each in zip(signers, below, strict=True):
        chain = issue(signer, TAG, tree, chain, each.name, slot=0, version=1, now_unix_s=now)
    return chain


SOURCE_SIGNER, ROOT, PARENT, CHILD = map(signer_of, ("source", "root", "parent", "child"))
CHAIN = chain_of(SOURCE_SIGNER, ROOT, PARENT, child=CHILD)


def refused(chain: Chain, *, tree: int = 0, now: float = NOW, signer: Signer = CHILD) -> str:
    with pytest.raises(CallError) as error:
        judge(signer, TAG, tree, chain, CHILD.name, now)
    assert error.value.code == TICKET_FALSE
    return str(error.value)


# -- tickets --------------------------------------------------------------------------------------


def test_a_name_follows_from_the_key_and_the_sources_key_from_the_stream() -> None:
    assert SOURCE_SIGNER.name == SOURCE
    assert ROOT.name != PARENT.name
    assert 0 <= ROOT.name < 1 << 63


def test_a_chain_shows_who_is_above() -> None:
    assert judge(CHILD, TAG, 0, CHAIN, CHILD.name, NOW) == (SOURCE, ROOT.name, PARENT.name)


def test_an_island_has_no_chain() -> None:
    assert "source" in refused(chain_of(ROOT, PARENT, child=CHILD))


def test_a_ticket_is_its_childs_only() -> None:
    """Depth, slot, tree, child and time are all signed."""
    assert "forged" in refused(chain_of(SOURCE_SIGNER, ROOT, child=PARENT))
    assert "forged" in refused(CHAIN, tree=1)
    assert "forged" in refused((CHAIN[0], CHAIN[2]))  # a level left out: less deep than it is
    for changed in (
        replace(CHAIN[2], slot=1),
        replace(CHAIN[2], version=2),
        replace(CHAIN[2], not_after=CHAIN[2].not_after - 1),
        replace(CHAIN[2], signature=bytes(64)),
        replace(CHAIN[2], holder=CHAIN[1].holder),
    ):
        refused((*CHAIN[:2], changed))


def test_a_ticket_runs_out() -> None:
    judge(CHILD, TAG, 0, CHAIN, CHILD.name, NOW + LIFE_S)
    assert "run out" in refused(CHAIN, now=NOW + LIFE_S + 6)
    assert "future" in refused(CHAIN, now=NOW - 60)


def test_a_chain_is_no_ring_and_has_an_end() -> None:
    assert "ring" in refused(chain_of(SOURCE_SIGNER, ROOT, CHILD, PARENT, child=CHILD))
    assert "ring" in refused(chain_of(SOURCE_SIGNER, ROOT, PARENT, ROOT, child=CHILD))
    names = [HashSigner(number) for number in range(MOST_LEVELS + 1)]
    long = chain_of(HashSigner(SOURCE), *names, child=CHILD)
    assert "a chain of" in refused(long, signer=HashSigner(CHILD.name))
    assert "a chain of" in refused(())


# -- their bytes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [1, 3, 8, 9, 40])
def test_pages_fit_a_datagram_and_are_put_together_in_any_order(levels: int) -> None:
    signers = [SOURCE_SIGNER, *(signer_of(f"p{at}") for at in range(levels - 1))]
    chain = chain_of(*signers, child=CHILD)
    pages = codec.pack_chain(CHILD, 3, CHILD.name, chain)
    for page in pages:
        call = seal(PARENT, TAG, b"p2pcast.ticket", 1 << 50, page)
        assert len(encode_query(b"tttt", b"p2pcast.ticket", call)) <= MAX_SENT_BYTES
    kept = codec.Pages()
    random.Random(levels).shuffle(pages)
    whole = [kept.add(codec.read_page(CHILD, page)) for page in [pages[0], *pages]]
    assert [each for each in whole if each is not None][-1] == chain


def test_a_page_of_another_chain_begins_anew() -> None:
    signers = [SOURCE_SIGNER, *(signer_of(f"p{at}") for at in range(9))]
    old, new = (
        codec.pack_chain(CHILD, 0, CHILD.name, chain_of(*signers, child=CHILD, now=now))
        for now in (NOW, NOW + 1)
    )
    kept = codec.Pages()
    rows = [kept.add(codec.read_page(CHILD, page)) for page in (old[0], new[1], new[0])]
    assert rows[:2] == [None, None]
    assert rows[2] == chain_of(*signers, child=CHILD, now=NOW + 1)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_page_or_the_documented_error(data: bytes) -> None:
    for read in (lambda: codec.read_page(CHILD, data), lambda: codec.read_want(data)):
        try:
            read()
        except WireError:
            continue


# -- signed calls ---------------------------------------------------------------------------------


def call(number: int = int(NOW * 1_000), body: bytes = b"body") -> Arguments:
    return seal(PARENT, TAG, b"p2pcast.apply", number, body)


def hear(heard: Heard, said: Arguments, remote: tuple[str, int] = AT, *, later_s: float = 0) -> int:
    """0, or the code of the refusal."""
    now_ms = (NOW + later_s) * 1_000
    try:
        name, _ = opened(CHILD, heard, TAG, b"p2pcast.apply", said, remote, now_ms)
    except CallError as error:
        return error.code
    assert name == PARENT.name
    return 0


def test_who_signs_is_known_and_a_repeated_question_is_no_replay() -> None:
    heard = Heard()
    assert hear(heard, call()) == 0
    assert hear(heard, call()) == 0


def test_a_call_from_elsewhere_is_a_replay() -> None:
    heard = Heard()
    assert hear(heard, call()) == 0
    assert hear(heard, call(), ELSEWHERE) == REPLAYED


def test_a_late_call_is_refused() -> None:
    assert hear(Heard(), call(), later_s=29) == 0
    assert hear(Heard(), call(), later_s=31) == LATE


def test_numbers_that_are_forgotten_are_not_believed_again() -> None:
    heard, first = Heard(), int(NOW * 1_000)
    for number in range(NUMBERS_KEPT + 1):
        assert hear(heard, call(first + number)) == 0
    assert hear(heard, call(first), ELSEWHERE) == LATE


@pytest.mark.parametrize("key", [b"b", b"k", b"n", b"z"])
def test_nothing_of_a_call_can_be_changed(key: bytes) -> None:
    said, other = call(), seal(ROOT, TAG, b"p2pcast.apply", int(NOW * 1_000) + 1, b"else")
    assert hear(Heard(), {**said, key: other[key]}) == FORGED


def test_an_unsigned_call_is_told_so_and_rubbish_is_rubbish() -> None:
    assert hear(Heard(), {b"b": b"body", b"s": TAG}) == UNSIGNED
    for key, value in ((b"k", b"short"), (b"z", b""), (b"n", -1), (b"n", 1 << 60), (b"b", 7)):
        with pytest.raises(WireError):
            hear(Heard(), {**call(), key: value})


def test_a_forged_call_uses_up_no_number() -> None:
    heard = Heard()
    assert hear(heard, {**call(), b"z": bytes(64)}, ELSEWHERE) == FORGED
    assert hear(heard, call()) == 0


def test_what_is_remembered_is_bounded() -> None:
    heard = Heard()
    for name in range(SIGNERS_KEPT + 10):
        heard.note(name, 1, AT)
    assert len(heard) == SIGNERS_KEPT


def test_numbers_rise_even_if_the_clock_steps_back() -> None:
    now = [5.0]
    counter = Counter(lambda: now[0])
    first = counter.next()
    now[0] = 3.0
    assert counter.next() > first
