"""Breaks guarding lines one by one and asks the tests whether they notice.

Each line of `tests/mutants/ROOM.txt` is one mutation:

    path | exact source text on one line | replacement text | test

`test` is a node id, a file, or `-k EXPRESSION` (within `tests/ROOM`).  The first occurrence of
the text is replaced in a copy of the tree, and the test must fail there; it must pass in an
unchanged copy.  Empty lines and lines that begin with `#` say something to people.

    python tests/mutants/run.py [--room NAME] [--sample N --turn K] [--jobs 2] [--timeout 120]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("tests") / "mutants"
COPIED = ("src", "tests", "bench", "examples", "demo", "docs")
"""Folders of the tree that tests may read."""
TESTS_FAILED = 1
"""pytest's exit code when tests ran and failed; other codes say that nothing was tried."""
TRIES = 2
"""A test need only be able to pass unchanged: that it always does is for `make test` to say."""


@dataclass(frozen=True)
class Mutation:
    """One line of a list: what is broken where, and which test must notice."""

    room: str
    line: int
    path: str
    old: str
    new: str
    test: str

    @property
    def name(self) -> str:
        return f"{self.room}:{self.line} {self.path}: {self.old.strip()!r} -> {self.new.strip()!r}"

    def pytest_arguments(self, root: Path) -> list[str]:
        if not self.test.startswith("-k"):
            return [self.test]
        folder = Path("tests") / self.room
        expression = self.test[2:].strip().strip("\"'")
        return ["-k", expression, str(folder if (root / folder).is_dir() else Path("tests"))]


class BadLine(Exception):
    """A line of a list that cannot be applied; its message says why."""


def parse_line(text: str, room: str, line: int, root: Path = ROOT) -> Mutation:
    """Raises `BadLine`.  The source text may hold ` | ` itself: what occurs in the file counts."""
    parts = text.split(" | ")
    if len(parts) < 4:
        raise BadLine(f"{room}.txt:{line}: not `path | old | new | test`")
    path, middle, test = parts[0].strip(), parts[1:-1], parts[-1].strip()
    file = root / path
    if not file.is_file():
        raise BadLine(f"{room}.txt:{line}: no file {path}")
    source = file.read_text()
    for cut in range(len(middle) - 1, 0, -1):
        old, new = " | ".join(middle[:cut]), " | ".join(middle[cut:])
        for candidate in (old, old.strip()):
            if candidate and candidate in source:
                return Mutation(room, line, path, candidate, new.strip(), test)
    raise BadLine(f"{room}.txt:{line}: {path} does not hold {' | '.join(middle[:-1])!r}")


def read_lists(root: Path = ROOT, room: str | None = None) -> tuple[list[Mutation], list[str]]:
    """All mutations, and what is wrong with the lines that are none."""
    mutations: list[Mutation] = []
    wrong: list[str] = []
    for file in sorted((root / FOLDER).glob("*.txt")):
        if room is not None and file.stem != room:
            continue
        for number, text in enumerate(file.read_text().splitlines(), 1):
            if not text.strip() or text.startswith("#"):
                continue
            try:
                mutations.append(parse_line(text, file.stem, number, root))
            except BadLine as error:
                wrong.append(str(error))
    return mutations, wrong


def sample(mutations: list[Mutation], size: int, turn: int) -> list[Mutation]:
    """At least `size` of them from all over the lists; the next turn takes others."""
    step = max(1, len(mutations) // size)
    return mutations[turn % step :: step]


def copy_tree(root: Path, to: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, to / name, ignore=ignored, symlinks=True)
    for file in root.iterdir():
        if file.is_file():
            shutil.copy2(file, to / file.name)


def run_pytest(tree: Path, arguments: list[str], timeout_s: float) -> int | None:
    """pytest's exit code in this tree; None when its time ran out."""
    environment = dict(os.environ, PYTHONPATH=str(tree / "src"), PYTHONDONTWRITEBYTECODE="1")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    # pytest clears its older folders away: several runs at once would clear each other's.
    command += ["--basetemp", tempfile.mkdtemp(prefix="files-", dir=tree)]
    command += ["--timeout", str(int(timeout_s)), *arguments]
    child = subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return child.wait(timeout_s + 10)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)
        child.wait()
        return None


def try_mutation(mutation: Mutation, root: Path, timeout_s: float) -> str:
    """`killed`, `survived`, or what else happened."""
    with tempfile.TemporaryDirectory(prefix="spinney-mutant-") as folder:
        tree = Path(folder)
        copy_tree(root, tree)
        file = tree / mutation.path
        source = file.read_text()
        file.write_text(source.replace(mutation.old, mutation.new, 1))
        code = run_pytest(tree, mutation.pytest_arguments(tree), timeout_s)
    if code is None or code == TESTS_FAILED:
        return "killed"
    return "survived" if code == 0 else f"not tried (pytest ended with {code})"


def unchanged_failures(mutations: list[Mutation], root: Path, jobs: int) -> list[str]:
    """Tests that do not pass in an unchanged copy: whatever they kill proves nothing."""
    chosen = sorted({tuple(mutation.pytest_arguments(root)) for mutation in mutations})
    with tempfile.TemporaryDirectory(prefix="spinney-mutant-") as folder:
        tree = Path(folder)
        copy_tree(root, tree)
        together = [row[0] for row in chosen if len(row) == 1]
        if together and run_pytest(tree, together, 300) == 0:
            chosen = [row for row in chosen if len(row) > 1]
        for _ in range(TRIES):
            with ThreadPoolExecutor(jobs) as pool:
                codes = pool.map(lambda row: run_pytest(tree, list(row), 300), chosen)
                chosen = [row for row, code in zip(chosen, codes, strict=True) if code != 0]
        return [" ".join(row) for row in chosen]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--room", help="only this list")
    parser.add_argument("--sample", type=int, help="only about so many, from all lists")
    parser.add_argument("--turn", type=int, default=0, help="which sample")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one mutation")
    options = parser.parse_args()
    began = time.monotonic()
    mutations, wrong = read_lists(ROOT, options.room)
    if options.sample:
        mutations = sample(mutations, options.sample, options.turn)
    wrong += [
        f"fails unchanged: {row}" for row in unchanged_failures(mutations, ROOT, options.jobs)
    ]
    outcomes: list[str] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(lambda one: try_mutation(one, ROOT, options.timeout), mutations)
        for mutation, outcome in zip(mutations, results, strict=True):
            outcomes.append(outcome)
            if outcome != "killed":
                wrong.append(f"{outcome}: {mutation.name}")
            print(f"{outcome:9} {mutation.name}", flush=True)
    print(
        f"\n{outcomes.count('killed')} of {len(mutations)} mutations killed"
        f" in {time.monotonic() - began:.0f} s"
    )
    for row in wrong:
        print(row)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
