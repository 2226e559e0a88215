"""The command `spinney`: one file a verb, imported when it is invoked.

Nothing heavy is imported here: `spinney --version` must answer within 150 ms, and does not
load asyncio, ssl, rich or any room (`tests/project/test_startup.py`).
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import NoReturn

import click

from spinney import __version__

VERBS = ("share", "get", "show", "verify", "tracker", "registry", "doctor", "lab", "completion")
"""In the order in which `spinney --help` lists them; each is `spinney.cli.VERB:command`."""

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


class Verbs(click.Group):
    """Imports a verb when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"spinney.cli.{cmd_name}")
        command: click.Command = module.command
        return command


@click.command(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (run it again to resume).",
)
@click.version_option(__version__, prog_name="spinney")
def command() -> None:
    """Move files from one machine to many: verified, resumable, without a server farm.

    \b
    On one machine:   spinney share holiday.mp4
    On the others:    spinney get 'magnet:?xt=...'
    """


def main() -> NoReturn:
    """Runs the command and leaves with its exit code; a failure is one sentence on stderr."""
    from spinney.cli import stdstreams

    stdstreams.fill()
    # numpy adds up symbols here, and no matrices: its start takes half as long without threads.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    code = run(sys.argv[1:])
    gc.freeze()  # else Python searches all that was imported for garbage before it leaves
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """The exit code of `spinney ARGUMENTS`."""
    from spinney.errors import SpinneyError, UsageError

    try:
        result = command.main(arguments, prog_name="spinney", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return WRONG_USAGE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SpinneyError as error:
        from spinney.cli.words import printable

        click.echo(f"spinney: {printable(str(error))}", err=True)
        return WRONG_USAGE if isinstance(error, UsageError) else FAILED
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise  # of a file, that should have been a StorageError; or no error of the system
        return _not_written(error)
    return result if isinstance(result, int) else DONE


def _not_written(error: OSError) -> int:
    """Our output cannot be written; when only its reader is gone, nobody wants to know."""
    from spinney.cli.stdstreams import drop_output

    drop_output()
    if not isinstance(error, BrokenPipeError):
        click.echo(f"spinney: cannot write the output: {error.strerror}", err=True)
    return FAILED
