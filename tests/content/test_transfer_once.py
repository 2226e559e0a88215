"""A piece that is whole is not begun again: written after its file was named, it would take the
file's name away, and what is done would be removed with what was never wanted."""

from __future__ import annotations

from pathlib import Path

from content.moving import Content, InlineHost, Script, everything, in_memory, settle
from spinney.content.store import FolderStore
from spinney.content.transfer import Transfer
from spinney.net.live.host import LiveHost

KIB = 1024


async def test_the_endgame_begins_no_piece_that_waits_for_its_hash() -> None:
    """The group promised it and a peer brought it: it is in a worker's hands, its lease stands."""
    content = Content([128 * KIB], 64 * KIB)
    transfer = await in_memory(content)
    group = transfer.attach(Script("group", "multicast"))
    peer = transfer.attach(Script("peer"))
    peer.saw_bitfield(everything(content))
    assert group.lease([0, 1], 20.0) == [0, 1]
    group.deliver(0, content.space[: 64 * KIB])
    assert isinstance(transfer.host, InlineHost)
    transfer.host.gate.clear()
    assert transfer.intake.holds(0)
    assert transfer.leases.holder(0) is group
    assert {row[0] for row in peer.request(1 << 20)} == {1}
    transfer.host.gate.set()
    await settle(transfer)
    assert peer.request(1 << 20) == []


async def test_a_file_that_got_its_name_keeps_it(tmp_path: Path) -> None:
    """Whatever is written afterwards."""
    content = Content([100_000], 16 * KIB)
    host = LiveHost(seed=3)
    store = FolderStore(host.storage, content.descriptor, str(tmp_path))
    transfer = Transfer(host, content.descriptor, store)
    await transfer.start()
    feed = transfer.attach(Script())
    feed.saw_bitfield(everything(content))
    feed.deliver(0, content.space)
    await settle(transfer)
    assert transfer.complete
    store.write(0, memoryview(content.space)[: 16 * KIB])
    await transfer.close()
    host.close()
    assert (tmp_path / "wood").read_bytes() == content.space
    assert [each.name for each in tmp_path.iterdir()] == ["wood"]
