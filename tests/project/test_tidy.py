"""Small things that rot when nobody looks: sizes, names, and what must not be in a repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from project.tree import ROOT, all_files

MOST_LINES = 500
LONGER: dict[str, tuple[int, str]] = {}
"""Files that may be longer: how long, and why."""

NO_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "stuff"}
TEXT = {".py", ".md", ".toml", ".txt", ".sh", ".cfg", ".yml", ".yaml", ""}

# Put together here, so that this file does not hold what it looks for.
FORBIDDEN = {
    "an absolute path of somebody's machine": re.compile(
        r"(?<![\w.])/(?:" + "|".join(["work", "home", "root", "Users", "tmp"]) + r")/[\w.-]"
    ),
    "a path out of the repository": re.compile(r"\.\./" + "shared"),
    "a mail address": re.compile(r"[\w.+-]+@[\w-]+\.(?:com|org|net|io|dev|edu|de)\b"),
    "a package registry's host": re.compile(
        "|".join([r"py" + r"pi\.org", r"python" + r"hosted\.org", r"registry\.n" + r"pmjs"])
    ),
}
MAY_HOLD: dict[str, str] = {}
"""Files that may hold something of the above, each with its reason."""


def findings(text: str) -> list[str]:
    return [
        f"line {text.count(chr(10), 0, found.start()) + 1}: {what}: {found.group()!r}"
        for what, pattern in FORBIDDEN.items()
        for found in pattern.finditer(text)
    ]


def texts() -> list[Path]:
    return [path for path in all_files() if path.suffix in TEXT and path.name != "LICENSE"]


def test_files_are_small() -> None:
    long = {}
    for path in all_files():
        name = str(path.relative_to(ROOT))
        if path.suffix == ".py":
            lines = path.read_text().count("\n")
            if lines > LONGER.get(name, (MOST_LINES, ""))[0]:
                long[name] = lines
    assert not long, f"more than {MOST_LINES} lines: look for the second noun: {long}"


def test_files_have_names_that_say_something() -> None:
    bad = [str(path.relative_to(ROOT)) for path in all_files() if path.stem in NO_NAMES]
    assert not bad


def test_nothing_of_this_machine_is_in_the_repository() -> None:
    rows = []
    for path in texts():
        name = str(path.relative_to(ROOT))
        if name not in MAY_HOLD:
            rows += [f"{name} {row}" for row in findings(path.read_text(errors="replace"))]
    assert not rows, "\n".join(rows)


@pytest.mark.parametrize(
    "text",
    [
        "see " + "/".join(["", "home", "ann", "x"]),
        "see " + "/".join(["", "tmp", "x"]),
        "../" + "shared/notes.md",
        "ann@" + "example.org",
        "https://py" + "pi.org/simple",
    ],
)
def test_what_must_not_be_there_is_found(text: str) -> None:
    assert findings(text)


def test_every_package_is_typed_and_licensed() -> None:
    assert (ROOT / "src" / "spinney" / "py.typed").is_file()
    assert "MIT" in (ROOT / "LICENSE").read_text()
