"""One target under atheris: `python -m tests.fuzz.guided NAME [libFuzzer's options]`.

Ends with 0 if nothing was found; otherwise the input is in the artifact that it names.
"""

from __future__ import annotations

import sys

import atheris


def main() -> None:
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["spinney", "tests.fuzz"]):
        from tests.fuzz.targets import every_target

        target = every_target()[name]
    atheris.Setup(sys.argv, target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
