"""The registry on this machine: by its library face, and as the command `spinney registry`."""

from __future__ import annotations

import asyncio
import signal
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.p2pcast.registries import REGISTRY, SOURCE, STREAM, OnHost, place_of

from cli.processes import Running, here
from spinney.errors import NoAnswerError, PortTakenError, StorageError
from spinney.net.live import LiveHost
from spinney.p2pcast.registry.contacts import ContactsSettings
from spinney.p2pcast.registry.link import RegistryPlace, parse_place
from spinney.p2pcast.registry.node import RegistryNode
from spinney.p2pcast.registry.settings import RegistrySettings

LOOPBACK = RegistrySettings(port=0, addresses=("127.0.0.1",), alive_timeout_s=0.2)
QUICK = ContactsSettings(timeout_s=0.1, attempts=1, rounds=1)


def live(scenario: Callable[[LiveHost], Awaitable[None]]) -> None:
    async def main() -> None:
        host = LiveHost(seed=1)
        try:
            await scenario(host)
        finally:
            host.close()

    asyncio.run(main())


async def peer_at(host: LiveHost, name: str, place: RegistryPlace) -> OnHost:
    keys = SOURCE if name == "source" else None
    return await OnHost(host, name, [place], keys=keys).open("127.0.0.1")


def test_peers_of_one_machine_meet_and_the_dead_one_is_deleted() -> None:
    async def scenario(host: LiveHost) -> None:
        node = RegistryNode(host, LOOPBACK, REGISTRY)
        await node.start()
        place = place_of(node, "127.0.0.1")
        peers = [await peer_at(host, name, place) for name in ("source", "a", "b", "c", "d")]
        for peer in peers:
            await peer.join()
        source, a, b, c, d = peers
        told = (await a.join()).contacts
        assert {one.peer for one in told} == {p.keys.peer for p in (source, b, c, d)}
        assert {one.address for one in told if one.peer == b.keys.peer} == {
            b.datagrams.local_address  # type: ignore[union-attr]
        }
        await a.contacts.delete(STREAM, c.keys.peer, 0)
        async with asyncio.timeout(20):
            while not node.desk.counts["false accusations"]:
                await asyncio.sleep(0.01)
        d.close()
        await a.contacts.delete(STREAM, d.keys.peer, 0)
        await b.contacts.delete(STREAM, d.keys.peer, 1)
        async with asyncio.timeout(20):
            while node.desk.registry.member(STREAM, d.keys.peer) is not None:
                await asyncio.sleep(0.01)
        assert node.desk.registry.member(STREAM, c.keys.peer) is not None
        await b.contacts.leave(STREAM)
        assert {one.peer for one in (await a.join()).contacts} == {source.keys.peer, c.keys.peer}
        for peer in peers[:4]:
            peer.close()
        await node.close()

    live(scenario)


def test_a_registry_that_is_gone_is_one_error() -> None:
    async def scenario(host: LiveHost) -> None:
        node = RegistryNode(host, LOOPBACK, REGISTRY)
        await node.start()
        place = place_of(node, "127.0.0.1")
        await node.close()
        peer = await OnHost(host, "a", [place], settings=QUICK).open("127.0.0.1")
        with pytest.raises(NoAnswerError, match="no registry of this stream answers"):
            await peer.join()
        peer.close()

    live(scenario)


def test_ports_and_folders_that_cannot_be_had(tmp_path: Path) -> None:
    async def scenario(host: LiveHost) -> None:
        settings = RegistrySettings(
            port=0, addresses=("127.0.0.1",), state_folder=str(tmp_path / "state")
        )
        node = RegistryNode(host, settings, REGISTRY)
        await node.start()
        taken = RegistrySettings(port=node.port, addresses=("127.0.0.1",))
        with pytest.raises(PortTakenError):
            await RegistryNode(host, taken, REGISTRY).start()
        with pytest.raises(StorageError, match="another registry"):
            await RegistryNode(host, settings, REGISTRY).start()
        await node.close()
        (tmp_path / "state" / "registry.state").write_bytes(b"a film")
        with pytest.raises(StorageError, match="no registry's state"):
            await RegistryNode(host, settings, REGISTRY).start()
        assert (tmp_path / "state" / "registry.state").read_bytes() == b"a film"

    live(scenario)


# The command

LO = ("registry", "--interface", "127.0.0.1", "--port", "0")


def joined_from(place: RegistryPlace, names: list[str]) -> list[set[bytes]]:
    """Whom these peers are told of, each joining after the other from a port of its own."""
    rows: list[set[bytes]] = []

    async def scenario(host: LiveHost) -> None:
        for name in names:
            peer = await peer_at(host, name, place)
            rows.append({one.peer for one in (await peer.join()).contacts})
            peer.close()

    live(scenario)
    return rows


def test_the_command_serves_keeps_its_key_and_state_and_ends_with_0(tmp_path: Path) -> None:
    with Running(*LO, "--state", "state", cwd=tmp_path) as registry:
        ready = registry.until("ready")
        place = parse_place(ready["registry"])
        assert place.address == (ready["address"], ready["port"])
        assert place.key is not None
        assert ready["key"] == place.key.hex()
        assert len(joined_from(place, ["source", "a", "b"])[2]) == 2
        assert registry.stop(signal.SIGINT) == 0
    key = tmp_path / "state" / "registry.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with Running(*LO, "--state", "state", cwd=tmp_path) as registry:
        again = parse_place(registry.until("ready")["registry"])
        assert again.key == place.key
        assert len(joined_from(again, ["c"])[0]) == 3, "it remembers them"
        registry.child.kill()
        registry.child.wait(20)
    with Running(*LO, "--state", "state", cwd=tmp_path) as registry:
        registry.until("ready")
        assert registry.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--state", "file"), 1, "--state"),
        (("--state", "film"), 1, "no registry's state"),
        (("--stream", "abc"), 2, "64 hexadecimal digits"),
        (("--per-network", "-1"), 2, "--per-network"),
        (("--port", "70000"), 2, "--port"),
        (("--interface", "nowhere0"), 2, "nowhere0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_is_told_in_a_sentence(
    words: tuple[str, ...], code: int, told: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "film").mkdir()
    (tmp_path / "film" / "registry.state").write_text("not a state")
    done = here(*LO, *words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_told_with_the_option_that_chooses_another() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        done = here(*LO[:-1], str(other.getsockname()[1]))
    assert done.returncode == 1
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stream_of_its_own_choice_is_served_and_no_other(tmp_path: Path) -> None:
    with Running(*LO, "--stream", STREAM.hex(), cwd=tmp_path) as registry:
        place = parse_place(registry.until("ready")["registry"])
        assert joined_from(place, ["a", "b"])[1], "its source need not have come"
