"""Runs every benchmark, one after the other, and writes what they print to docs/figures.md.

    python bench/rig/figures.py [NAME ...]

With names only those are measured; the sections of the others stay on the page as they are.
Nothing else may run on the machine meanwhile.  Some need root (network namespaces).
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
TARGET = BENCH.parent / "docs" / "figures.md"
SCRIPTS = (
    "loopback",
    "swarm",
    "simulated_swarm",
    "simulator",
    "startup",
    "transfer",
    "datagrams",
    "codes",
    "tracker",
    "registry",
    "multicast",
    "lab",
)


def earlier_sections() -> dict[str, str]:
    """What the page says now, by the name of the script."""
    if not TARGET.exists():
        return {}
    parts = re.split(r"^## bench/(\w+)\.py$", TARGET.read_text(), flags=re.MULTILINE)
    return {
        name: f"## bench/{name}.py\n\n{text.strip()}"
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def main() -> None:
    """Writes the page; a benchmark that fails is said there and ends with exit code 1."""
    version = platform.python_version()
    parts = [
        "# Figures",
        "Written by `make figures`, which runs every script under `bench/` on an idle machine:"
        f" here {os.cpu_count()} cores, Python {version}, {platform.system()}."
        " Absolute figures vary between machines and hours; the ratios of runs in turns are"
        " what counts.",
    ]
    failed = False
    chosen = sys.argv[1:] or SCRIPTS
    sections = {} if chosen is SCRIPTS else earlier_sections()
    for name in chosen:
        print(f"== bench/{name}.py", flush=True)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(BENCH / f"{name}.py")],
            stdout=subprocess.PIPE,
            text=True,
        )
        print(done.stdout, flush=True)
        sections[name] = f"## bench/{name}.py\n\n```\n{done.stdout.strip()}\n```"
        if done.returncode:
            failed = True
            sections[name] += f"\n\nIt ended with exit code {done.returncode}."
    parts += [sections[name] for name in SCRIPTS if name in sections]
    TARGET.write_text("\n\n".join(parts) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
