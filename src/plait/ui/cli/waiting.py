"""Waiting until a change is in force at every proxy."""

from __future__ import annotations

from collections.abc import Iterable

import click

from plait.ui.cli import client
from plait.ui.cli.client import Client, RefusedError

PATIENCE = 30
"""Seconds that ``--wait`` means where no number is given."""

option = click.option(
    "--wait",
    is_flag=False,
    flag_value=PATIENCE,
    default=None,
    type=click.IntRange(min=0),
    metavar="[SECONDS]",
    help=f"Return when every proxy acknowledged; {PATIENCE} seconds at most, or as said.",
)


def until_delivered(
    api: Client, revision: int, seconds: int, *, objects: Iterable[str] = ()
) -> None:
    """Return when every connected proxy has acknowledged all up to `revision`.

    Raises:
        ClickException: it takes longer than `seconds`, or Envoy refused one of `objects`.
    """
    query = {"revision": revision, "timeout": seconds}
    try:
        patience = seconds + client.PATIENCE  # the server keeps the time
        page = api.ask("GET", "/plait/v1/delivered", query=query, patience=patience).body
    except RefusedError as error:
        late = "; see: plait status" if error.answer.status in (408, 504) else ""
        raise click.ClickException(f"{error.message}{late}") from error
    named = set(objects)
    refused = [r for r in page.get("rejections", ()) if named & set(r["objects"])]
    if refused:
        said = "; ".join(f"{r['part']}: {r['error']}" for r in refused)
        raise click.ClickException(f"Envoy refused {said}. What was in force before stays")
    count = page["proxies"]
    if count:
        click.echo(f"in force: {count} of {count} proxies acknowledged")
    else:
        click.echo("no proxy is connected: it takes effect when one is")
