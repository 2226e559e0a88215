"""The laboratory: experiments found, run over seeds and parameters, written, replayed."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from spinney import lab
from spinney.errors import UsageError
from spinney.lab import plot, registry
from spinney.lab.experiment import Check, Experiment, Row, Trial
from spinney.lab.sweep import replay_command, sweep

QUICK = {"clients": 2, "requests": 5}


def test_every_experiment_says_what_it_is() -> None:
    found = lab.list()
    assert "echo" in [experiment.name for experiment in found]
    for experiment in found:
        assert experiment.doc
        assert experiment.checks, f"{experiment.name} checks nothing"
        for key, values in experiment.grid.items():
            for value in values:
                assert experiment.with_defaults({key: value})[key] == value
        assert set(experiment.bounds) <= set(experiment.parameters)


def test_a_sweep_runs_every_seed_with_every_combination() -> None:
    done = lab.run("echo", 2, {**QUICK, "loss": [0.0, 0.5], "attempts": [1, 4]}, workers=1)
    points = [(r.parameters["loss"], r.parameters["attempts"], r.seed) for r in done.results]
    assert points == [(loss, a, seed) for loss in (0, 0.5) for a in (1, 4) for seed in (0, 1)]
    assert done.failures == []
    assert len(done.rows) == 8 * 2
    lossless = [row for row in done.rows if row["loss"] == 0]
    assert all(row["answered"] == 5 for row in lossless)
    assert any(row["failed"] for row in done.rows if (row["loss"], row["attempts"]) == (0.5, 1))


def test_all_cores_give_what_one_gives() -> None:
    told: list[int] = []
    given = {**QUICK, "loss": [0.1, 0.2]}
    alone = lab.run("echo", [3, 9], given, workers=1)
    together = lab.run(
        "echo", [3, 9], given, workers=2, told=lambda result, done, total: told.append(done)
    )
    assert [r.digest for r in alone.results] == [r.digest for r in together.results]
    assert alone.rows == together.rows
    assert told == [1, 2, 3, 4]


def test_a_replay_is_the_same_run_with_a_trace(tmp_path: Path) -> None:
    (result,) = lab.run("echo", [7], {**QUICK, "loss": 0.3}, workers=1).results
    trace = tmp_path / "trace.jsonl"
    again = lab.replay("echo", 7, {**QUICK, "loss": "0.3"}, str(trace))
    assert (again.digest, again.rows) == (result.digest, result.rows)
    rows = [json.loads(line) for line in trace.read_text().splitlines()]
    assert {"datagram", "lost"} <= {row["event"] for row in rows}


def test_what_a_sweep_writes(tmp_path: Path) -> None:
    done = lab.run("echo", 2, {**QUICK, "loss": [0.0, 0.2]}, str(tmp_path), workers=1)
    with (tmp_path / "echo.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert rows[0]["loss"] == "0.0"
    assert list(rows[0])[:3] == ["seed", "clients", "requests"]
    document = json.loads((tmp_path / "echo.json").read_text())
    assert document["experiment"] == "echo"
    assert [trial["digest"] for trial in document["trials"]] == [r.digest for r in done.results]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["echo.csv", "echo.json"]


def failing() -> Experiment:
    def run(trial: Trial) -> Iterator[Row]:
        if trial.seed == 1:
            raise RuntimeError("this seed is special")
        yield {"odd": trial.seed % 2}

    return Experiment(
        name="failing",
        doc="Fails for some seeds",
        parameters={"size": 3, "name": "x"},
        run=run,
        checks=(Check("nothing is odd", lambda rows: not any(row["odd"] for row in rows)),),
    )


def test_a_seed_that_fails_is_kept_with_the_command_that_repeats_it(tmp_path: Path) -> None:
    from spinney.lab import output

    done = sweep(failing(), range(4), {"size": 5, "name": "two words"}, workers=1)
    assert [result.seed for result in done.failures] == [1, 3]
    assert "this seed is special" in done.failures[0].error
    assert done.failures[1].error == "does not hold: nothing is odd"
    output.write(done, tmp_path)
    lines = (tmp_path / "failing.failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["replay"] for line in lines] == [
        f"spinney lab replay failing --seed {seed} --set size=5 --set 'name=two words'"
        for seed in (1, 3)
    ]
    assert replay_command(failing(), done.results[0]).endswith("'name=two words'")


def test_parameters_are_checked_and_take_the_type_of_their_default() -> None:
    experiment = failing()
    assert experiment.with_defaults({"size": "7"}) == {"size": 7, "name": "x"}
    with pytest.raises(UsageError, match="no parameter 'sise'; it has: name, size"):
        experiment.with_defaults({"sise": 7})
    with pytest.raises(UsageError, match="'seven' is no whole number"):
        experiment.with_defaults({"size": "seven"})
    with pytest.raises(UsageError, match=r"no experiment 'ecko'; there are: .*echo"):
        lab.run("ecko")


def test_a_plot_is_drawn_or_said_to_be_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="does not say what to plot"):
        plot.require(failing())
    given = {**QUICK, "loss": [0.0, 0.2]}
    with monkeypatch.context() as patched:
        patched.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(UsageError, match="install spinney\\[lab\\]"):
            lab.run("echo", 1, given, str(tmp_path), plot=True, workers=1)
    assert list(tmp_path.iterdir()) == []
    pytest.importorskip("matplotlib")
    lab.run("echo", 2, given, str(tmp_path), plot=True, workers=1)
    assert (tmp_path / "echo.png").read_bytes().startswith(b"\x89PNG")


def test_the_registry_finds_files_without_importing_them() -> None:
    assert "echo" in registry.names()
    assert not registry.ENGINE & set(registry.names())
