"""The command ``winnow``: its verbs, and what becomes of errors.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 done but some records were
bad, 2 usage, configuration or a file that cannot be read, 130 interrupted. An error is one line;
``WINNOW_DEBUG=1`` shows where it came from. A closed pipe ends a command quietly.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.main import get_command

from filter.cli import conversion, corpus, evaluation, jobs, models, selection, training
from filter.cli.benchmark import benchmark
from filter.cli.clean import clean
from filter.cli.parsing import Command, Group
from filter.cli.spans import spans
from filter.errors import WinnowError

# Help without rich markup: rich takes as long to import as a page to clean.
app = typer.Typer(
    name="winnow",
    help="Takes injected spam out of Chinese web articles, character by character.",
    cls=Group,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    *(clean, spans),
    *jobs.VERBS,
    benchmark,
    *conversion.VERBS,
    *training.VERBS,
    *evaluation.VERBS,
    *models.VERBS,
    *selection.VERBS,
):
    app.command(cls=Command)(verb)
app.add_typer(corpus.corpus)

ClickError: type[Exception] = typer.BadParameter.__mro__[2]
"""What the parser raises on a usage error; typer has no public name for it in all its versions."""


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Takes injected spam out of Chinese web articles, character by character."""
    if version:
        from filter import __version__

        print(f"winnow {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit


def run(arguments: list[str], *, program: typer.Typer = app) -> int:
    """Runs one command.

    Args:
        arguments: The command line without the name of the program.
        program: What has the command.

    Returns:
        The exit code.
    """
    command = get_command(program)
    try:
        with command.make_context("winnow", arguments) as context:
            return int(command.invoke(context) or 0)
    except typer.Exit as stop:
        return stop.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _discard_stdout()
        return 0
    except WinnowError as error:
        return _fail(error, str(error), error.exit_code)
    except ClickError as error:
        return _fail(error, error.format_message(), 2)  # type: ignore[attr-defined]  # click's
    except OSError as error:
        if error.strerror is None:
            raise
        _discard_stdout()
        where = f"{error.filename}: " if error.filename else ""
        return _fail(error, f"{where}{error.strerror}", 2)


def main() -> None:
    """The entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run_script(function: Callable[..., Any]) -> None:
    """Runs a module's own command, with its errors on one line as those of the verbs are."""
    script = typer.Typer(add_completion=False, rich_markup_mode=None)
    script.command()(function)
    sys.exit(run(sys.argv[1:], program=script))


def _discard_stdout() -> None:
    """Lets go of what is still to be written; Python would try once more on exit, and say so."""
    with suppress(OSError):  # stdout may be no file at all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: Exception, message: str, code: int) -> int:
    if os.environ.get("WINNOW_DEBUG") == "1":
        raise error
    print(f"winnow: error: {' '.join(message.split())}", file=sys.stderr)
    return code
