"""``plait version``: of this program, and of the control plane it talks to."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import click

from plait.ui.cli import common, output

_EXAMPLE = """
Example: plait version -o json
"""


@click.command(epilog=_EXAMPLE)
@click.option(
    "-o", "--output", "form", type=click.Choice(["table", "json", "yaml"]), default="table"
)
@click.option("--client", "alone", is_flag=True, help="Only of this program.")
def command(form: str, alone: bool) -> None:
    """Show versions; that the control plane does not answer is no error."""
    found: dict[str, Any] = {"client": metadata.version("plait")}
    if not alone:
        try:
            found["server"] = common.client().ask("GET", "/plait/v1/version").body
        except click.ClickException as error:
            found["error"] = error.message
    if form != "table":
        click.echo(output.data(found, form))
        return
    click.echo(f"client {found['client']}")
    if "server" in found:
        click.echo(f"server {found['server']['version']}, revision {found['server']['revision']}")
    elif "error" in found:
        click.echo(found["error"], err=True)
