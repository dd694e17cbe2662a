"""``plait token list``: join tokens, and tokens of the API."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import click

from plait.ui.cli import common, output, token_api, token_join
from plait.ui.cli.client import Client, RefusedError

_EXAMPLES = """
Examples: plait token list · plait token list -o json
"""


@click.command(name="list", epilog=_EXAMPLES)
@click.option(
    "-o", "--output", "form", type=click.Choice(["table", "json", "yaml"]), default="table"
)
def listed(form: str) -> None:
    """Tokens that have not expired, without their secrets: join tokens, then the API's."""
    api = common.client()
    joins = [{"kind": "join", **one} for one in _of_mesh(api)]
    others = [{"kind": "api", **one} for one in _of_api(api)]
    if form != "table":
        click.echo(output.data([*joins, *others], form))
    elif joins or others:
        header = ["ID", "KIND", "FOR", "ROLE", "LEFT", "USED"]
        click.echo(output.table(header, [*map(_join, joins), *map(_api, others)]))
    else:
        click.echo("there is no token")


def _of_mesh(api: Client) -> list[dict[str, Any]]:
    """Join tokens; none where nobody gives identities."""
    try:
        page: list[dict[str, Any]] = api.ask("GET", token_join.PATH).body
    except RefusedError as error:
        if not error.is_missing:
            raise
        return []
    return page


def _of_api(api: Client) -> list[dict[str, Any]]:
    """Tokens of the API; none, with a warning, for who may not see them."""
    try:
        page: list[dict[str, Any]] = api.ask("GET", token_api.PAGE).body
    except RefusedError as error:
        if error.answer.status != HTTPStatus.FORBIDDEN:
            raise
        common.warn(["tokens of the API are shown to admins alone"])
        return []
    return page


def _join(one: dict[str, Any]) -> list[Any]:
    used = "no" if one["used"] is None else f"{output.age(one['used'])} ago"
    account = f"{one['namespace']}/{one['serviceAccount']}"
    return [one["id"], one["kind"], account, "-", output.age(one["left"]), used]


def _api(one: dict[str, Any]) -> list[Any]:
    where = f" of {', '.join(one['namespaces'])}" if one["namespaces"] else ""
    role = f"{one['role']}{where}"
    return [one["id"], one["kind"], one["subject"], role, output.age(one["left"]), "-"]
