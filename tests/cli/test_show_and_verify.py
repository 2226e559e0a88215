"""`spinney show` and `verify`."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from cli.processes import LOCAL, here
from spinney.errors import NotWritableError
from spinney.net.host import File, OpenMode
from spinney.net.live.storage import LiveStorage
from spinney.peer import verify


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder `set` of two files, and its torrent."""
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "one.bin").write_bytes(os.urandom(100_000))
    (folder / "two.bin").write_bytes(os.urandom(70_000))
    words = ["--piece-length", "16k", "--comment", "for you", "--format", "hybrid"]
    assert here("share", "set", *words, "--seed-time", "0", *LOCAL, cwd=tmp_path).returncode == 0
    return tmp_path


def test_show_for_people_and_programs(shared: Path) -> None:
    done = here("show", "set.torrent", cwd=shared)
    assert done.returncode == 0, done.stderr
    for word in ("set", "170,000", "hybrid", "one.bin", "16 KiB", "for you", "magnet:?"):
        assert word in done.stdout
    facts = json.loads(here("show", "set.torrent", "--json", cwd=shared).stdout)
    assert facts["total_bytes"] == 170_000
    assert [row["path"] for row in facts["files"]] == ["set/one.bin", "set/two.bin"]
    link = facts["link"]
    again = json.loads(here("show", link, "--json", cwd=shared).stdout)
    assert again["infohash"] == facts["infohash"]
    assert again["name"] == "set"


def test_verify_tells_which_files_and_pieces_are_bad(shared: Path) -> None:
    for path in ([], ["set"], ["."]):
        done = here("verify", "set.torrent", *path, cwd=shared)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.startswith("whole: 2 files, ")
    data = bytearray((shared / "set" / "one.bin").read_bytes())
    data[50_000] ^= 1
    (shared / "set" / "one.bin").write_bytes(data)
    done = here("verify", "set.torrent", cwd=shared)
    assert done.returncode == 1
    assert "one.bin: 1 piece (3)" in done.stdout
    assert "two.bin" not in done.stdout
    (shared / "set" / "two.bin").unlink()
    report = json.loads(here("verify", "set.torrent", "--json", cwd=shared).stdout)
    assert not report["whole"]
    assert [row["state"] for row in report["files"]] == ["bad", "missing"]
    assert report["files"][0]["bad_pieces"] == [3]
    (shared / "set" / "one.bin").unlink()
    nothing = here("verify", "set.torrent", cwd=shared)
    assert nothing.returncode == 1
    assert "nothing of set" in nothing.stderr


def test_verify_needs_the_torrent_itself(shared: Path) -> None:
    link = json.loads(here("show", "set.torrent", "--json", cwd=shared).stdout)["link"]
    done = here("verify", link, cwd=shared)
    assert done.returncode == 2
    assert "magnet" in done.stderr


def test_a_moved_single_file_is_verified_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(os.urandom(5000))
    here("share", "x.bin", "--seed-time", "0", *LOCAL, cwd=tmp_path)
    (tmp_path / "x.bin").rename(tmp_path / "y.bin")
    assert here("verify", "x.bin.torrent", "y.bin", cwd=tmp_path).returncode == 0


def test_a_file_that_cannot_be_read_is_not_called_bad(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by one who may not read it: every piece was "bad"."""
    opened = LiveStorage.open

    def open_unless_locked(self: LiveStorage, path: str, mode: OpenMode) -> File:
        if path.endswith("one.bin"):
            raise NotWritableError(f"no permission for {path}")
        return opened(self, path, mode)

    monkeypatch.setattr(LiveStorage, "open", open_unless_locked)
    with pytest.raises(NotWritableError, match="no permission"):
        asyncio.run(verify(shared / "set.torrent", shared))


def test_what_is_no_file_is_missing(shared: Path) -> None:
    (shared / "set" / "one.bin").unlink()
    (shared / "set" / "one.bin").mkdir()
    report = json.loads(here("verify", "set.torrent", "--json", cwd=shared).stdout)
    assert [row["state"] for row in report["files"]] == ["missing", "right"]
