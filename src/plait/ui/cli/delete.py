"""``plait delete``: take objects away."""

from __future__ import annotations

import click

from plait.config.ports import Fault
from plait.ui.cli import common, documents, waiting
from plait.ui.cli.client import Client, RefusedError, Resource

_EXAMPLE = """
Examples: plait delete vs/reviews · plait delete vs reviews ratings · plait delete -f mesh/
"""


@click.command(epilog=_EXAMPLE)
@click.argument("what", nargs=-1, metavar="KIND NAME… | KIND/NAME…")
@click.option("-f", "--filename", multiple=True, help="Delete what stands in the file.")
@click.option("-R", "--recursive", is_flag=True, help="Directories with all below them.")
@click.option("--ignore-not-found", is_flag=True, help="What is not there is no error.")
@common.namespace
@waiting.option
def command(
    what: tuple[str, ...],
    filename: tuple[str, ...],
    recursive: bool,
    ignore_not_found: bool,
    namespace: str,
    wait: int | None,
) -> None:
    """Delete objects by kind and name, or by file."""
    api = common.client()
    targets = [*_named(api, what, namespace), *_in_files(api, filename, namespace, recursive)]
    if not targets:
        raise click.UsageError("name what to delete: KIND NAME, KIND/NAME or -f FILE")
    failed = False
    for resource, place, name in targets:
        try:
            api.ask("DELETE", resource.path(place, name))
            click.echo(f'{resource.label} "{name}" deleted')
        except RefusedError as error:
            if error.is_missing and ignore_not_found:
                continue
            failed = True
            click.echo(f"error: {error.message}", err=True)
    if wait is not None:
        revision = api.ask("GET", "/plait/v1/version").body["revision"]
        waiting.until_delivered(api, revision, wait)
    if failed:
        raise SystemExit(1)


def _named(api: Client, what: tuple[str, ...], namespace: str) -> list[tuple[Resource, str, str]]:
    if not what:
        return []
    found = common.named(api, what)
    if any(not names for _, names in found):
        raise click.UsageError("name the objects to delete")
    return [(resource, namespace, name) for resource, names in found for name in names]


def _in_files(
    api: Client,
    filename: tuple[str, ...],
    namespace: str,
    recursive: bool,
) -> list[tuple[Resource, str, str]]:
    found = []
    for document in documents.read(filename, recursive=recursive):
        if isinstance(document, Fault):
            raise click.ClickException(f"{document.origin.locator}: {document.problem}")
        metadata = document.value.get("metadata") or {}
        place = metadata.get("namespace", namespace)
        found.append((api.of_kind(document.value), place, str(metadata.get("name", ""))))
    return found
