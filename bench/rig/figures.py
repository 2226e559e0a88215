"""Runs every benchmark, one after the other, and writes what they print to docs/figures.md.

    python bench/rig/figures.py [NAME ...]

Nothing else may run on the machine meanwhile.  Some need root (network namespaces).
"""

from __future__ import annotations

import os
import platform
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
    "tracker",
    "multicast",
    "lab",
)


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
    for name in sys.argv[1:] or SCRIPTS:
        print(f"== bench/{name}.py", flush=True)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(BENCH / f"{name}.py")],
            stdout=subprocess.PIPE,
            text=True,
        )
        print(done.stdout, flush=True)
        parts.append(f"## bench/{name}.py\n\n```\n{done.stdout.strip()}\n```")
        if done.returncode:
            failed = True
            parts.append(f"It ended with exit code {done.returncode}.")
    TARGET.write_text("\n\n".join(parts) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
