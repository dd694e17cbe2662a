"""``plait token api``: tokens for who uses the API."""

from __future__ import annotations

from urllib.parse import quote

import click

from plait.ui.cli import common

PREFIX = "api-"
"""With which the ids of these tokens begin."""
PAGE = "/plait/v1/api-tokens"
_EXAMPLE = """
Example: plait token api ann --role editor --namespace demo --ttl 8h
"""


@click.command(epilog=_EXAMPLE)
@click.argument("subject")
@click.option("--role", type=click.Choice(["viewer", "editor", "admin"]), required=True)
@click.option("-n", "--namespace", "namespaces", multiple=True, help="Where an editor may write.")
@click.option(
    "--ttl", default="24h", show_default=True, callback=common.duration, help="Good for so long."
)
def api(subject: str, role: str, namespaces: tuple[str, ...], ttl: int) -> None:
    """Print a token of the API for SUBJECT; its id, by which it is revoked, on the error stream."""
    wanted = {"subject": subject, "role": role, "namespaces": namespaces, "seconds": ttl}
    found = common.client().ask("POST", PAGE, wanted).body
    click.echo(found["token"])
    click.echo(f"id: {found['id']}", err=True)


def revoke(identifier: str) -> None:
    """Make a token void; the id is what was printed when it was made."""
    found = common.client().ask("DELETE", f"{PAGE}/{quote(identifier, safe='')}").body
    click.echo(f"token {identifier} revoked")
    if not found["known"]:
        common.warn([f"{identifier} is not listed: it is older than the list, or was never given"])
