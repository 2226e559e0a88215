"""What the documents say is true: verbs, targets, limits, tests and links exist."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from project.tree import ROOT, all_files
from spinney.cli import VERBS

DOCUMENTS = sorted(path for path in all_files() if path.suffix == ".md")
LIMIT = re.compile(r"^\| .+ \| ([\d,]+) \| `(spinney\.[\w.]+)` \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
LINK = re.compile(r"\]\((?!https?://)([^)#]+)\)")
SOURCE = re.compile(r"`((?:src|tests|docs|examples|bench|demo)/[\w./-]+)`")


def text(name: str) -> str:
    return (ROOT / name).read_text()


def value_of(path: str) -> Any:
    """A module's constant, an attribute of one, or the default of a dataclass's field."""
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            if dataclasses.is_dataclass(value) and isinstance(value, type):
                (value,) = [row.default for row in dataclasses.fields(value) if row.name == name]
            else:
                value = getattr(value, name)
        return value
    raise AssertionError(f"no {path}")


def test_limits_in_numbers_are_those_of_the_code() -> None:
    rows = LIMIT.findall(text("SECURITY.md"))
    assert len(rows) >= 20
    wrong = [
        (path, said, value_of(path))
        for said, path in rows
        if value_of(path) != int(said.replace(",", ""))
    ]
    assert not wrong


def test_every_security_property_has_a_test_that_exists() -> None:
    rows = TEST.findall(text("SECURITY.md"))
    assert len(rows) >= 20
    missing = []
    for file, name in rows:
        path = ROOT / file
        found = path.is_file() and re.search(rf"^(async )?def {name}\(", path.read_text(), re.M)
        if not found:
            missing.append(f"{file}::{name}")
    assert not missing


def test_readme_lists_every_verb_and_no_other() -> None:
    table = set(re.findall(r"^\| `spinney (\w+)", text("README.md"), re.MULTILINE))
    assert table == set(VERBS)


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    for path in DOCUMENTS:
        for target in re.findall(
            r"(?:`|\$ |^(?=make \S+  ))make ([a-z-]+)", path.read_text(), re.M
        ):
            assert target in targets, f"{path.name} names make {target}"


def test_ci_runs_the_command_that_readme_gives_for_the_tests() -> None:
    assert "make test           the tests" in text("README.md")
    assert re.search(r"^make test ", text(".ci/run"), re.MULTILINE)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_files_that_are_named_exist(path: Path) -> None:
    content = path.read_text()
    for target in LINK.findall(content):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"
    for target in SOURCE.findall(content):
        if "ROOM" not in target and not target.endswith("..."):
            assert (ROOT / target.rstrip("/")).exists(), f"{path.name} names {target}"


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(LINK.findall((folder / "README.md").read_text()))
    assert {path.name for path in folder.glob("*.md")} - {"README.md"} == listed


def test_the_python_of_the_readme_runs() -> None:
    for block in re.findall(r"```python\n(.*?)```", text("README.md"), re.DOTALL):
        compile(block, "README.md", "exec", flags=0x2000)  # top-level await


def test_the_tour_names_files_that_exist_in_order() -> None:
    names = re.findall(
        r"`((?:net|wire|content|bittorrent|peer|cli)/[\w./]+\.py)`", text("docs/tour.md")
    )
    assert len(names) >= 15
    assert all((ROOT / "src" / "spinney" / name).is_file() for name in names)
