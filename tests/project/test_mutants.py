"""The lists of `make mutants` can be applied, and there are enough of them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from project.tree import ROOT

LEAST_MUTATIONS = 40


def load_runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants_run", ROOT / "tests/mutants/run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants_run"] = module
    spec.loader.exec_module(module)
    return module


runner = load_runner()


def test_every_mutation_can_be_applied_and_they_are_enough() -> None:
    mutations, wrong = runner.read_lists()
    assert not wrong, "\n".join(wrong)
    assert len({(row.path, row.old, row.new) for row in mutations}) >= LEAST_MUTATIONS


@pytest.mark.timeout(120)
def test_every_test_that_a_mutation_names_is_there() -> None:
    mutations, _ = runner.read_lists()
    named = sorted({row.test for row in mutations if not row.test.startswith("-k")})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-n", "0", *named],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def make_tree(root: Path, guard: str) -> None:
    (root / "src").mkdir()
    (root / "tests" / "mutants").mkdir(parents=True)
    (root / "src" / "thing.py").write_text(
        "def small(x: int) -> bool:\n    return x < 3 | 4\n\n\ndef loose() -> int:\n    return 1\n"
    )
    (root / "tests" / "test_thing.py").write_text(
        "from thing import loose, small\n\n\ndef test_small():\n    assert not small(8)\n\n\n"
        "def test_loose():\n    loose()\n"
    )
    (root / "tests" / "mutants" / "thing.txt").write_text(guard)
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")


def test_a_guarded_line_is_killed_and_a_loose_one_survives(tmp_path: Path) -> None:
    make_tree(
        tmp_path,
        "# what is guarded\n"
        "src/thing.py | return x < 3 | 4 | return x < 99 | tests/test_thing.py::test_small\n"
        "src/thing.py | return 1 | return 2 | -k test_loose\n"
        "src/thing.py | return 3 | return 2 | -k test_loose\n",
    )
    mutations, wrong = runner.read_lists(tmp_path)
    assert [row.old for row in mutations] == ["return x < 3 | 4", "return 1"]
    assert len(wrong) == 1
    assert "thing.txt:4" in wrong[0]
    assert [runner.try_mutation(row, tmp_path, 60) for row in mutations] == ["killed", "survived"]
    assert runner.unchanged_failures(mutations, tmp_path, 1) == []


def test_a_test_that_fails_unchanged_is_told(tmp_path: Path) -> None:
    make_tree(tmp_path, "src/thing.py | return 1 | return 2 | -k test_small\n")
    (tmp_path / "src" / "thing.py").write_text(
        "def small(x):\n    return 1\n\n\ndef loose(): ...\n"
    )
    mutations, _ = runner.read_lists(tmp_path)
    assert runner.unchanged_failures(mutations, tmp_path, 1) == ["-k test_small tests"]


@pytest.mark.parametrize("text", ["", "a | b | c", "no/such.py | a | b | -k c"])
def test_a_bad_line_says_what_is_wrong(text: str, tmp_path: Path) -> None:
    with pytest.raises(runner.BadLine, match=r"thing\.txt:7"):
        runner.parse_line(text, "thing", 7, tmp_path)


def test_the_samples_of_all_turns_are_the_whole_list() -> None:
    mutations, _ = runner.read_lists()
    step = len(mutations) // 40
    samples = [runner.sample(mutations, 40, turn) for turn in range(step)]
    assert all(len(sample) >= 40 for sample in samples)
    assert sorted(one.name for sample in samples for one in sample) == sorted(
        one.name for one in mutations
    )
