"""Every numbered sentence of `net/host.py` has its check, and every check its sentence."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import spinney.net.host

HERE = Path(__file__).parent
SENTENCE = re.compile(r"^ +([HDFS]\d+)\. ", re.MULTILINE)
CHECK = re.compile(r"test_([hdfs]\d+)_")


def sentences() -> list[str]:
    """The numbers in the docstrings of `net/host.py`, in their order."""
    tree = ast.parse(Path(spinney.net.host.__file__).read_text())
    return [
        number
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for number in SENTENCE.findall(ast.get_docstring(node, clean=False) or "")
    ]


def checks() -> set[str]:
    """The numbers of the test functions of this folder that take a side."""
    found: set[str] = set()
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and (match := CHECK.match(node.name)):
                arguments = [argument.arg for argument in node.args.args]
                assert any("machines" in name for name in arguments), f"{node.name} takes no side"
                assert ast.get_docstring(node) is None, "the sentence is in host.py"
                found.add(match[1].upper())
    return found


def test_each_letter_counts_from_one_without_a_gap() -> None:
    numbers = sentences()
    assert len(numbers) == len(set(numbers))
    for letter, least in {"H": 25, "D": 18, "F": 9, "S": 11}.items():
        own = [int(number[1:]) for number in numbers if number[0] == letter]
        assert own == list(range(1, len(own) + 1))
        assert len(own) >= least


def test_each_number_has_a_check() -> None:
    assert sorted(set(sentences()) - checks()) == []


def test_each_check_has_a_number() -> None:
    assert sorted(checks() - set(sentences())) == []
