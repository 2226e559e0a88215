"""Torture torrents: each is refused by the rule that it breaks, or read as its table says."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from tests.torture.accepted import all_accepted
from tests.torture.make import FOLDER, files
from tests.torture.refused import all_refused

from spinney.content.descriptor import Descriptor
from spinney.content.rules import RULES
from spinney.errors import DescriptorError, UnsafeNameError

REFUSED = all_refused()
ACCEPTED = all_accepted()
LONGEST_S = 1.0

NOT_SMALL = {"torrent-bytes", "paths-bound"}
"""Rules whose torrents are too large to keep; test_descriptor and test_names break them."""


def read(name: str) -> bytes:
    return (FOLDER / f"{name}.torrent").read_bytes()


def test_the_folder_holds_what_the_tables_make() -> None:
    """After a change: `python -m tests.torture.make`, and look at the difference."""
    kept = {path.name: path.read_bytes() for path in Path(FOLDER).glob("*.torrent")}
    assert kept == files()
    assert max(map(len, kept.values())) < 20_000


def test_at_least_a_hundred_are_refused_and_no_rule_by_more_than_five() -> None:
    by_rule = Counter(rule for _, rule, _ in REFUSED)
    assert len(REFUSED) >= 100
    assert max(by_rule.values()) <= 5, by_rule
    for_torrents = {rule for rule in RULES if not rule.startswith("magnet")}
    assert set(by_rule) == for_torrents - NOT_SMALL


@pytest.mark.parametrize(("name", "rule"), [row[:2] for row in REFUSED])
def test_is_refused_by_its_rule(name: str, rule: str) -> None:
    began = time.process_time()
    with pytest.raises(DescriptorError) as refused:
        Descriptor.parse(read(name))
    assert refused.value.rule == rule
    naming = rule.startswith("name-") or rule in ("depth", "path-length")
    assert isinstance(refused.value, UnsafeNameError) == naming
    assert len(str(refused.value)) < 400
    assert str(refused.value).isprintable()
    assert time.process_time() - began < LONGEST_S


@pytest.mark.parametrize(("name", "paths"), [row[:2] for row in ACCEPTED])
def test_is_read(name: str, paths: list[str]) -> None:
    data = read(name)
    descriptor = Descriptor.parse(data)
    assert ["/".join(entry.path) for entry in descriptor.files] == paths
    for path in paths:
        for pure in (PurePosixPath(path), PureWindowsPath(path)):
            assert not pure.is_absolute()
            assert not pure.drive
            assert ".." not in pure.parts
    if name != "odd_keys_unsorted_everywhere":
        assert descriptor.encode() == data
    assert Descriptor.parse(descriptor.encode()) == descriptor
