"""`spinney lab`: list, run, replay."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from cli.processes import environment, here, run


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


def test_a_count_of_trials_is_for_terminals() -> None:
    done = run("lab", "run", "echo", "--seeds", "2", "--workers", "1", "--set", "clients=1")
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not done.stderr


def test_wrong_usage_says_what_there_is() -> None:
    for arguments, words in (
        (("run", "nothing"), "echo"),
        (("run", "echo", "--set", "nonsense"), "NAME=VALUE"),
        (("run", "echo", "--set", "colour=red"), "loss"),
        (("run", "echo", "--plot"), "--out"),
        (("run", "swarm", "--set", "peers=0"), "peers=0"),
        (("run", "swarm", "--set", "size_kib=0"), "size_kib=0"),
        (("run", "echo", "--set", "clients=x"), "whole number"),
        (("replay", "swarm", "--set", "peers=2,3"), "one value"),
    ):
        done = here("lab", *arguments)
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_results_and_traces_need_a_place_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    few = ("--set", "clients=1", "--set", "requests=1")
    for arguments, option in (
        (("run", "echo", *few, "--out", "file/results"), "--out"),
        (("replay", "echo", *few, "--trace", "file/trace"), "--trace"),
        (("replay", "echo", *few, "--trace", "/dev/full"), "--trace"),
    ):
        if "/dev/full" in arguments and not Path("/dev/full").exists():
            continue  # Linux's
        done = here("lab", *arguments, cwd=tmp_path)
        assert done.returncode == 1, done.stderr
        assert option in done.stderr
        assert "trials" not in done.stderr
        assert "Traceback" not in done.stderr


def test_ctrl_c_ends_a_sweep_and_its_workers_at_once(tmp_path: Path) -> None:
    sweep = [sys.executable, "-m", "spinney", "lab", "run", "swarm", "--set", "peers=60"]
    with subprocess.Popen(
        [*sweep, "--workers", "2", "--out", "results"],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as started:
        while not (tmp_path / "results").exists():  # made just before the workers start
            assert started.poll() is None, started.communicate()[1]
            time.sleep(0.05)
        time.sleep(1.0)
        os.killpg(started.pid, signal.SIGINT)
        began = time.monotonic()
        _, error = started.communicate(timeout=30)  # the workers hold stderr until they end
        assert started.returncode == 130
        assert b"Traceback" not in error
        assert time.monotonic() - began < 5
