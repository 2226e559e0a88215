"""`spinney lab`: experiments with the real protocol code in a simulated network."""

from __future__ import annotations

import click


@click.group(name="lab", epilog="Example:  spinney lab run swarm --seeds 5")
def command() -> None:
    """Run experiments: the real protocol code in a simulated network."""
