"""``plait apply``: bring objects into force, and wait until they are."""

from __future__ import annotations

import http
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import click

from plait.config import codec
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.document import Document
from plait.config.ports import Fault
from plait.ui.cli import common, documents, owners, waiting
from plait.ui.cli.client import APPLY, JSON_PATCH, Client, RefusedError, Resource

_EXAMPLE = """
Example: plait apply -f mesh/ --wait

Server-side apply is used, as manager "plait".  What kubectl set is taken over; what another
program set differently is a conflict, unless --force-conflicts is given.  A bad document does not
keep the others back; the exit code then is 1.
"""


@click.command(epilog=_EXAMPLE, cls=waiting.Command)
@click.option("-f", "--filename", multiple=True, required=True, help="File, directory or -.")
@click.option("-R", "--recursive", is_flag=True, help="Directories with all below them.")
@click.option(
    "--dry-run",
    is_flag=False,
    flag_value="server",
    default="none",
    type=click.Choice(["none", "server"]),
    help="Only say what would happen, as the server sees it.",
)
@click.option("--force-conflicts", is_flag=True, help="Take over what other programs set.")
@common.namespace
@waiting.option
def command(
    filename: tuple[str, ...],
    recursive: bool,
    dry_run: str,
    force_conflicts: bool,
    namespace: str,
    wait: int | None,
) -> None:
    """Create or change the objects in files.

    With --wait, return after every proxy has acknowledged the change: each later request
    follows it.
    """
    found = [
        _item(document, namespace) for document in documents.read(filename, recursive=recursive)
    ]
    if not found:
        raise click.ClickException(f"no objects in {', '.join(filename)}")
    api = common.client()
    api.resources()  # that nobody answers is said once
    run = _Run(_Sender(api, dry_run=dry_run == "server", force=force_conflicts))
    for wave in _waves(found):
        run.take(wave)
    if wait is not None and run.revision and dry_run == "none":
        waiting.until_delivered(api, run.revision, wait, objects=run.applied)
    if run.failed:
        raise SystemExit(1)


class _Item(NamedTuple):
    """A document on its way.

    Attributes:
        said: lines for the error stream, found when it was read.
        known: problems among them, as the API would repeat them.
        body: what is sent; None: nothing, the document has an error.
    """

    said: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    key: str = ""
    locator: str = ""
    body: dict[str, Any] | None = None


class _Outcome(NamedTuple):
    """What became of one object; a dry run of a new object has no revision."""

    line: str = ""
    warnings: tuple[str, ...] = ()
    revision: int = 0
    error: str = ""


def _item(document: Document | Fault, namespace: str) -> _Item:
    """Read one document; what is wrong with it is said at its place."""
    if isinstance(document, Fault):
        return _Item((f"error: {document.origin.locator}: {document.problem}",))
    change = codec.decode(document, default_namespace=namespace, source="files")
    if isinstance(change, Fault):
        return _Item((f"error: {change.origin.locator}: {change.problem}",))
    return _Item(
        said=tuple(_placed(problem, document) for problem in change.problems),
        known=tuple(str(problem) for problem in change.problems),
        key=str(change.key),
        locator=document.locator,
        body=None if change.object is None else change.document,
    )


def _placed(problem: Diagnostic, document: Document) -> str:
    word = "error" if problem.severity is Severity.ERROR else "warning"
    return f"{word}: {problem.locator or document.locator}: {problem.subject}: {problem}"


def _waves(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Items that may be on their way together: not two of one object.

    Routes come last, when what they lead to is in force: else requests would find a gap.
    """
    wave: list[_Item] = []
    for item in sorted(items, key=_is_route):
        full = len(wave) >= common.AT_ONCE or any(_must_follow(item, other) for other in wave)
        if full:
            yield wave
            wave = []
        wave.append(item)
    yield wave


def _is_route(item: _Item) -> bool:
    return item.body is not None and item.body.get("kind") == "VirtualService"


def _must_follow(item: _Item, other: _Item) -> bool:
    """Whether `item` may be sent only when `other` is in force."""
    return bool(item.key and item.key == other.key) or _is_route(item) != _is_route(other)


class _Run:
    """One apply: what was done so far."""

    def __init__(self, sender: _Sender) -> None:
        self.revision = 0
        self.applied: list[str] = []
        self.failed = False
        self._send = sender.send
        self._warned: set[str] = set()

    def take(self, wave: list[_Item]) -> None:
        """Apply some documents together; what came of each is said in their order."""
        for item, outcome in zip(wave, common.together(self._send, wave), strict=True):
            for line in item.said:
                click.echo(line, err=True)
            if outcome is None:
                self.failed = True
            else:
                self._report(item, outcome)

    def _report(self, item: _Item, outcome: _Outcome) -> None:
        new = [w for w in outcome.warnings if w not in self._warned and w not in item.known]
        self._warned.update(new)
        common.warn(new)
        if outcome.error:
            self.failed = True
            click.echo(f"error: {item.key} ({item.locator}): {outcome.error}", err=True)
            return
        self.applied.append(item.key)
        self.revision = max(self.revision, outcome.revision)
        click.echo(outcome.line)


class _Sender:
    """Sends objects; called by several threads."""

    def __init__(self, api: Client, *, dry_run: bool, force: bool) -> None:
        self._api = api
        self._dry_run = dry_run
        self._force = force

    def send(self, item: _Item) -> _Outcome | None:
        """Apply one object; None: there is nothing to send."""
        if item.body is None:
            return None
        try:
            return self._applied(_applicable(item.body))
        except click.ClickException as error:
            return _Outcome(error=error.message)

    def _applied(self, body: dict[str, Any]) -> _Outcome:
        resource = self._api.of_kind(body)
        metadata = body["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        before = self._live(path)
        if before is not None:
            body = owners.remembered(body, before)
            self._take_over(path, before)
        answer = self._patch(path, body)
        return _Outcome(
            line=self._line(resource, before, answer.body),
            warnings=answer.warnings,
            revision=int(answer.body["metadata"].get("resourceVersion", 0)),
        )

    def _live(self, path: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._api.ask("GET", path).body
        except RefusedError as error:
            if error.is_missing:
                return None
            raise
        return found

    def _take_over(self, path: str, live: dict[str, Any]) -> None:
        """Make the object's fields that kubectl applied ours, and nothing else."""
        fields = owners.handed_over(live)
        if not fields or self._dry_run:
            return
        where = "/metadata/managedFields", "/metadata/resourceVersion"
        values = fields, live["metadata"]["resourceVersion"]
        patch = [
            {"op": "replace", "path": place, "value": value}
            for place, value in zip(where, values, strict=True)
        ]
        query = {"fieldManager": owners.MANAGER}
        self._api.ask("PATCH", path, patch, query=query, headers={"Content-Type": JSON_PATCH})

    def _patch(self, path: str, body: dict[str, Any]) -> Any:
        query = {"fieldManager": owners.MANAGER, "fieldValidation": "Ignore"}
        if self._dry_run:
            query["dryRun"] = "All"
        headers = {"Content-Type": APPLY}
        if not self._force:
            try:
                return self._api.ask("PATCH", path, body, query=query, headers=headers)
            except RefusedError as error:
                _see_conflict(error)
        return self._api.ask("PATCH", path, body, query={**query, "force": "true"}, headers=headers)

    def _line(
        self, resource: Resource, before: dict[str, Any] | None, after: Mapping[str, Any]
    ) -> str:
        is_same = before is not None and _content(before) == _content(after)
        word = "created" if before is None else "unchanged" if is_same else "configured"
        name = f"{resource.singular}/{after['metadata']['name']}"
        return f"{name} {word}" + (" (server dry run)" if self._dry_run else "")


def _see_conflict(error: RefusedError) -> None:
    """Let a conflict pass that may be decided for the file.

    Raises:
        ClickException: it is another error, or another program's fields are concerned.
    """
    details = error.details
    is_owners = any(cause.get("reason") == "FieldManagerConflict" for cause in details)
    if error.answer.status != http.HTTPStatus.CONFLICT or not is_owners:
        raise error
    if others := owners.strangers(details):
        said = "; ".join(f'"{who}" set {", ".join(places)}' for who, places in others.items())
        raise click.ClickException(
            f"{said}. Leave that out of the file, or take it over with --force-conflicts"
        )


def _content(body: Mapping[str, Any]) -> dict[str, Any]:
    """The object without the server's book-keeping about it."""
    return _without(body, "managedFields", "resourceVersion", "generation")


def _applicable(body: Mapping[str, Any]) -> dict[str, Any]:
    """The document as it may be applied: without what only the server writes."""
    own = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation")
    return _without(body, *own)


def _without(body: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    """The object without its status and some fields of its metadata."""
    metadata = {k: v for k, v in body["metadata"].items() if k not in fields}
    return {**{k: v for k, v in body.items() if k != "status"}, "metadata": metadata}
