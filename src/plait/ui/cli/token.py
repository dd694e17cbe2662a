"""``plait token``: what proves who somebody is."""

from __future__ import annotations

import click

from plait.ui.cli import token_join

_EXAMPLES = """
Examples: plait token create -n demo --service-account billing · plait token list
"""


@click.group(epilog=_EXAMPLES)
def command() -> None:
    """Give, list and revoke tokens."""


for _verb in (token_join.create, token_join.listed, token_join.revoke):
    command.add_command(_verb)
