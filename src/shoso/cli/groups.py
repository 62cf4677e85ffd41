"""Commands found by name, and what becomes of an error: a sentence and an exit code.

0    done
1    failed, in part or whole
2    the command line can't be understood
3-5  what `shoso fsck` and `shoso db check` have found
130  interrupted (SIGINT, SIGTERM): the same command goes on
"""

from __future__ import annotations

import errno
import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click
from click.core import ParameterSource


class Interrupted(click.ClickException):
    """The user wants no more of it."""

    exit_code = 130

    def __init__(self, message: str = "Interrupted.") -> None:
        super().__init__(message)

    def show(self, file: Any = None) -> None:
        """One line, which is no error."""
        click.echo(self.message, file, err=True)


@contextmanager
def loading() -> Iterator[None]:
    """Look for no garbage among modules, now or later: it took a seventh of their time, and there is none."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def refuse_unserved(ctx: click.Context, args: Iterable[str], flags: Mapping[str, str], fix: str) -> None:
    """Raise UsageError for a flag that is MLflow's alone, with why it isn't Shoso's."""
    for argument in args:
        flag = argument.partition("=")[0]
        if flag in flags:
            raise click.UsageError(f"{flag} is MLflow's, and {flags[flag]}. {fix}", ctx)


def require_none_before(ctx: click.Context) -> None:
    """Raise UsageError for an option in front of a subcommand, which would do without it and say nothing.

    Of a command that deletes, what was to hold it back (--dry-run, --trash, an id) must not be lost.
    """
    for option in ctx.command.params:
        if ctx.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE:
            flag = max(option.opts, key=len)
            place = f"{ctx.command_path} {ctx.invoked_subcommand}"
            message = f"{flag} in front of '{ctx.invoked_subcommand}' isn't heeded; write it behind: {place}"
            raise click.UsageError(f"{message} {flag} …", ctx)


class Lazy(click.Group):
    """A group whose commands, as name → "module:command", are imported when they're asked for."""

    def __init__(self, name: str, places: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return [*self._places]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        if (place := self._places.get(cmd_name)) is None:
            return None
        module, _, name = place.partition(":")
        with loading():
            command: click.Command = getattr(import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Carry out a command; an error is shown as its sentence."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            raise Interrupted from None
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception as error:
            if (sentence := _sentence(error)) is None:
                raise
            raise click.ClickException(sentence) from None


def _sentence(error: Exception) -> str | None:
    """What to tell of an error; None for one that nobody foresaw."""
    from shoso.cli.words import printable
    from shoso.errors import ShosoError

    if isinstance(error, ShosoError):
        return printable(" ".join(error.message.splitlines()))
    if isinstance(error, OSError) and error.errno != errno.EPIPE:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}."
    return None
