"""``plait completion``: a script that makes the shell complete verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_EXAMPLE = """
Example: eval "$(plait completion bash)"
"""


@click.command(epilog=_EXAMPLE)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell."""
    found = get_completion_class(shell)
    root = click.get_current_context().find_root().command
    if found is not None:
        click.echo(found(root, {}, "plait", "_PLAIT_COMPLETE").source())
