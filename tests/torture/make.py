"""Writes the torture torrents: `python -m tests.torture.make` from the repository's folder.

The files are kept in the repository, so that other programs can be held against them too, and
so that a change to what makes them shows as a diff.
"""

from __future__ import annotations

from pathlib import Path

from tests.torture.accepted import all_accepted
from tests.torture.refused import all_refused

FOLDER = Path(__file__).parent / "torrents"


def files() -> dict[str, bytes]:
    rows = [*((name, data) for name, _, data in all_refused())]
    rows += [(name, data) for name, _, data in all_accepted()]
    named = dict(rows)
    assert len(named) == len(rows), "two torrents of one name"
    return {f"{name}.torrent": data for name, data in named.items()}


def main() -> None:
    for old in FOLDER.glob("*.torrent"):
        old.unlink()
    for name, data in files().items():
        (FOLDER / name).write_bytes(data)


if __name__ == "__main__":
    main()
