"""Names made safe: any bytes at all end inside the output folder, and apart from each other."""

from __future__ import annotations

import posixpath
from pathlib import Path, PureWindowsPath
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from tests.content.torrents import v2

from spinney.content import info as info_module
from spinney.content.names import MAX_PART_BYTES, safe_part, safe_paths
from spinney.content.rules import MAX_PATH_BYTES, RULES
from spinney.errors import DescriptorError, UnsafeNameError

NASTY = some.sampled_from(
    [b"..", b".", b"", b"/", b"\\", b"\0", b"CON", b"con.txt", b"a ", b"a.", b"A", b"a", b"a~2",
     "\u00e4".encode(), "a\u0308".encode(), b"C:", b"~", b"x" * 256, b"\xff", b"nul .txt"]
)  # fmt: skip
PARTS = (
    some.binary(max_size=20)
    | NASTY
    | some.text(max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{name}{at}" for name in ("com", "lpt") for at in range(10)),
}


def safe(name: str) -> bool:
    """Independent of how it is made so."""
    return (
        0 < len(name.encode()) <= MAX_PART_BYTES
        and name not in (".", "..")
        and not set(name) & set('/\\\0<>:"|?*\n\r\t\x1b\x7f\u202e')
        and name[-1] not in ". "
        and name.split(".")[0].strip().lower() not in RESERVED
        and not PureWindowsPath(name).drive
    )


@given(PARTS)
def test_any_part_becomes_safe_or_is_refused(part: bytes) -> None:
    try:
        name = safe_part(part)
    except UnsafeNameError as error:
        assert_rule(error)
        return
    assert safe(name)
    assert safe_part(name.encode()) == name


def assert_rule(error: DescriptorError) -> None:
    assert error.rule in RULES


@settings(deadline=None)
@given(some.lists(some.lists(PARTS, min_size=1, max_size=5), max_size=8))
def test_any_paths_stay_inside_the_folder_and_apart(paths: list[list[bytes]]) -> None:
    try:
        rows = safe_paths(paths)
    except UnsafeNameError as error:
        assert_rule(error)
        return
    assert len(rows) == len(paths)
    files, folders = set(), set()
    for row, raw in zip(rows, paths, strict=True):
        assert len(row) == len(raw)
        assert all(map(safe, row))
        joined = posixpath.normpath(posixpath.join("/out", *row))
        assert joined == "/out/" + "/".join(row)
        assert len("/".join(row).encode()) <= MAX_PATH_BYTES + 10
        key = normalize("NFC", "/".join(row)).casefold()
        assert key not in files
        files.add(key)
        for depth in range(1, len(row)):
            folders.add(normalize("NFC", "/".join(row[:depth])).casefold())
    assert not files & folders


@given(some.lists(some.text("abc123", min_size=1, max_size=4), min_size=1, max_size=4))
def test_plain_names_are_kept(parts: list[str]) -> None:
    assert safe_paths([[part.encode() for part in parts]]) == [tuple(parts)]


def test_every_safe_name_can_be_made_here(tmp_path: Path) -> None:
    for part in (b"x" * 300, "ä".encode() * 200, b"a\x01b", b"\xff" * 90, b"COM1", b"..a", b"a?"):
        (tmp_path / safe_part(part)).write_bytes(part)
        (tmp_path / (safe_part(part)[:240] + ".part")).write_bytes(part)


def test_a_hundred_thousand_names_that_collide_take_linear_time() -> None:
    names = [bytes([97, 63 + at % 2]) + b"%d" % (at // 2) for at in range(20_000)]
    same = [[b"?" * (1 + at % 3) + b"*" * (at % 2)] for at in range(6)]
    assert len(set(safe_paths([[name] for name in names]))) == 20_000
    assert len(set(safe_paths(same))) == 6
    changed = [[bytes([60 + at % 3 * 2]) + bytes([58 + at % 2 * 4])] for at in range(6)]
    assert len({row[0].casefold() for row in safe_paths(changed)}) == 6


def test_the_paths_of_a_tree_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info_module, "MAX_PATH_PARTS", 10)
    shallow = v2({b"a/b/c/d/e": 1, b"a/b/c/d/f": 1})[0]
    assert len(info_module.read_info(shallow).files) == 2
    with pytest.raises(DescriptorError) as refused:
        info_module.read_info(v2({b"a/b/c/d/e": 1, b"a/b/c/d/f": 1, b"g": 1})[0])
    assert refused.value.rule == "paths-bound"
