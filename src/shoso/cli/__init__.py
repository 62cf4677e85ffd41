"""The command line: arguments and rendering only, a file per command group.

groups       commands found by name, imported when they're called; errors and exit codes
options      the options that commands share
artifacts, mlflow, db, experiments, fsck, gc, migrate, models, retention, runs, imports, sync, completion,
server       the commands

named        which runs or models a command is about
session      what a command talks to
places       what a URI names, and where a copy goes
indexes      what `db` does to indexes
imported     an import under way
collected    garbage collection under way
retired      retention under way; `retained` is what its `--json` prints
checked      a check under way
migrated     a migration under way
transfers    copies, deletions and verifications under way; `progress` shows how far they are
listing      what is at a URI
shapes       what `--json` prints; `reports` and `words` say it for people
"""

from __future__ import annotations

import click

from shoso import __version__
from shoso.cli.groups import Lazy

main = Lazy(
    "shoso",
    {
        "artifacts": "shoso.cli.artifacts:artifacts",
        "completion": "shoso.cli.completion:completion",
        "db": "shoso.cli.db:db",
        "experiments": "shoso.cli.experiments:experiments",
        "fsck": "shoso.cli.fsck:fsck",
        "gc": "shoso.cli.gc:gc",
        "import": "shoso.cli.imports:import_store",
        "migrate": "shoso.cli.migrate:migrate",
        "models": "shoso.cli.models:models",
        "retention": "shoso.cli.retention:retention",
        "runs": "shoso.cli.runs:runs",
        "server": "shoso.cli.server:server",
        "sync": "shoso.cli.sync:sync",
    },
    help="Artifact store and tracking server for machine-learning runs.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
click.version_option(__version__, prog_name="shoso")(main)
