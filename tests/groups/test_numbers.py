"""Every numbered sentence of `groups/group.py` has its check, and every check its sentence."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import spinney.groups.group

SENTENCE = re.compile(r"^ *(G\d+)\. ", re.MULTILINE)
CHECK = re.compile(r"test_(g\d+)_")


def sentences() -> list[str]:
    """The numbers in the docstring of `Group`, in their order."""
    return SENTENCE.findall(spinney.groups.group.Group.__doc__ or "")


def checks() -> set[str]:
    """The numbers of the checks that take a side."""
    found: set[str] = set()
    for node in ast.parse(Path(__file__).with_name("test_contract.py").read_text()).body:
        if isinstance(node, ast.FunctionDef) and (match := CHECK.match(node.name)):
            assert any("side" in argument.arg for argument in node.args.args), node.name
            found.add(match[1].upper())
    return found


def test_numbers_count_from_one_without_a_gap() -> None:
    assert sentences() == [f"G{number}" for number in range(1, len(sentences()) + 1)]
    assert len(sentences()) >= 9


def test_each_number_has_a_check_and_each_check_a_number() -> None:
    assert checks() == set(sentences())
