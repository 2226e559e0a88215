"""`spinney lab`: list, run, replay."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from cli.processes import run


def test_list_says_what_each_experiment_is_about() -> None:
    done = run("lab", "list")
    assert done.returncode == 0, done.stderr
    assert "echo\n    " in done.stdout


def test_run_writes_rows_and_replay_gives_the_same(tmp_path: Path) -> None:
    settings = ("--set", "clients=4", "--set", "loss=0,0.1")
    run_it = ("lab", "run", "echo", "--seeds", "2", "--workers", "1", *settings, "--json")
    done = run(*run_it, "--out", "results", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["seed"] for row in rows} == {0, 1}
    assert {row["loss"] for row in rows} == {0.0, 0.1}
    with (tmp_path / "results" / "echo.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    replay = ("lab", "replay", "echo", "--seed", "1", "--set", "clients=4", "--set", "loss=0.1")
    first = run(*replay, "--trace", "trace.jsonl", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout == run(*replay, cwd=tmp_path).stdout
    assert "digest " in first.stdout
    assert (tmp_path / "trace.jsonl").read_text()


def test_wrong_usage_says_what_there_is() -> None:
    for arguments, words in (
        (("run", "nothing"), "echo"),
        (("run", "echo", "--set", "nonsense"), "NAME=VALUE"),
        (("run", "echo", "--set", "colour=red"), "loss"),
        (("run", "echo", "--plot"), "--out"),
    ):
        done = run("lab", *arguments)
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr
