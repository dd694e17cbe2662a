"""``plait delete``: take objects away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import click

from plait.config.document import Document
from plait.config.ports import Fault
from plait.ui.cli import common, documents, waiting
from plait.ui.cli.client import Client, RefusedError, Resource

_EXAMPLE = """
Examples: plait delete vs/reviews · plait delete vs reviews ratings · plait delete -f mesh/
"""


@click.command(epilog=_EXAMPLE, cls=waiting.Command)
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
    api.resources()  # that nobody answers is said once
    run = _Run(api, namespace, forgiving=ignore_not_found)
    targets = run.named(what) + run.in_files(filename, recursive=recursive)
    if not targets and not run.failed:
        raise click.UsageError("name what to delete: KIND NAME, KIND/NAME or -f FILE")
    for start in range(0, len(targets), common.AT_ONCE):
        run.delete(targets[start : start + common.AT_ONCE])
    if wait is not None:
        revision = api.ask("GET", "/plait/v1/version").body["revision"]
        waiting.until_delivered(api, revision, wait)
    if run.failed:
        raise SystemExit(1)


class _Target(NamedTuple):
    resource: Resource
    namespace: str
    name: str


class _Run:
    """One delete: finds its targets, and says what became of each."""

    def __init__(self, api: Client, namespace: str, *, forgiving: bool) -> None:
        self.failed = False
        self._api = api
        self._namespace = namespace
        self._forgiving = forgiving

    def named(self, what: tuple[str, ...]) -> list[_Target]:
        """Those given by kind and name.

        Raises:
            UsageError: there is no name.
        """
        found = common.named(self._api, what) if what else []
        if any(not names for _, names in found):
            raise click.UsageError("name the objects to delete")
        return [
            _Target(resource, self._namespace, name) for resource, names in found for name in names
        ]

    def in_files(self, names: tuple[str, ...], *, recursive: bool) -> list[_Target]:
        """Those that stand in files; a document that cannot be read keeps no other back."""
        found = []
        for document in documents.read(names, recursive=recursive):
            if isinstance(document, Fault):
                self._fail(f"{document.origin.locator}: {document.problem}")
                continue
            try:
                found.append(self._target(document))
            except click.ClickException as error:
                self._fail(f"{document.locator}: {error.message}")
        return found

    def _target(self, document: Document) -> _Target:
        metadata = document.value.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if not isinstance(metadata, dict) or not isinstance(name, str):
            raise click.ClickException("the object has no name")
        place = str(metadata.get("namespace") or self._namespace)
        return _Target(self._api.of_kind(document.value), place, name)

    def delete(self, targets: Sequence[_Target]) -> None:
        """Delete some objects together; what became of each is said in their order."""
        for target, error in zip(targets, common.together(self._sent, targets), strict=True):
            if error is None:
                click.echo(f'{target.resource.label} "{target.name}" deleted')
            elif not (error.is_missing and self._forgiving):
                self._fail(error.message)

    def _sent(self, target: _Target) -> RefusedError | None:
        try:
            self._api.ask("DELETE", target.resource.path(target.namespace, target.name))
        except RefusedError as error:
            return error
        return None

    def _fail(self, text: str) -> None:
        self.failed = True
        click.echo(f"error: {text}", err=True)
