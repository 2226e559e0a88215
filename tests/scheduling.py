"""In which order, and by whom, the tests run when several processes share them.

`make test` is bound by two things, processors and waits (for links that are slow on purpose, for
switches, for time limits).  What waits runs beside what computes if neither comes in a row.
"""

from __future__ import annotations

import zlib

import pytest

TOGETHER = ("tests/project/test_wheel.py", "tests/project/test_demo.py", "tests/fuzz/test_fuzz.py")
"""Files that one process runs alone: they share what is dear to make, or would crowd each other."""

LONG_ROOMS = ("cli", "fuzz", "interop", "lan", "project")
"""Whose tests may take ten seconds: none of them shall be the last."""


def long_and_mixed_first(items: list[pytest.Item]) -> None:
    """Sorts: what runs together, then long rooms, then the others, within these by chance."""

    def key(item: pytest.Item) -> tuple[int, int]:
        file = item.nodeid.partition("::")[0]
        if file in TOGETHER:
            return 0, TOGETHER.index(file)
        room = file.split("/")[1] if file.count("/") > 1 else ""
        return 1 if room in LONG_ROOMS else 2, zlib.crc32(item.nodeid.encode())

    if len({item.path for item in items}) > 1:  # one file stays in the order of its story
        items.sort(key=key)


def scheduler(config: pytest.Config, log: object) -> object:
    """For `--dist loadgroup`; pytest-xdist's own knows no group under pytest 9.2."""
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByFileOrTest(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file in TOGETHER else nodeid

    return ByFileOrTest(config, log)
