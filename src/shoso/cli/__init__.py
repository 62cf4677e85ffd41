"""The command line: arguments and rendering only, a file per command group."""

from __future__ import annotations

import click

from shoso import __version__
from shoso.cli.server import server


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="shoso")
def main() -> None:
    """Artifact store and tracking server for machine-learning runs."""


main.add_command(server)
