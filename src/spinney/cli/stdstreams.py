"""Standard streams that are closed or cannot be written: the command goes on, or says so."""

from __future__ import annotations

import os
import sys

closed_at_start: set[str] = set()
"""Which of `stdin`, `stdout`, `stderr` the caller had closed."""


def fill() -> None:
    """Opens the null device wherever standard input, output or error is closed.

    Else the next file or socket gets its number, and what is meant for the terminal goes there.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # gets the lowest number: this one
            assert opened == number
            closed_at_start.add(name)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def drop_output() -> None:
    """What could not be written is let go, else the interpreter complains at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
