"""Who has others dialled says so in its own name, from where it was seen, and not too often."""

from __future__ import annotations

import asyncio

import pytest
from tests.p2pcast.strangers import Stranger, stands
from tests.p2pcast.viewers import Audience, play

from spinney.errors import CallError
from spinney.p2pcast import codec
from spinney.p2pcast import messages as m
from spinney.p2pcast.place import SOURCE
from spinney.p2pcast.reaching import DIALS_A_MINUTE, MOST_DIALLERS, Dials
from spinney.p2pcast.trust.signing import (
    NOT_YOURS,
    TOO_OFTEN,
    UNSIGNED,
)


@pytest.mark.parametrize("seed", [1, 2])
def test_who_has_others_dialled_is_known_to_be_there_and_does_not_do_it_without_end(
    seed: int,
) -> None:
    """`dial` makes the source and a third peer send something: not to where somebody else says."""

    async def story(audience: Audience) -> None:
        await stands(audience, 6)
        stranger, names = Stranger(audience), sorted(audience.viewers)
        victim, member = audience.viewers[names[0]].node, audience.viewers[names[1]]
        heard: list[bytes] = []
        asked_to_dial = victim.station.reaching.asked_to_dial
        victim.station.reaching.asked_to_dial = (  # type: ignore[method-assign]
            lambda body: heard.append(body) or asked_to_dial(body)  # type: ignore[func-returns-value, arg-type]
        )
        body = codec.pack_delete(m.Delete(stranger.signer.name, victim.name))
        in_anothers = codec.pack_delete(m.Delete(member.node.name, victim.name))
        wanted = codec.pack_joined(m.Joined(4, 1, 0, (5,), {5: ("20.9.9.9", 9)}))
        dial, dialled = b"p2pcast.dial", b"p2pcast.dialled"
        hello = codec.pack_delete(m.Delete(member.node.name, victim.name))
        codes = await stranger.say(
            [
                (SOURCE, dial, {b"b": body, b"s": stranger.tag}),
                (SOURCE, dial, stranger.signed(dial, body)),
                (SOURCE, dial, stranger.signed(dial, in_anothers)),
                (victim.name, dialled, {b"b": wanted, b"s": stranger.tag}),
                (victim.name, dialled, stranger.signed(dialled, wanted)),
                (victim.name, b"p2pcast.hello", {b"b": hello, b"s": stranger.tag}),
                (victim.name, b"p2pcast.hello", stranger.signed(b"p2pcast.hello", hello)),
                (SOURCE, b"p2pcast.delete", {b"b": hello, b"s": stranger.tag}),
                (SOURCE, b"p2pcast.heirs", {b"b": hello, b"s": stranger.tag}),
            ]
        )
        refused = [UNSIGNED, *[NOT_YOURS] * 2, *[UNSIGNED, NOT_YOURS] * 2, UNSIGNED, UNSIGNED]
        assert codes == refused
        assert not heard
        good = codec.pack_delete(m.Delete(member.node.name, victim.name))
        for _ in range(DIALS_A_MINUTE + 20):
            member.node.station.tell(SOURCE, dial, good)
        await asyncio.sleep(2.0)
        assert 0 < len(heard) <= DIALS_A_MINUTE

    play(story, seed)


def test_dials_are_counted_by_address_in_bounded_memory() -> None:
    dials = Dials()
    for _ in range(DIALS_A_MINUTE):
        dials.count("20.0.0.1", 5.0)
    dials.count("20.0.0.2", 5.0)
    with pytest.raises(CallError) as error:
        dials.count("20.0.0.1", 6.0)
    assert error.value.code == TOO_OFTEN
    dials.count("20.0.0.1", 65.0)
    for at in range(MOST_DIALLERS - 1):
        dials.count(f"a{at}", 66.0)
    with pytest.raises(CallError):
        dials.count("one more", 67.0)
    dials.count("20.0.0.1", 67.0)
