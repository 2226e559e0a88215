"""What begins at a line on standard input begins at once."""

from __future__ import annotations

import asyncio
import os
import select
from types import SimpleNamespace
from typing import Any

import pytest

from spinney.cli import keypress


def test_a_line_counts_at_once_however_long_nothing_was_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between two looks nobody waits: each would cost all receivers a quarter of a second."""
    readable, writable = os.pipe()
    looks = []

    def look(rows: list[int], *more: Any) -> Any:
        looks.append(rows)
        if len(looks) < 4:
            return [], [], []  # the time of a look is over, and nothing was typed
        return select.select(rows, *more)

    monkeypatch.setattr(keypress, "STDIN", readable)
    monkeypatch.setattr(keypress, "LOOK_S", 60.0)
    monkeypatch.setattr(keypress, "select", SimpleNamespace(select=look))

    async def run() -> None:
        begun = asyncio.Event()
        with keypress.at_a_line(begun.set):
            os.write(writable, b"\n")
            await asyncio.wait_for(begun.wait(), 20.0)

    try:
        asyncio.run(run())
    finally:
        os.close(writable)
        os.close(readable)
