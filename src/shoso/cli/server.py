"""`shoso server`: MLflow's flags and variables, for what Shoso serves."""

from __future__ import annotations

import os
from typing import Any

import click

from shoso.cli.groups import refuse_unserved
from shoso.core.options import Setting
from shoso.errors import ConfigError
from shoso.settings import NOT_SERVED, SERVER, server_settings

_SHORT = {"host": "-h", "port": "-p", "workers": "-w"}


class _Command(click.Command):
    """Names an unknown flag, and says more of those that are MLflow's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        refuse_unserved(ctx, args, NOT_SERVED, "Start without it.")
        return super().parse_args(ctx, args)


@click.command(cls=_Command, context_settings={"help_option_names": ["--help"]})
def server(**flags: Any) -> None:
    """Serve MLflow's REST API: tracking and artifacts.

    Every flag has a variable, shown with it; the flag wins.
    """
    from shoso.server.process import serve

    try:
        serve(server_settings(flags, os.environ))
    except ConfigError as error:
        raise click.ClickException(error.message) from None


def _option(setting: Setting) -> click.Option:
    names = [setting.flag, *([_SHORT[setting.field]] if setting.field in _SHORT else [])]
    explained = f"{setting.help}  [{setting.variable}; {_shown(setting.default)}]"
    if isinstance(setting.default, bool) and setting.field != "artifacts_only":
        return click.Option([f"{setting.flag}/--no-{setting.flag[2:]}"], default=None, help=explained)
    if isinstance(setting.default, bool):
        return click.Option(names, is_flag=True, default=None, help=explained)
    return click.Option(names, default=None, metavar="VALUE", help=explained)


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return str(default) if default not in ("", ()) else "unset"


server.params.extend(_option(setting) for setting in SERVER)
