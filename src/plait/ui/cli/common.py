"""What verbs share: the server's address, namespaces, arguments that name objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import click

from plait.ui.cli.client import Client, Resource

AT_ONCE = 64
"""Requests on their way together: the control plane makes one change of what comes together."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_Given = TypeVar("_Given")
_Found = TypeVar("_Found")

namespace = click.option("-n", "--namespace", default="default", help="Namespace of the objects.")
everywhere = click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")
selector = click.option("-l", "--selector", default="", help="Labels, as app=web,version!=v1.")


def duration(context: click.Context, parameter: click.Parameter, value: str) -> int:
    """The seconds of an option such as ``30m``.

    Raises:
        BadParameter: it is no duration.
    """
    del context, parameter
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
    if match is None:
        raise click.BadParameter(f'"{value}" is no duration: write 30m, 24h or 7d')
    return int(match[1]) * _UNITS[match[2]]


def client() -> Client:
    """The API that the command line talks to.

    Raises:
        ClickException: a setting is wrong.
    """
    from plait import settings
    from plait.base.errors import SettingsError

    try:
        given = click.get_current_context().find_root().params
        token, authority = settings.credentials(
            {name: given.get(name) for name in ("token", "certificate_authority")}
        )
        server = settings.server(given.get("server"))
        return Client(server, token, str(authority) if authority else None)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


def named(api: Client, arguments: Iterable[str]) -> list[tuple[Resource, tuple[str, ...]]]:
    """``vs/a dr/b``, ``vs a b`` or ``vs,dr`` → kinds with names; none: all of the kind.

    Raises:
        ClickException: a kind is unknown, or the two forms are mixed.
    """
    words = list(arguments)
    if any("/" in word for word in words):
        pairs = [word.partition("/") for word in words]
        if wrong := [kind for kind, slash, name in pairs if not (slash and name)]:
            raise click.ClickException(f'"{wrong[0]}": write KIND/NAME for each, or KIND NAME')
        return [(api.resource(kind), (name,)) for kind, _, name in pairs]
    if words[0] == "all":
        return [(one, ()) for one in api.resources() if one.namespaced]
    return [(api.resource(kind), tuple(words[1:])) for kind in words[0].split(",")]


def warn(texts: Iterable[str]) -> None:
    """Warnings, one a line, on the error stream."""
    for text in texts:
        click.echo(f"warning: {text}", err=True)


def together(work: Callable[[_Given], _Found], items: Sequence[_Given]) -> list[_Found]:
    """What `work` makes of each item, in their order, by threads; at most `AT_ONCE` items."""
    if len(items) == 1:
        return [work(items[0])]
    from concurrent.futures import ThreadPoolExecutor  # slow to import, needed for many only

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))
