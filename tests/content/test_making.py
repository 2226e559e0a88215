"""Making descriptors: what is read, what is refused; then held against other makers' tools."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from needs import require_module, require_program
from spinney.content import making
from spinney.content.descriptor import Descriptor
from spinney.content.making import Made, Version, make_descriptor, piece_length_for
from spinney.content.rules import MAX_PIECES, MAX_TORRENT_BYTES
from spinney.errors import (
    ChangedFileError,
    DescriptorError,
    NotFoundError,
    UnsafeNameError,
    UsageError,
)
from spinney.net.live.host import LiveHost
from spinney.wire.bencode import decode

VERSIONS: list[Version] = ["v1", "v2", "hybrid"]


def make(path: Path | str, **options: object) -> Made:
    async def scene() -> Made:
        async with asyncio.timeout(60):
            return await make_descriptor(LiveHost(), str(path), **options)  # type: ignore[arg-type]

    return asyncio.run(scene())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files around every edge of blocks and pieces of 32 KiB, in folders that sort oddly."""
    rng = random.Random(3)
    sizes = {
        "a/deep/one": 1,
        "a-b/two": 16_384,
        "a.txt": 32_768,
        "B": 32_769,
        "ab/empty": 0,
        "z/ä ö.bin": 300_001,
        "z/zz/z": 65_536,
        "zz-last-empty": 0,
    }
    for name, size in sizes.items():
        path = tmp_path / "content" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(size))
    return tmp_path / "content"


def piece_of(made: Made, piece: int) -> bytearray:
    """The bytes of a piece, read from where `made` says that its files lie."""
    descriptor = made.descriptor
    begin = piece * descriptor.piece_length
    data = bytearray(descriptor.piece_bytes(piece))
    for entry, path in zip(descriptor.files, made.paths, strict=True):
        start = max(begin, entry.offset)
        stop = min(begin + len(data), entry.offset + entry.length)
        if start < stop:
            content = Path(path).read_bytes()[start - entry.offset : stop - entry.offset]
            data[start - begin : stop - begin] = content
    return data


@pytest.mark.parametrize("version", VERSIONS)
def test_every_piece_of_what_was_made_checks(folder: Path, version: Version) -> None:
    made = make(folder, version=version, piece_length=32_768)
    descriptor = Descriptor.parse(made.descriptor.encode())
    assert descriptor == made.descriptor
    assert (descriptor.infohash_v1 is not None) == (version != "v2")
    assert (descriptor.infohash_v2 is not None) == (version != "v1")
    assert descriptor.total_bytes == sum(
        path.stat().st_size for path in folder.rglob("*") if path.is_file()
    )
    assert [Path(path).relative_to(folder.parent).parts for path in made.paths] == [
        entry.path for entry in descriptor.files
    ]
    for piece in range(descriptor.piece_count):
        data = piece_of(made, piece)
        assert descriptor.check_piece(piece, data)
        data[-1] ^= 1
        assert not descriptor.check_piece(piece, data)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_single_file_with_its_sha256_in_the_same_pass(tmp_path: Path, version: Version) -> None:
    content = random.Random(4).randbytes(9_000_001)
    (tmp_path / "file.bin").write_bytes(content)
    seen: list[tuple[int, int]] = []
    made = make(
        tmp_path / "file.bin",
        version=version,
        progress=lambda done, all_: seen.append((done, all_)),
    )
    assert made.sha256 == hashlib.sha256(content).hexdigest()
    assert made.descriptor.single_file
    assert made.descriptor.files[0].path == ("file.bin",)
    assert all(made.descriptor.check_piece(piece, piece_of(made, piece)) for piece in range(5))
    assert seen == sorted(seen)
    assert seen[-1] == (len(content), len(content))


def test_what_stands_beside_the_info(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    made = make(
        tmp_path / "x",
        name="y",
        private=True,
        trackers=[["http://a/", "http://b/"], ["udp://c:1/"]],
        web_seeds=["http://d/"],
        nodes=[("router.example", 6881)],
        comment="ä",
        created_by="us",
        creation_date=1,
    )
    read = Descriptor.parse(made.descriptor.encode())
    assert read.trackers == (("http://a/", "http://b/"), ("udp://c:1/",))
    assert (read.name, read.private, read.web_seeds) == ("y", True, ("http://d/",))
    assert (read.nodes, read.comment) == ((("router.example", 6881),), "ä")
    assert (read.created_by, read.creation_date) == ("us", 1)


def test_piece_lengths_grow_with_the_size_and_fit_a_torrent() -> None:
    mib = 1 << 20
    for total, length in (
        (1, 16_384),
        (mib, 16_384),
        (mib + 1, 65_536),
        (64 * mib, 65_536),
        (64 * mib + 1, 131_072),
        (1024 * mib, mib),
        (16 * 1024 * mib, 16 * mib),
        (2 * mib * mib, 16 * mib),
    ):
        assert piece_length_for(total) == length
    for exponent in range(44):
        pieces = (1 << exponent) / piece_length_for(1 << exponent)
        assert pieces * 52 < MAX_TORRENT_BYTES
        assert pieces < MAX_PIECES


def test_what_cannot_be_shared(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(NotFoundError):
        make(tmp_path / "nothing")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "hollow" / "folder").mkdir(parents=True)
    for nothing in ("empty", "hollow"):
        with pytest.raises(UsageError, match="no bytes"):
            make(tmp_path / nothing)
    for length in (1, 1000, 8192, 3 * 16_384, 1 << 28):
        with pytest.raises(UsageError, match="power of two"):
            make(folder, piece_length=length)
    with pytest.raises(UsageError, match="no name"):
        make(str(folder) + "/.")
    os.mkfifo(folder / "pipe")
    with pytest.raises(UsageError, match="no file or folder"):
        make(folder)
    (folder / "pipe").unlink()
    (folder / "link").symlink_to(folder / "B")
    with pytest.raises(UsageError, match="symbolic link"):
        make(folder)
    (folder / "link").unlink()
    (folder / "back\\slash").write_bytes(b"x")
    with pytest.raises(UnsafeNameError) as unsafe:
        make(folder)
    assert unsafe.value.rule == "name-separator"


def test_the_path_itself_may_be_a_link(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert make(tmp_path / "link", name="content").descriptor == make(folder).descriptor


def test_names_that_descriptors_change_are_still_found(folder: Path) -> None:
    (folder / "what?.txt").write_bytes(b"why")
    made = make(folder)
    (number,) = (at for at, path in enumerate(made.paths) if path.endswith("what?.txt"))
    assert made.descriptor.files[number].path == ("content", "what_.txt")


@pytest.mark.parametrize("how", ["touched", "cut", "gone"])
def test_a_file_that_changes_meanwhile(
    folder: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "UNIT_BYTES", 32_768)
    changed = False

    def change(done: int, total: int) -> None:
        nonlocal changed
        if changed:
            return
        changed = True
        last = folder / "z" / "zz" / "z"
        if how == "touched":
            os.utime(last, (1, 1))
        elif how == "cut":
            os.truncate(last, 5)
        else:
            last.unlink()

    with pytest.raises(ChangedFileError if how != "gone" else (ChangedFileError, NotFoundError)):
        make(folder, piece_length=32_768, progress=change)
    assert changed


def test_making_can_be_cancelled(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(30_000_000))

    async def scene() -> None:
        began = asyncio.Event()
        task = asyncio.create_task(
            make_descriptor(
                LiveHost(), str(tmp_path / "big"), progress=lambda done, total: began.set()
            )
        )
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(asyncio.all_tasks()) <= 2

    asyncio.run(scene())


def test_a_torrent_that_would_be_too_long_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "MAX_TORRENT_BYTES", 500)
    with pytest.raises(DescriptorError) as refused:
        make(folder, piece_length=16_384)
    assert refused.value.rule == "torrent-bytes"


# Held against other makers' tools.


def info_of(torrent: bytes) -> dict[bytes, object]:
    info = decode(torrent, canonical=False)[b"info"]
    assert isinstance(info, dict)
    return info


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("single", [True, False])
def test_libtorrent_makes_the_same_info(folder: Path, version: Version, single: bool) -> None:
    libtorrent = require_module("libtorrent")
    path = folder / "z" / "ä ö.bin" if single else folder
    # It sorts these behind `a.txt`, and then refuses its own hybrid: version 2 sorts by parts.
    shutil.rmtree(folder / "a")
    flags = {
        "v1": libtorrent.create_torrent.v1_only,
        "v2": libtorrent.create_torrent.v2_only,
        "hybrid": 0,
    }[version]
    files = libtorrent.list_files(str(path))
    creator = libtorrent.create_torrent(files, 32_768, flags)
    libtorrent.set_piece_hashes(creator, str(path.parent))
    theirs = libtorrent.bencode(creator.generate())
    ours = make(path, version=version, piece_length=32_768).descriptor
    read = Descriptor.parse(theirs)
    if version == "v1" and not single:
        # The order of files is a choice in version 1, and libtorrent takes the system's.
        assert sorted(entry.path for entry in read.files) == sorted(
            entry.path for entry in ours.files
        )
    else:
        assert read.info_bytes == ours.info_bytes
        assert read.piece_layers == ours.piece_layers
    parsed = libtorrent.torrent_info(libtorrent.bdecode(ours.encode()))
    if ours.infohash_v1:
        assert parsed.info_hashes().v1.to_bytes() == ours.infohash_v1
    if ours.infohash_v2:
        assert parsed.info_hashes().v2.to_bytes() == ours.infohash_v2
    assert parsed.num_pieces() == ours.piece_count


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_mktorrent_makes_the_same_pieces_and_files(folder: Path, tmp_path: Path) -> None:
    program = require_program("mktorrent")
    for path in (folder, folder / "z" / "ä ö.bin"):
        out = tmp_path / f"{path.name}.torrent"
        run(program, "-a", "http://t.example/announce", "-l", "15", "-o", str(out), str(path))
        theirs = Descriptor.parse(out.read_bytes())
        ours = make(path, version="v1", piece_length=32_768).descriptor
        assert theirs.trackers == (("http://t.example/announce",),)
        assert {entry.path: entry.length for entry in theirs.files} == {
            entry.path: entry.length for entry in ours.files
        }
        if path is not folder:
            assert theirs.info_bytes == ours.info_bytes


def test_transmission_makes_the_same_and_reads_ours(folder: Path, tmp_path: Path) -> None:
    creator, shower = require_program("transmission-create"), require_program("transmission-show")
    for path in (folder, folder / "z" / "ä ö.bin"):
        out = tmp_path / f"{path.name}.torrent"
        run(creator, "-s", "32", "-t", "http://t.example/announce", "-o", str(out), str(path))
        theirs = Descriptor.parse(out.read_bytes())
        ours = make(path, version="v1", piece_length=32_768).descriptor
        # Where the format leaves no choice: transmission adds `private: 0` to every info.
        info = info_of(out.read_bytes())
        info.pop(b"private", None)
        if path is not folder:
            assert info == decode(ours.info_bytes)
        assert theirs.total_bytes == ours.total_bytes
        # Version 1 alone: transmission before 4.0 refuses every hybrid, libtorrent's too.
        made = make(path, version="v1", trackers=[["http://t.example/announce"]])
        mine = tmp_path / "ours.torrent"
        mine.write_bytes(made.descriptor.encode())
        assert made.descriptor.infohash in run(shower, str(mine))


def test_torf_makes_the_same_info(folder: Path) -> None:
    torf = require_module("torf")
    for path in (folder, folder / "z" / "ä ö.bin"):
        torrent = torf.Torrent(path=str(path), piece_size=32_768, exclude_globs=[])
        torrent.generate()
        theirs = Descriptor.parse(torrent.dump())
        ours = make(path, version="v1", piece_length=32_768).descriptor
        assert {entry.path for entry in theirs.files if entry.length} == {
            entry.path for entry in ours.files if entry.length
        }
        if path is not folder:
            assert theirs.info_bytes == ours.info_bytes
        again = torf.Torrent.read_stream(ours.encode())
        assert again.infohash == ours.infohash


def test_aria2_reads_ours(folder: Path, tmp_path: Path) -> None:
    program = require_program("aria2c")
    # Version 1 alone: aria2 1.36 computes a wrong infohash of every hybrid, libtorrent's too.
    made = make(folder, version="v1")
    mine = tmp_path / "ours.torrent"
    mine.write_bytes(made.descriptor.encode())
    assert made.descriptor.infohash in run(program, "--show-files", str(mine))
