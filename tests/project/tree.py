"""The project's own files, and the imports in them: for the tests that read the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "spinney"
OUTSIDE = {"build", "dist", "out"}
"""Folders that are made, not written (and everything that begins with a dot, but `.ci`)."""


def module_name(path: Path) -> str:
    """`src/spinney/net/host.py` is `spinney.net.host`; `__init__.py` is its package."""
    parts = list(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def source_files() -> Iterator[Path]:
    """Every module of the package."""
    return iter(sorted(PACKAGE.rglob("*.py")))


def all_files() -> Iterator[Path]:
    """Every file that people wrote."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") and part not in (".ci", ".gitignore") for part in parts)
        if (
            path.is_file()
            and not hidden
            and not OUTSIDE & set(parts)
            and "__pycache__" not in parts
        ):
            yield path


def imported(source: str, module: str, *, package: bool = False) -> Iterator[tuple[int, str]]:
    """(line, full name) of everything that a module imports, at the top or anywhere inside.

    `from a import b` gives `a.b`, for b may be a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                keep = len(parts) - node.level + (1 if package else 0)
                base = ".".join([*parts[:keep], *([base] if base else [])])
            for alias in node.names:
                yield node.lineno, base if alias.name == "*" else f"{base}.{alias.name}"
