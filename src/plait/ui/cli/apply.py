"""``plait apply``: bring objects into force, and wait until they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from plait.config import codec
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.document import Document
from plait.config.ports import Fault
from plait.ui.cli import common, documents, waiting
from plait.ui.cli.client import APPLY, Client, RefusedError

_EXAMPLE = """
Example: plait apply -f mesh/ --wait

Server-side apply is used, as manager "plait"; what another manager set differently is taken
over.  A bad document does not keep the others back; the exit code then is 1.
"""


@click.command(epilog=_EXAMPLE)
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
@common.namespace
@waiting.option
def command(
    filename: tuple[str, ...],
    recursive: bool,
    dry_run: str,
    namespace: str,
    wait: int | None,
) -> None:
    """Create or change the objects in files.

    With --wait, return after every proxy has acknowledged the change: each later request
    follows it.
    """
    run = _Run(common.client(), namespace, dry_run=dry_run == "server")
    for document in documents.read(filename, recursive=recursive):
        run.take(document)
    if not run.applied and not run.failed:
        raise click.ClickException(f"no objects in {', '.join(filename)}")
    if wait is not None and run.revision and dry_run == "none":
        waiting.until_delivered(run.api, run.revision, wait, objects=run.applied)
    if run.failed:
        raise SystemExit(1)


class _Run:
    """One apply: what was done so far."""

    def __init__(self, api: Client, namespace: str, *, dry_run: bool) -> None:
        self.api = api
        self.revision = 0
        self.applied: list[str] = []
        self.failed = False
        self._namespace = namespace
        self._dry_run = dry_run

    def take(self, document: Document | Fault) -> None:
        """Apply one document; what is wrong with it is said."""
        if isinstance(document, Fault):
            return self._fail(f"{document.origin.locator}: {document.problem}")
        change = codec.decode(document, default_namespace=self._namespace, source="files")
        if isinstance(change, Fault):
            return self._fail(f"{change.origin.locator}: {change.problem}")
        for problem in change.problems:
            self._say(problem, document)
        if change.object is None:
            self.failed = True
            return None
        return self._send(str(change.key), document.locator, change.document or {})

    def _send(self, key: str, locator: str, body: dict[str, Any]) -> None:
        try:
            resource = self.api.of_kind(body)
            metadata = body["metadata"]
            path = resource.path(metadata.get("namespace"), metadata["name"])
            before = self._live(path)
            answer = self.api.ask(
                "PATCH",
                path,
                _applicable(body),
                query={"fieldManager": "plait", "force": "true", "fieldValidation": "Ignore"}
                | ({"dryRun": "All"} if self._dry_run else {}),
                headers={"Content-Type": APPLY},
            )
        except click.ClickException as error:
            return self._fail(f"{key} ({locator}): {error.message}")
        common.warn(warning for warning in answer.warnings if "PLT1007" not in warning)
        self.applied.append(key)
        # A dry run of a new object has no revision.
        self.revision = max(self.revision, int(answer.body["metadata"].get("resourceVersion", 0)))
        self._report(resource.label, metadata["name"], before, answer.body)
        return None

    def _report(
        self, label: str, name: str, before: dict[str, Any] | None, after: Mapping[str, Any]
    ) -> None:
        is_same = before is not None and _content(before) == _content(after)
        word = "created" if before is None else "unchanged" if is_same else "configured"
        kind = label.partition(".")[0]
        click.echo(f"{kind}/{name} {word}" + (" (server dry run)" if self._dry_run else ""))

    def _live(self, path: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.api.ask("GET", path).body
        except RefusedError as error:
            if error.is_missing:
                return None
            raise
        return found

    def _say(self, problem: Diagnostic, document: Document) -> None:
        word = "error" if problem.severity is Severity.ERROR else "warning"
        place = problem.locator or document.locator
        click.echo(f"{word}: {place}: {problem.subject}: {problem}", err=True)

    def _fail(self, text: str) -> None:
        self.failed = True
        click.echo(f"error: {text}", err=True)


def _content(body: Mapping[str, Any]) -> dict[str, Any]:
    """The object without the server's book-keeping about it."""
    own = ("managedFields", "resourceVersion", "generation")
    metadata = {k: v for k, v in body["metadata"].items() if k not in own}
    return {**{k: v for k, v in body.items() if k != "status"}, "metadata": metadata}


def _applicable(body: dict[str, Any]) -> dict[str, Any]:
    """The document as it may be applied: without what only the server writes."""
    own = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation")
    metadata = {k: v for k, v in body["metadata"].items() if k not in own}
    return {**{k: v for k, v in body.items() if k != "status"}, "metadata": metadata}
