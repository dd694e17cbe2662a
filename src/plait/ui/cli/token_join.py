"""``plait token create``, ``revoke``: how a machine outside gets an identity."""

from __future__ import annotations

from urllib.parse import quote

import click

from plait.ui.cli import common

PATH = "/plait/v1/ca/tokens"
_EXAMPLES = """
Examples: plait token create -n demo --service-account billing --ttl 1h · plait token list
· plait token revoke join-803de4cbf06c4c9a
"""


@click.command(epilog=_EXAMPLES)
@common.namespace
@click.option("--service-account", required=True, help="Whose identity it gives.")
@click.option(
    "--ttl",
    default="1h",
    show_default=True,
    callback=common.duration,
    help="How long it is good, as 30m or 2d.",
)
def create(namespace: str, service_account: str, ttl: int) -> None:
    """Print a token that is good for one first certificate; it is shown this once."""
    body = {"namespace": namespace, "serviceAccount": service_account, "seconds": ttl}
    click.echo(common.client().ask("POST", PATH, body).body["token"])


def revoke(identifier: str) -> None:
    """Take a token back; certificates that it gave stay valid."""
    common.client().ask("DELETE", f"{PATH}/{quote(identifier, safe='')}")
    click.echo(f"token {identifier} revoked")
