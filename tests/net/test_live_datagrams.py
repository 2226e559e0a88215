"""What only the real side has: buffers, merging, offload and its refusal, DSCP, hosts' routes."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from contract.live_machines import IsolatedMachines
from contract.machines import Ear, closing
from needs import require_root
from spinney.errors import NetworkError, PortTakenError
from spinney.net.host import DatagramOptions
from spinney.net.live import LiveHost
from spinney.net.live.datagram_socket import KNOWN_TARGETS, SAFE_PAYLOAD_BYTES
from spinney.net.live.datagrams import BATCH, DrainedDatagrams

HERE = ("127.0.0.1", 0)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="not on this system: Linux's own")


async def opened(host: LiveHost, ear: Ear, **options: Any) -> DrainedDatagrams:
    made = await host.open_datagrams(ear, HERE, DatagramOptions(**options))
    assert isinstance(made, DrainedDatagrams)
    return made


@pytest.fixture
def host() -> Any:
    made = LiveHost("live")
    yield made
    made.close()


def test_the_buffers_are_as_large_as_the_system_gives(host: LiveHost) -> None:
    async def check() -> None:
        with closing(one := await opened(host, Ear())):
            given = one._sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            most = Path("/proc/sys/net/core/rmem_max")
            limit = int(most.read_text()) if most.exists() else 0
            assert given >= min(4 << 20, 2 * limit)

    asyncio.run(check())


def test_a_burst_of_strangers_is_kept_while_the_loop_is_busy(host: LiveHost) -> None:
    async def check() -> None:
        ear = Ear()
        one, other = await opened(host, ear), await opened(host, Ear())
        with closing(one, other):
            count = 1_000  # the default buffer keeps 276 of these
            for n in range(count):
                other.send(n.to_bytes(2, "big"), one.local_address)
            await ear.until(count)
            assert ear.payloads == [n.to_bytes(2, "big") for n in range(count)]
            assert max(len(batch) for batch in ear.batches) == BATCH

    asyncio.run(check())


@linux_only
def test_equal_segments_arrive_merged(host: LiveHost) -> None:
    async def check() -> None:
        ear = Ear()
        one, other = await opened(host, ear, bursts=True), await opened(host, Ear())
        with closing(one, other):
            assert other.send_burst([b"x" * 46_000, b"y" * 500], 1_000, one.local_address) == 47
            await ear.until(47)
            assert ear.bursts >= 1
            assert [len(row) for row in ear.payloads] == [1_000] * 46 + [500]
            assert ear.payloads[-1] == b"y" * 500

    asyncio.run(check())


class Refusing:
    """Stands for `sendmsg` of a system that refuses, and counts."""

    def __init__(self, code: int) -> None:
        self.code, self.calls = code, 0

    def __call__(self, *_: object) -> int:
        self.calls += 1
        raise OSError(self.code, "refused")


@linux_only
@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.ENOPROTOOPT])
def test_where_offload_is_refused_a_plain_loop_sends_and_remembers(
    host: LiveHost, code: int
) -> None:
    async def check() -> None:
        ear, own = Ear(), Ear()
        one, other = await opened(host, ear), await opened(host, own)
        with closing(one, other):
            refusing = Refusing(code)
            other._sock.sendmsg = refusing  # type: ignore[method-assign]
            for _ in range(3):
                assert other.send_burst([b"ab", b"cde"], 2, one.local_address) == 3
            assert refusing.calls == 1
            assert await ear.until(9) == [b"ab", b"cd", b"e"] * 3
            assert own.errors == []

    asyncio.run(check())


@linux_only
def test_a_segment_over_the_mtu_is_fragmented_and_offload_stays_on(tmp_path: Path) -> None:
    require_root()
    machines = IsolatedMachines(tmp_path)

    async def check() -> None:
        ear = Ear()
        one = await machines.b.open_datagrams(ear, (machines.four[1], 0))
        other = await machines.a.open_datagrams(Ear(), (machines.four[0], 0))
        assert isinstance(other, DrainedDatagrams)
        with closing(one, other):
            refusing = Refusing(errno.EMSGSIZE)
            real = other._sock.sendmsg
            other._sock.sendmsg = refusing  # type: ignore[method-assign]
            assert other.send_burst([b"z" * 6_000], 2_000, one.local_address) == 3
            other._sock.sendmsg = real  # type: ignore[method-assign]
            assert other.send_burst([b"z" * 6_000], 2_000, one.local_address) == 3
            assert [len(row) for row in await ear.until(6)] == [2_000] * 6
            assert other._offload

    machines.run(check())
    machines.close()


@linux_only
@pytest.mark.parametrize("family", [4, 6])
def test_the_way_out_decides_the_path_mtu(tmp_path: Path, family: int) -> None:
    require_root()
    machines = IsolatedMachines(tmp_path)

    async def check() -> None:
        near = machines.addresses(family)[0]
        neighbour = "10.77.0.99" if family == 4 else "fd77::99"
        headers = 28 if family == 4 else 48
        options = DatagramOptions(multicast_interface="spin0")
        one = await machines.a.open_datagrams(Ear(), (near, 0), options)
        with closing(one):
            assert one.path_mtu((neighbour, 1)) == 1_500 - headers
            assert one.path_mtu((machines.group(family), 1)) == 1_500 - headers
            assert one.path_mtu(("8.8.8.8" if family == 4 else "2001:4860::8888", 1)) == (
                SAFE_PAYLOAD_BYTES  # no route: what every link carries
            )

    machines.run(check())
    machines.close()


@linux_only
def test_a_full_system_queue_is_a_drop_and_no_error(host: LiveHost) -> None:
    async def check() -> None:
        ear = Ear()
        with closing(one := await opened(host, ear)):

            def full(*_: object) -> int:
                raise OSError(errno.ENOBUFS, "No buffer space available")

            one._sendto = full
            one.send(b"x", one.local_address)
            assert one.dropped == 1
            assert one.send_many([(b"x", one.local_address)] * 3) == 0
            await asyncio.sleep(0)
            assert ear.errors == []

    asyncio.run(check())


@linux_only
def test_one_group_too_many_says_what_to_do(host: LiveHost) -> None:
    limit = int(Path("/proc/sys/net/ipv4/igmp_max_memberships").read_text())

    async def check() -> None:
        with closing(one := await opened(host, Ear())):
            one.join("239.195.1.0", "lo")
            with pytest.raises(NetworkError, match="joined it already"):
                one.join("239.195.1.0", "lo")
            with pytest.raises(NetworkError, match="has not joined it"):
                one.leave("239.195.9.9", "lo")
            for n in range(1, limit):
                one.join(f"239.195.1.{n}", "lo")
            with pytest.raises(NetworkError, match="igmp_max_memberships"):
                one.join("239.195.2.1", "lo")

    if limit > 200:
        pytest.skip("not on this system: a small limit on groups")
    asyncio.run(check())


@linux_only
def test_dscp_is_on_the_wire(host: LiveHost) -> None:
    async def check() -> None:
        raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        raw.bind(HERE)
        raw.setsockopt(socket.IPPROTO_IP, 13, 1)  # IP_RECVTOS
        raw.settimeout(5)
        with raw, closing(one := await opened(host, Ear(), dscp=8)):
            one.send(b"x", raw.getsockname())
            _, control, _, _ = raw.recvmsg(10, 100)
            assert [value[0] for _, _, value in control] == [8 << 2]

    asyncio.run(check())


def test_errors_are_told_one_a_turn(host: LiveHost) -> None:
    async def check() -> None:
        ear = Ear()
        with closing(one := await opened(host, ear)):
            for _ in range(1_000):
                one.send(b"x", ("nonsense", 1))
            assert ear.errors == []
            await asyncio.sleep(0)
            assert len(ear.errors) == 1
            assert "nonsense" in str(ear.errors[0])
            one.send(b"x", ("nonsense", 1))
            one.close()
            await asyncio.sleep(0)
            assert len(ear.errors) == 1

    asyncio.run(check())


def test_the_memory_of_targets_is_bounded(host: LiveHost) -> None:
    async def check() -> None:
        ear = Ear()
        one, other = await opened(host, ear), await opened(host, Ear())
        with closing(one, other):
            for n in range(2 * KNOWN_TARGETS):
                other._target((f"127.1.{n >> 8}.{n & 255}", 9))
            assert len(other._targets) <= KNOWN_TARGETS
            other.send(b"still", one.local_address)
            assert await ear.until(1) == [b"still"]

    asyncio.run(check())


def test_several_sockets_share_a_port_only_when_asked(host: LiveHost) -> None:
    async def check() -> None:
        one = await opened(host, Ear(), reuse_port=True)
        other = await host.open_datagrams(
            Ear(), one.local_address, DatagramOptions(reuse_port=True)
        )
        with closing(one, other), pytest.raises(PortTakenError, match="udp port"):
            await host.open_datagrams(Ear(), one.local_address)

    asyncio.run(check())
