"""For all tests: what they need of the machine, their seeds, and skips that count under CI."""

from __future__ import annotations

import gc
import os
import signal
import zlib
from collections.abc import Iterator

import pytest

from needs import CI, require_module, require_program, require_root
from scheduling import long_and_mixed_first, scheduler

__all__ = ["require_module", "require_program", "require_root"]

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""Hundreds of tests start a process of their own: none should compile everything anew."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs behind it deaf to Ctrl-C, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

MAY_SKIP = "not on this system: "
"""A skip whose reason begins so is a matter of the platform and passes under CI too."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="the seed of the fixture `seed`")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    long_and_mixed_first(items)


def pytest_collection_finish() -> None:
    """What is loaded now stays: the collector need not walk it again at every turn."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    return scheduler(config, log)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """One number for everything random in a test: of its name, or `--seed N`."""
    given: int | None = request.config.getoption("--seed")
    value = zlib.crc32(request.node.nodeid.encode()) if given is None else given
    request.node.user_properties.append(("seed", value))
    return value


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    report: pytest.TestReport = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        for name, value in item.user_properties:
            if name == "seed":
                report.sections.append(("seed", f"again: pytest {item.nodeid} --seed {value}"))
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if MAY_SKIP not in reason:
            report.outcome = "failed"
            report.longrepr = f"skipped under CI=true: {reason}"


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    outcome = yield
    report: pytest.CollectReport = outcome.get_result()  # type: ignore[attr-defined]
    if CI and report.outcome == "skipped" and MAY_SKIP not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI=true: {report.longrepr}"  # type: ignore[assignment]
