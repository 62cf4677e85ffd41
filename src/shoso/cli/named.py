"""What a command is about: ids, as arguments or by MLflow's flag; each is changed by itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import click

Command = Callable[..., Any]


def one(noun: str, *flags: str) -> Callable[[Command], Command]:
    """The command gets the id that was named first of all. Raises UsageError for none, and for several."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(ids: tuple[str, ...], **asked: Any) -> Any:
            if len(ids) > 1:
                raise click.UsageError(f"Name one {noun}; there are {len(ids)}.")
            return command(ids[0], **asked)

        return several(noun, *flags)(run)

    return decorate


def several(noun: str, *flags: str) -> Callable[[Command], Command]:
    """The command gets `ids`: each that was named, once. Raises UsageError for none."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(given: tuple[str, ...], flagged: tuple[str, ...], **asked: Any) -> Any:
            if not (ids := tuple(dict.fromkeys((*given, *flagged)))):
                raise click.UsageError(f"Name the {noun}: its id, also as {flags[-1]}.")
            return command(ids=ids, **asked)

        run = click.option(*flags, "flagged", metavar="ID", multiple=True, help=f"The {noun}.")(run)
        return click.argument("given", metavar="ID...", nargs=-1)(run)

    return decorate


def change_each(
    ids: Sequence[str], change: Callable[[str], str], shape: Callable[[str], object], as_json: bool
) -> None:
    """Change each, and say what that did; where one fails, the rest goes on. Raises what failed."""
    from shoso.cli.shapes import show
    from shoso.errors import ShosoError

    said: dict[str, str] = {}
    failures: list[ShosoError] = []
    for id_ in ids:
        try:
            said[id_] = change(id_)
        except ShosoError as error:
            failures.append(error)
    if said or as_json:
        show([*map(shape, said)], "\n".join(said.values()), as_json)
    if len(failures) > 1:
        raise click.ClickException(" ".join(failure.message for failure in failures))
    if failures:
        raise failures[0]
