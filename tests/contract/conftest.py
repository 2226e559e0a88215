"""The sides of the contract: `machines` runs a check on each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.machines import Machines
from needs import require_root

SIDES = ("live", "plain", "sim")
SLOW_BYTES_PER_S = 4_000_000


def build(side: str, folder: Path, *, isolated: bool = False, slow: bool = False) -> Machines:
    """`isolated`: the check needs IPv6 multicast or death; `slow`: a line of 4 MB/s."""
    rate = SLOW_BYTES_PER_S if slow else None
    if side == "sim":
        from contract.sim_machines import SimMachines

        return SimMachines(slow_bytes_per_s=rate)
    # Imported here: without the live side, the simulated one must still pass.
    from contract.live_machines import IsolatedMachines, LiveMachines

    plain = side == "plain"
    if isolated or slow:
        require_root()
        return IsolatedMachines(folder, plain=plain, slow_bytes_per_s=rate)
    return LiveMachines(folder, plain=plain)


@pytest.fixture(params=SIDES)
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    built = build(request.param, tmp_path)
    yield built
    built.close()


@pytest.fixture(params=SIDES)
def isolated_machines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    built = build(request.param, tmp_path, isolated=True)
    yield built
    built.close()


@pytest.fixture(params=SIDES)
def slow_machines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machines]:
    built = build(request.param, tmp_path, slow=True)
    yield built
    built.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what makes namespaces, for those who want to leave it out (`-m "not needs_root"`)."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        side = item.name.partition("[")[2]
        if {"isolated_machines", "slow_machines"} & set(fixtures) and not side.startswith("sim"):
            item.add_marker(pytest.mark.needs_root)
