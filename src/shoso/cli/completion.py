"""`shoso completion`: the script by which a shell completes Shoso's commands and options."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands, options and paths.

    \b
    bash:  eval "$(shoso completion bash)"     in ~/.bashrc
    zsh:   eval "$(shoso completion zsh)"      in ~/.zshrc, behind compinit
    fish:  shoso completion fish > ~/.config/fish/completions/shoso.fish
    """
    from click.shell_completion import get_completion_class

    from shoso.cli import main

    if (kind := get_completion_class(shell)) is not None:
        click.echo(kind(main, {}, "shoso", "_SHOSO_COMPLETE").source())
