"""The same over real sockets: loop-back multicast (TTL 0, it never leaves this machine), with the
system's bursts and without."""

from __future__ import annotations

import asyncio
import random

import pytest
from tests.mcftp.stage import Stage, complete, counted, sender_stream

from content.moving import Content
from spinney.net.live.host import LiveHost

MIB = 1 << 20


@pytest.mark.parametrize("plain", [False, True])
def test_three_hosts_of_this_machine(plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if plain:
        monkeypatch.setenv("SPINNEY_PLAIN_IO", "1")
    asyncio.run(_three_hosts())


async def _three_hosts() -> None:
    group = f"ip4:239.255.{random.randrange(1, 250)}.{random.randrange(1, 250)}:6790"
    content = Content([4 * MIB + 777], MIB)
    stage = Stage(content, hops=0)
    hosts = [LiveHost(f"live{number}") for number in range(3)]
    stream = sender_stream(stage.layout, 10_000_000, address=group.encode())
    everyone = [await stage.receiving(host, stream) for host in hosts[1:]]
    sending = await stage.sending(hosts[0], stream)
    try:
        await asyncio.gather(*(complete(each, 30) for each in everyone))
        assert sending.sent_bytes < 1.5 * len(content.space)
        for each in everyone:
            assert counted(each).useful == len(content.space)
            assert counted(each).bad == 0
    finally:
        await sending.close()
        for each in everyone:
            await each.close()
            await each.transfer.close()  # type: ignore[attr-defined]
        for host in hosts:
            host.close()
