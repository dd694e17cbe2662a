"""Waiting until a change is in force at every proxy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import click

from plait.ui.cli import client, proxies
from plait.ui.cli.client import Client, RefusedError

PATIENCE = 30
"""Seconds that ``--wait`` means where no number is given."""

_SHOWN = 3  # proxies named

option = click.option(
    "--wait",
    default=None,
    type=click.IntRange(min=0),
    metavar="[SECONDS]",
    help=f"Return when every proxy acknowledged; {PATIENCE} seconds at most, or as said.",
)


class Command(click.Command):
    """A command with the option; what follows it is its value only if that is a number."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As every command does."""
        return super().parse_args(ctx, list(_spelled_out(args)))


def _spelled_out(args: list[str]) -> Iterator[str]:
    end = args.index("--") if "--" in args else len(args)
    for place, arg in enumerate(args):
        following = args[place + 1] if place + 1 < len(args) else ""
        is_bare = arg == "--wait" and not following.isdecimal() and place < end
        yield f"--wait={PATIENCE}" if is_bare else arg


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
        if error.answer.status in (408, 504):
            raise click.ClickException(_late(api, revision, seconds)) from error
        raise
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


def _late(api: Client, revision: int, seconds: int) -> str:
    """Who has not acknowledged a revision, and what is known of the reason."""
    known = api.ask("GET", "/plait/v1/proxies").body
    late = [one for one in known if one["delivered"] < revision]
    if not late:
        return f"it took longer than {seconds} s, and is in force by now"
    who = "; ".join(f"{proxies.name(one)} ({_reason(one)})" for one in late[:_SHOWN])
    more = f" and {len(late) - _SHOWN} more" if len(late) > _SHOWN else ""
    return (
        f"not in force everywhere after {seconds} s: {len(known) - len(late)} of {len(known)} "
        f"proxies acknowledged revision {revision}; not yet: {who}{more}. "
        "It takes effect there when they do; see: plait status --watch"
    )


def _reason(proxy: dict[str, Any]) -> str:
    return proxies.details(proxy) or f"has not answered since revision {proxy['delivered']}"
