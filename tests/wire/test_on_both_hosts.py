"""KRPC and HTTP where they are used: on simulated machines, on real ones, and over TLS."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.certificates import SERVER_NAME, contexts

from spinney.errors import NetworkError, NoAnswerError
from spinney.net.host import Address, Host
from spinney.net.live.host import LiveHost
from spinney.sim import Link, Uniform, World
from spinney.wire.http import HttpRequest, HttpResponse, get, serve, split_url, unguarded
from spinney.wire.krpc import Krpc


async def calls(one: Host, other: Host, at: str, here: str) -> tuple[int, int]:
    """(calls answered, calls given up) of a hundred, each tried four times."""
    asker, answerer = Krpc(one), Krpc(other)
    asking = await one.open_datagrams(asker, (here, 0))
    answering = await other.open_datagrams(answerer, (at, 0))
    asker.use(asking)
    answerer.use(answering)
    answerer.serve(b"add", lambda query: {b"sum": query.arguments[b"a"] + query.arguments[b"b"]})
    answered = lost = 0
    for number in range(100):
        try:
            values = await asker.call(
                (at, answering.local_address[1]),
                b"add.two",
                {b"a": number, b"b": 1},
                timeout_s=0.5,
                attempts=4,
            )
        except NoAnswerError:
            lost += 1
        else:
            assert values == {b"sum": number + 1}
            answered += 1
    for krpc, datagrams in ((asker, asking), (answerer, answering)):
        krpc.close()
        datagrams.close()
    return answered, lost


def lossy(seed: int) -> World:
    return World(seed=seed, link=Link(latency=Uniform(0.01, 0.05), loss=0.1))


def address(host: Host) -> str:
    return next(
        text
        for interface in host.interfaces()
        if not interface.loopback
        for text, _ in interface.addresses
        if ":" not in text
    )


def test_calls_survive_loss_in_the_simulated_world() -> None:
    def run() -> tuple[tuple[int, int], str]:
        with lossy(5) as world:
            one, other = world.host("one"), world.host("other")
            result = world.run(calls(one, other, address(other), address(one)))
            return result, world.digest()

    (answered, lost), digest = run()
    assert answered + lost == 100
    assert answered > 90
    assert run() == ((answered, lost), digest)


def test_calls_on_the_real_machine() -> None:
    assert asyncio.run(calls(LiveHost(), LiveHost(), "127.0.0.1", "127.0.0.1")) == (100, 0)


def test_http_in_the_simulated_world() -> None:
    async def scene(one: Host, other: Host) -> None:
        body = bytes(100_000)
        at = address(other)

        async def handler(request: HttpRequest) -> HttpResponse:
            await asyncio.sleep(3 if request.path == "/slow" else 0)
            return HttpResponse(body=body)

        server = await serve(other, (at, 6969), handler)
        url = f"http://{at}:6969/"
        assert (await get(one, url, check=unguarded(one))).body == body
        with pytest.raises(NoAnswerError):
            await get(one, url + "slow", check=unguarded(one), timeout_s=2)
        server.close()
        with pytest.raises(NetworkError):
            await get(one, url, check=unguarded(one), timeout_s=2)

    with World(seed=6, link=Link(latency=Uniform(0.01, 0.05))) as world:
        one, other = world.host("one"), world.host("other")
        world.run(scene(one, other))


def test_https_checks_certificates_and_names() -> None:
    async def scene() -> None:
        server_tls, trusting, strange = contexts()
        host = LiveHost()
        server = await serve(
            host, ("127.0.0.1", 0), lambda request: HttpResponse(body=b"safe"), tls=server_tls
        )

        async def check(url: str, sender: Address | None) -> tuple[object, list[Address]]:
            return split_url(url), [("127.0.0.1", server.port)]

        url = f"https://{SERVER_NAME}:{server.port}/"
        wrong_name = f"https://other.test:{server.port}/"
        assert (await get(host, url, check=check, tls=trusting)).body == b"safe"  # type: ignore[arg-type]
        for bad_url, context in ((wrong_name, trusting), (url, strange), (url, None)):
            with pytest.raises(NetworkError):
                await get(host, bad_url, check=check, tls=context, timeout_s=5)  # type: ignore[arg-type]
        server.close()

    asyncio.run(scene())
