"""`shoso server`: MLflow's flags and variables, for what Shoso serves."""

from __future__ import annotations

import os
from typing import Any

import click

from shoso.errors import ConfigError
from shoso.settings import SERVER, Setting, server_settings

_SHORT = {"host": "-h", "port": "-p", "workers": "-w"}

NOT_SERVED = {
    "--app-name": "access control isn't part of Shoso yet",
    "--gunicorn-opts": "Shoso brings its own server; use --workers",
    "--waitress-opts": "Shoso brings its own server; use --workers",
    "--uvicorn-opts": "Shoso sets uvicorn's options itself",
    "--expose-prometheus": "metrics aren't part of Shoso yet",
    "--registry-store-uri": "the registry isn't part of Shoso yet",
    "--read-replica-backend-store-uri": "read replicas aren't part of Shoso yet",
    "--enable-workspaces": "Shoso has no workspaces",
    "--disable-workspaces": "Shoso has no workspaces",
    "--workspace-store-uri": "Shoso has no workspaces",
    "--disable-security-middleware": "Shoso's can't be switched off; widen --allowed-hosts",
    "--trace-archival-config": "Shoso keeps no traces",
    "--secrets-cache-max-size": "Shoso keeps no secrets",
    "--secrets-cache-ttl": "Shoso keeps no secrets",
    "--dev": "Shoso doesn't reload itself",
}
"""MLflow's flags that a team may bring along, and what to say of them."""


class _Command(click.Command):
    """Names an unknown flag, and says more of those that are MLflow's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for argument in args:
            flag = argument.partition("=")[0]
            if flag in NOT_SERVED:
                raise click.UsageError(f"{flag} is MLflow's, and {NOT_SERVED[flag]}. Start without it.", ctx)
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
