"""``plait store``: the database of a control plane that is not running."""

from __future__ import annotations

from pathlib import Path

import click

_EXAMPLE = """
Example: plait store recover --data /var/lib/plait
"""


@click.group(epilog=_EXAMPLE)
def command() -> None:
    """Look after the database."""


@command.command(epilog=_EXAMPLE)
@click.option("--data", type=Path, help="The data directory; default: that of plait serve.")
def recover(data: Path | None) -> None:
    """Save what can be read of a damaged database into a new one; the damaged file is kept."""
    from plait import settings
    from plait.base.errors import PlaitError
    from plait.config import recovery

    try:
        found = recovery.recover(settings.load({"data": data}).data)
    except PlaitError as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"{found.file}: {found.objects} objects in {found.revisions} revisions were saved, "
        f"{found.lost} rows were lost; the damaged file is {found.kept}"
    )
