"""The command's face: help with examples, completion, exit codes of wrong usage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from needs import require_program
from spinney.cli import VERBS, command, run


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example" in out
    assert "spinney " + verb in out.split("Example", 1)[1]


def test_help_lists_the_verbs_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    listed = capsys.readouterr().out.split("Commands:")[1]
    places = [listed.index(f"\n  {verb}") for verb in VERBS]
    assert places == sorted(places)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_SPINNEY_COMPLETE" in capsys.readouterr().out


LOADS = {
    "bash": ('eval "$(cat "$1")"; complete -p spinney', "spinney"),
    "zsh": (
        'autoload -Uz compinit; compinit -u -D; eval "$(cat "$1")"; echo $_comps[spinney]',
        "_spinney_completion",
    ),
    "fish": ("source $argv[1]; complete -c spinney", "spinney"),
}


@pytest.mark.parametrize("shell", LOADS)
def test_the_shell_loads_the_script_and_completes_with_it(
    shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    program = require_program(shell)
    assert run(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    how, said = LOADS[shell]
    bare = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    name = [] if shell == "fish" else ["x"]
    loaded = subprocess.run(
        [program, *bare, "-c", how, *name, str(script)],
        capture_output=True, text=True, timeout=30, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert loaded.returncode == 0, loaded.stderr
    assert not loaded.stderr
    assert said in loaded.stdout
    asked = subprocess.run(
        [sys.executable, "-m", "spinney"],
        capture_output=True, text=True, timeout=30,
        env={**os.environ, "_SPINNEY_COMPLETE": f"{shell}_complete", "COMP_WORDS": "spinney sh",
             "COMP_CWORD": "sh" if shell == "fish" else "1"},
    )  # fmt: skip
    assert "share" in asked.stdout
    assert "show" in asked.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["get"],
        ["get", "x", "--port", "70000"],
        ["share", "x", "--up", "fast"],
        ["share", "x", "--until-complete", "0"],
        ["share", "x", "--format", "v3"],
        ["completion", "tcsh"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["share", "get"])
def test_common_options_read_alike(verb: str) -> None:
    import click

    verb_command = command.get_command(click.Context(command), verb)
    assert verb_command is not None
    names = {name for option in verb_command.params for name in option.opts}
    assert {"--port", "--interface", "--up", "--down", "--json", "-v", "--quiet"} <= names
    assert {"--log-file", "--peer", "--tracker", "--no-lan"} <= names
