"""``plait token``: what somebody shows who has no certificate yet, or uses the API."""

from __future__ import annotations

import click

from plait.ui.cli import token_api, token_join, token_list

_EXAMPLES = """
Examples: plait token create -n demo --service-account billing · plait token list ·
plait token api ann --role viewer
"""


@click.group(epilog=_EXAMPLES)
def command() -> None:
    """Give, list and revoke tokens."""


@click.command(epilog="Example: plait token revoke api-5f0c1d2e3a4b5c6d")
@click.argument("identifier", metavar="ID")
def revoke(identifier: str) -> None:
    """Take a token back; certificates that a join token gave stay valid."""
    module = token_api if identifier.startswith(token_api.PREFIX) else token_join
    module.revoke(identifier)


for _verb in (token_join.create, token_list.listed, token_api.api, revoke):
    command.add_command(_verb)
