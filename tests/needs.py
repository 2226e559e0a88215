"""What a test needs of the machine: programs, modules, rights.

A missing one skips the test on a developer's machine and fails it where CI=true, because
`.ci/run` installs everything and nothing that CI should run is skipped.
"""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import subprocess
from types import ModuleType

import pytest

CI = os.environ.get("CI", "").lower() == "true"


def _missing(reason: str) -> None:
    if CI:
        pytest.fail(f"{reason} (CI=true: .ci/run has to provide it)", pytrace=False)
    pytest.skip(reason)


def require_program(name: str) -> str:
    """The program's path."""
    path = shutil.which(name)
    if path is None:
        _missing(f"the program {name} is not installed")
    assert path is not None
    return path


def require_module(name: str) -> ModuleType:
    """The imported module."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        _missing(f"the module {name} does not import: {error}")
        raise AssertionError from error


@functools.cache
def _may_make_namespaces() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"spinney-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, timeout=20)
    if made.returncode:
        return False
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=20)
    return True


def require_root() -> None:
    """The rights to make network namespaces."""
    if not _may_make_namespaces():
        _missing("no right to make network namespaces (needs root and iproute2)")
