"""A watch that outlives its connections: it goes on where it was, and says nothing twice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import click

from plait.ui.cli.client import AwayError, Client, RefusedError

AWAY = 5.0
"""Seconds that a control plane may be away, being started again, before a watch ends."""

_RETRY = 0.2  # seconds between two connections
_MARK = "k8s.io/initial-events-end"
_LATER = {"allowWatchBookmarks": "true"}
_ALL = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", **_LATER}

Body = dict[str, Any]


def changes(
    api: Client,
    path: str,
    query: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    *,
    away: float = AWAY,
) -> Iterator[Body]:
    """What is there, then every change: objects, or tables of one row; for ever.

    Raises:
        ClickException: nobody answers at first, or for `away` seconds later on, or what answers
            refuses.
    """
    told = _Told()
    lost = None  # when the connection was
    while True:
        try:
            for event in api.follow(path, {**query, **told.query()}, headers):
                lost = None
                yield from told.news(event)
        except AwayError:
            lost = lost or time.monotonic()
            if not told.begun or time.monotonic() - lost > away:
                raise
        except RefusedError as error:
            if not told.begun or not _is_expired(error.answer.body):
                raise
            told.begin_again()
        time.sleep(_RETRY)


class _Told:
    """What was told, and from where to go on.

    Attributes:
        begun: whether anything was heard at all.
    """

    def __init__(self) -> None:
        self.begun = False
        self._place = 0  # all up to this revision was heard; 0: everything has to be heard again
        self._known: dict[tuple[str, str], Body] = {}
        self._unheard: set[tuple[str, str]] = set()  # known, and not heard of in this beginning
        self._age: int | None = None  # the column of tables that is always another

    def query(self) -> dict[str, str]:
        """What to ask for next."""
        if self._place:
            return {"resourceVersion": str(self._place), **_LATER}
        self._unheard = set(self._known)
        return _ALL

    def begin_again(self) -> None:
        """The changes after the place are no longer kept: compare with all that there is."""
        self._place = 0

    def news(self, event: Mapping[str, Any]) -> Iterator[Body]:
        """What of an event was not told before.

        Raises:
            ClickException: the API ended the watch with an error that cannot be helped.
        """
        self.begun = True
        body = event["object"]
        match event["type"]:
            case "ERROR" if _is_expired(body):
                self.begin_again()
            case "ERROR":
                raise click.ClickException(body.get("message", "the watch ended"))
            case "BOOKMARK":
                self._place = int(body["metadata"]["resourceVersion"])
                if _MARK in body["metadata"].get("annotations", ()):
                    yield from self._gone()
            case kind:
                yield from self._change(body, is_gone=kind == "DELETED")

    def _change(self, body: Body, *, is_gone: bool) -> Iterator[Body]:
        self._age = next((i for i, one in _columns(body) if one["name"] == "Age"), self._age)
        metadata = _object(body)["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        before = self._known.pop(key, None)
        if not is_gone:
            self._known[key] = body
        if self._place:
            self._place = max(self._place, int(metadata["resourceVersion"]))
        self._unheard.discard(key)
        if is_gone or before is None or self._said(before) != self._said(body):
            yield body

    def _said(self, body: Body) -> Any:
        """What is told with a body: an object, or that of a table and its cells."""
        if "rows" not in body:
            return body
        (row,) = body["rows"]
        cells = [cell for i, cell in enumerate(row["cells"]) if i != self._age]
        return row["object"], cells

    def _gone(self) -> Iterator[Body]:
        """What is no longer there, as it last was."""
        for key in sorted(self._unheard):
            yield self._known.pop(key)
        self._unheard = set()


def _columns(body: Body) -> Iterator[tuple[int, Any]]:
    return enumerate(body.get("columnDefinitions") or ())


def _object(body: Body) -> Body:
    """The object, or that beside the row of a table."""
    found: Body = body["rows"][0]["object"] if "rows" in body else body
    return found


def _is_expired(status: Any) -> bool:
    """Whether an error says that a revision is no longer kept, or not known at all."""
    if status.get("code") == HTTPStatus.GONE:
        return True
    causes = (status.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == "ResourceVersionTooLarge" for cause in causes)
