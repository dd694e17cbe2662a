"""``plait why``: what something was made from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from plait.ui.cli import common, output, why_encryption

_EXAMPLE = """
Example: plait why resource route 9080 --proxy web
"""


@click.group(epilog=_EXAMPLE)
def command() -> None:
    """Explain a decision."""


@command.command(epilog=_EXAMPLE)
@click.argument(
    "type_name",
    metavar="TYPE",
    type=click.Choice(["cluster", "endpoint", "listener", "route", "extension"]),
)
@click.argument("name")
@click.option("--proxy", default="", help="Workload, Pod or id; default: the first that has it.")
@click.option("-o", "--output", "form", type=click.Choice(["tree", "json", "yaml"]), default="tree")
def resource(type_name: str, name: str, proxy: str, form: str) -> None:
    """Show which objects and indexes a resource was made from, with file and revision.

    Of a cluster or inbound listener also what is spoken, plain text, TLS or mutual TLS, and which
    policy says so on either end.
    """
    query = {"type": type_name, "name": name, "proxy": proxy}
    page = common.client().ask("GET", "/plait/v1/why/resource", query=query).body
    if form != "tree":
        click.echo(output.data(page, form))
        return
    lines = [*_tree(page)]
    if said := page.get("encryption"):
        lines += ["", *why_encryption.lines(said)]
    click.echo("\n".join(lines))


def _tree(reason: dict[str, Any]) -> Iterator[str]:
    yield _said(reason)
    reads = reason.get("reads", [])
    for number, read in enumerate(reads, 1):
        last = number == len(reads)
        first, *rest = _tree(read)
        yield f"{'└─ ' if last else '├─ '}{first}"
        yield from (f"{'   ' if last else '│  '}{line}" for line in rest)


def _said(reason: dict[str, Any]) -> str:
    if reason.get("missing"):
        return f"{reason['what']}  (not there)"
    if "revision" in reason:
        return f"{reason['what']}  {reason['locator']}  revision {reason['revision']}"
    return str(reason["what"])
