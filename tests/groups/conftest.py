"""The implementations of groups, each on both kinds of host: `side` runs a check on each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from groups.sides import KINDS, LiveSide, Side, SimSide
from needs import require_root

SIDES = [f"{kind}-{where}" for where in ("live", "plain", "sim") for kind in KINDS]


def build(name: str, *, slow: bool = False) -> Side:
    """`slow`: whatever is sent goes by a line of 2 MB/s.  `plain`: live, without the system
    calls that Windows lacks."""
    kind, _, where = name.partition("-")
    if where == "sim":
        return SimSide(kind, slow=slow)
    isolated = kind == "ip6" or slow  # no route for IPv6 groups leads to loopback
    if isolated:
        require_root()
    return LiveSide(kind, isolated=isolated, slow=slow, plain=where == "plain")


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    built = build(request.param)
    yield built
    built.close()


@pytest.fixture(params=SIDES)
def slow_side(request: pytest.FixtureRequest) -> Iterator[Side]:
    built = build(request.param, slow=True)
    yield built
    built.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what makes namespaces, for those who want to leave it out (`-m "not needs_root"`)."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        name = item.name.partition("[")[2]
        live = "-live" in name or "-plain" in name
        if live and ("slow_side" in fixtures or ("side" in fixtures and "ip6" in name)):
            item.add_marker(pytest.mark.needs_root)
