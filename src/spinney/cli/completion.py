"""`spinney completion SHELL`: the script that completes verbs, options and files."""

from __future__ import annotations

import click

HOW = {
    "bash": 'eval "$(spinney completion bash)"        # in ~/.bashrc',
    "zsh": 'eval "$(spinney completion zsh)"         # in ~/.zshrc',
    "fish": "spinney completion fish | source         # in ~/.config/fish/config.fish",
}


@click.command(
    name="completion",
    epilog="\b\nExamples:\n  " + "\n  ".join(HOW.values()),
)
@click.argument("shell", type=click.Choice(list(HOW)))
def command(shell: str) -> int:
    """Print the script that completes `spinney` in SHELL."""
    from click.shell_completion import get_completion_class

    from spinney.cli import command as spinney

    kind = get_completion_class(shell)
    assert kind is not None
    completion = kind(spinney, {}, "spinney", "_SPINNEY_COMPLETE")
    click.echo(_source(completion))
    return 0


def _source(completion: object) -> str:
    """The script without asking the shell for its version: it may not be on this machine."""
    from click.shell_completion import BashComplete, ShellComplete

    assert isinstance(completion, ShellComplete)
    if isinstance(completion, BashComplete):
        return ShellComplete.source(completion)
    return completion.source()
