"""Targets under atheris: `python -m tests.fuzz.guided FOLDER NAME... -- [libFuzzer's options]`.

A target has a folder of its own, `FOLDER/NAME`: its seeds are in `seeds`, what is printed goes to
`said`, inputs that break something are left there.  The targets run one after the other, each in a
child (atheris never returns), so that the program is loaded and instrumented once.  On standard
output: a line `NAME EXIT-CODE` for each.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import atheris


def run(target: Callable[[bytes], None], place: Path, options: list[str]) -> int:
    """The exit code of one target's child."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = os.open(place / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    words = [sys.argv[0], *options, f"-artifact_prefix={place}/", str(place / "seeds")]
    atheris.Setup(words, target)
    atheris.Fuzz()  # ends the process, or raises what the target raised
    raise AssertionError("atheris returned")


def main() -> None:
    cut = sys.argv.index("--")
    folder, names, options = Path(sys.argv[1]), sys.argv[2:cut], sys.argv[cut + 1 :]
    with atheris.instrument_imports(include=["spinney", "tests.fuzz"]):
        from tests.fuzz.targets import every_target

        targets = every_target()
    for name in names:
        print(name, run(targets[name].run, folder / name, options), flush=True)


if __name__ == "__main__":
    main()
