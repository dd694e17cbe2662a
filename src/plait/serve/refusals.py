"""What clients refused, turned into rows that keep it from being sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from plait.base.query import Query
from plait.config import catalog
from plait.config.kinds.observed import Rejection
from plait.config.store import Store
from plait.serve import rejections
from plait.serve.rejections import Case, Part, Rows, Verdict
from plait.serve.topics import Entry
from plait.xds.resource import SECRET
from plait.xds.wire import Payload

LIMIT = 1_000
"""Rejections that are kept; of more, the oldest are forgotten."""
_log = structlog.get_logger(__name__)


class Refusals:
    """Rejection rows and the open searches for culprits."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cases: tuple[Case, ...] = ()
        self._rows: dict[str, Rejection] = {}
        self._unsaved: Rows = {}
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Write rows, until cancelled; those of an earlier search are given up first."""
        self._load(self._store.engine.get(_rejected))
        while True:
            await self._wake.wait()
            self._wake.clear()
            rows, self._unsaved = self._unsaved, {}
            if rows:
                changes = [("Rejection", digest, row) for digest, row in rows.items()]
                await self._store.observe(changes, persist=True)

    def accepted(self, proxy: str, type_url: str, payload: Payload) -> None:
        """Remember what a client took."""
        parts = _parts(payload, whole=True) if self._cases else ()
        payload.accepted = True
        for name, entry in payload.entries.items():
            entry.accepted = payload.resources[name]
        if parts:
            self._step(Verdict(proxy=proxy, type_url=type_url, parts=parts))

    def refused(self, proxy: str, type_url: str, payload: Payload, error: str) -> None:
        """Find out which part a client refused; what another client took is not at fault."""
        at = self._store.clock.now()
        is_secret = type_url == SECRET  # rows are stored, and its bytes must not be
        parts = () if payload.accepted or is_secret else _parts(payload, whole=False)
        verdict = Verdict(proxy=proxy, type_url=type_url, parts=parts, error=error, at=at)
        before = len(self._rows)
        self._step(verdict)
        if len(self._rows) != before:
            _log.warning("configuration refused", proxy=proxy, type_url=type_url, error=error)

    def clean(self) -> None:
        """Drop rejections of what does not occur any more because its objects changed."""
        self._cases, rows = rejections.pruned(self._cases, self._occurs)
        self._put(rows)
        surplus = sorted(self._rows.values(), key=lambda row: row.at)[:-LIMIT]
        gone = [row for row in self._rows.values() if self._is_over(row)]
        for row in (*gone, *surplus):
            self._put({row.digest: None})

    def _load(self, rows: Iterable[Rejection]) -> None:
        for row in rows:
            self._rows[row.digest] = row
        self._put({row.digest: None for row in tuple(self._rows.values()) if row.suspect})

    def _step(self, verdict: Verdict) -> None:
        self._cases, rows = rejections.step(self._cases, verdict, self._rows)
        self._put(rows)

    def _put(self, rows: Rows) -> None:
        for digest, row in rows.items():
            if row is None:
                self._rows.pop(digest, None)
            else:
                self._rows[digest] = row
        if rows:
            self._unsaved |= rows
            self._wake.set()

    def _is_over(self, row: Rejection) -> bool:
        if row.suspect or self._occurs(row.digest):
            return False
        return any(self._is_newer(name, row.at) for name in row.objects)

    def _occurs(self, digest: str) -> bool:
        """Whether a child of these bytes would be sent, were it not held back."""
        return self._store.engine.is_read("Rejection", digest)

    def _is_newer(self, name: str, at: float) -> bool:
        """Whether the object, as printed in a rejection, changed since or is gone."""
        kind, _, path = name.partition(" ")
        namespace = path.rpartition("/")[0] or None
        for table in (t for t, k in catalog.KINDS.items() if k.kind == kind):
            for record in self._store.records(table, namespace):
                if str(record.key) == name:
                    return record.at > at
        return True


def _rejected(q: Query) -> tuple[Rejection, ...]:
    """All rejections, in the order of their digests."""
    rows: tuple[Rejection, ...] = q.rows("Rejection", "all", True)  # noqa: FBT003 - an index value
    return rows


def _parts(payload: Payload, *, whole: bool) -> tuple[Part, ...]:
    """The resources of a response; not `whole`: those that no client has taken as they are."""
    found = []
    for name, resource in payload.resources.items():
        entry = payload.entries.get(name)
        accepted = entry.accepted if isinstance(entry, Entry) else None
        if whole or accepted is None or accepted.version != resource.version:
            found.append(Part(resource=resource, accepted=accepted))
    return tuple(found)
