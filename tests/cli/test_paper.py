"""`share --paper` and `--sign`, `show --paper`, `verify --paper`: the MC-FTP paper's descriptor."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from cli.processes import LOCAL, here
from spinney.cli.signing import default_path, publisher_seed
from spinney.cli.verify import describe_paper
from spinney.content.paper import public_key
from spinney.errors import NotFoundError, UsageError

SEED = bytes(range(32))


@pytest.fixture
def signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`file.bin`, shared once, signed by the key that was made for it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "file.bin").write_bytes(os.urandom(200_000))
    share = ("share", "file.bin", "--piece-length", "16k", "--sign", "--seed-time", "0", *LOCAL)
    done = here(*share, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    public = public_key(bytes.fromhex((tmp_path / "state/spinney/publisher.key").read_text()))
    assert f"x.pub={public.hex()}" in done.stdout
    return tmp_path


def test_show_says_what_the_paper_adds(signed: Path) -> None:
    done = here("show", "file.bin.torrent", "--paper", cwd=signed)
    assert done.returncode == 0, done.stderr
    for words in ("File ID", "fountain-2", "13 circular checksums", "unverified"):
        assert words in done.stdout
    facts = json.loads(here("show", "file.bin.torrent", "--json", cwd=signed).stdout)
    assert len(facts["paper"]["checksums"]) == 13
    assert facts["paper"]["signature"] == "unverified"
    link = json.loads(here("show", facts["link"], "--json", cwd=signed).stdout)
    assert link["publisher"] == facts["paper"]["publisher"]


def test_verify_tells_what_pairs_can_tell(signed: Path) -> None:
    public = publisher_seed(None)[1].hex()
    whole = json.loads(
        here(
            "verify", "file.bin.torrent", "--publisher", public, "--json", cwd=signed
        ).stdout
    )["paper"]  # fmt: skip
    assert (whole["checked_pairs"], whole["good_chunks"], whole["file_id"]) == (13, 13, True)
    assert whole["signature"] == "verified"
    other = here("verify", "file.bin.torrent", "--publisher", "0" * 64, cwd=signed)
    assert other.returncode == 1
    assert "ANOTHER publisher" in other.stdout
    data = bytearray((signed / "file.bin").read_bytes())
    data[16_384 * 3 : 16_384 * 5] = bytes(2 * 16_384)  # never received
    data[16_384 * 8] ^= 1
    (signed / "file.bin").write_bytes(data)
    done = here("verify", "file.bin.torrent", "--paper", "--json", cwd=signed)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["files"][0]["bad_pieces"] == [3, 4, 8]
    paper = report["paper"]
    assert (paper["held_chunks"], paper["checked_pairs"]) == (11, 10)
    assert paper["bad_chunks"] == [8]
    assert paper["file_id"] is False
    assert paper["signature"] == "unverified"
    people = here("verify", "file.bin.torrent", "--paper", cwd=signed).stdout
    assert "10 of 13 pairs can be checked with 11 chunks here" in people
    assert "unverified" in people


def test_what_was_not_made_with_them_has_none(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"x" * 1000)
    link = here("share", "plain", "--seed-time", "0", *LOCAL, cwd=tmp_path).stdout
    assert "magnet:?" in link
    assert "x.pub" not in link
    for verb in ("show", "verify"):
        done = here(verb, "plain.torrent", "--paper", cwd=tmp_path)
        assert done.returncode == 2
        assert "share --paper" in done.stderr


def test_the_key_is_made_once_and_for_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    seed, public = publisher_seed(None)
    assert publisher_seed(None) == (seed, public)
    assert stat.S_IMODE(default_path().stat().st_mode) == 0o600
    assert stat.S_IMODE(default_path().parent.stat().st_mode) == 0o700
    assert [path.name for path in default_path().parent.iterdir()] == ["publisher.key"]
    default_path().chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        publisher_seed(None)


def test_a_key_may_be_given(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(SEED.hex())
    path.chmod(0o600)
    assert publisher_seed(str(path)) == (SEED, public_key(SEED))
    for text in ("", "00", "g" * 64, "00" * 33, "\N{SNOWMAN}" * 64):
        path.write_text(text)
        with pytest.raises(UsageError, match="64 hexadecimal digits"):
            publisher_seed(str(path))
    with pytest.raises(NotFoundError, match="no key"):
        publisher_seed(str(tmp_path / "none"))


def test_words_for_every_outcome() -> None:
    paper = {
        "chunks": 5,
        "held_chunks": 4,
        "checked_pairs": 2,
        "good_chunks": 1,
        "bad_chunks": [1],
        "doubted_chunks": [2, 3],
        "unchecked_chunks": 0,
        "file_id": None,
        "signature": "none",
        "publisher": None,
    }
    lines = describe_paper(paper)
    assert "paper: bad: chunks 1" in lines
    assert "paper: in doubt: chunks 2-3" in lines
    assert "paper: the file id cannot be checked" in lines
    assert lines[-1] == "paper: not signed"
