"""The tables of keep-alives and offered files: real groups, few and short."""

from __future__ import annotations

from typing import Any

from spinney import lab


def row(name: str, **parameters: Any) -> dict[str, Any]:
    result = lab.replay(name, 0, parameters)
    assert not result.error
    return dict(result.rows[0])


def test_a_longer_interval_is_longer_without_a_leader_and_says_less() -> None:
    few = {"members": 4, "kills": 2}
    quick = row("keep-alives", keep_alive_s=0.2, **few)
    slow = row("keep-alives", keep_alive_s=2.0, **few)
    assert quick["without_mean_s"] < 1.0 < slow["without_mean_s"]
    assert quick["control_bytes_per_s"] > 1.5 * slow["control_bytes_per_s"]
    assert quick["needless"] == slow["needless"] == 0


def test_the_last_waits_for_all_turns_and_few_groups_are_joined() -> None:
    small = {"size_kib": 64}
    turns = row("offered-files", files=4, at_once=1, **small)
    more_turns = row("offered-files", files=8, at_once=1, **small)
    together = row("offered-files", files=8, at_once=0, **small)
    assert turns["last_s"] * 1.5 < more_turns["last_s"]
    assert together["last_s"] < 0.5 * more_turns["last_s"]
    assert (turns["groups_offerer"], together["groups_offerer"]) == (3, 17)
    assert turns["groups_getter"] == together["groups_getter"] == 3


def test_files_that_nobody_wants_cost_the_others_time() -> None:
    rows = [
        row("offered-files", files=8, at_once=1, size_kib=64, wanted=wanted, frame_s=3.0)
        for wanted in (1.0, 0.25)
    ]
    assert rows[1]["wanted_files"] == 2
    assert rows[1]["last_s"] > 4 * rows[1]["bound_s"] + 3.0
