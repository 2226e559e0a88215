"""Prints, after the run, which client of which version moved how many bytes in each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from interop.namespace import Namespace
from needs import require_module, require_root


@pytest.fixture
def network() -> Iterator[Namespace]:
    require_root()
    require_module("libtorrent")
    with Namespace(addresses=10) as namespace:
        yield namespace


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """`counted("libtorrent 2.0.11 sent 8,388,608 bytes")` shows in the report."""
    return lambda sentence: record_property("counted", sentence)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = [
        (report.nodeid.rpartition("::")[2], value)
        for report in terminalreporter.getreports("passed")
        for name, value in getattr(report, "user_properties", ())
        if name == "counted"
    ]
    if rows:
        terminalreporter.section("bytes between clients")
        for test, sentence in rows:
            terminalreporter.line(f"{test}: {sentence}")
