"""`--interface`: connections leave from the chosen address, so that others know us by it."""

from __future__ import annotations

import asyncio

import pytest

from spinney.net.bound import BoundHost
from spinney.sim import World

NEAR, CHOSEN, FAR = "10.0.0.1", "10.0.0.2", "10.0.0.9"


@pytest.mark.parametrize(("chosen", "seen"), [((CHOSEN,), CHOSEN), (("0.0.0.0", "::"), NEAR)])
def test_the_other_side_sees_the_chosen_address(chosen: tuple[str, ...], seen: str) -> None:
    world = World(1)
    many = world.host("many", addresses=[NEAR, CHOSEN])
    far = world.host("far", addresses=[FAR])

    async def main() -> None:
        called: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        class Server(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                called.set_result(transport.get_extra_info("peername")[0])

        await far.listen(Server, (FAR, 80))
        await BoundHost(many, chosen).connect(asyncio.Protocol, (FAR, 80))
        assert await called == seen

    world.run(main())


def test_loopback_and_the_other_family_are_left_to_the_system() -> None:
    bound = BoundHost(World(1).host("one", addresses=[NEAR]), [CHOSEN])
    assert bound.leaves_from((FAR, 80)) == (CHOSEN, 0)
    assert bound.leaves_from(("127.0.0.1", 80)) is None
    assert bound.leaves_from(("2001:db8::1", 80)) is None
