"""The forms in which a client may ask for objects: whole, as a table, or their metadata."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from aiohttp import web
from msgspec import Struct

from plait.config.record import Record
from plait.serve.api import status, tables, turns
from plait.serve.api.backend import Backend
from plait.serve.api.paths import Target

META = "meta.k8s.io/v1"
_FORMS = ("application/json", "application/*", "*/*", "")


class Form(Enum):
    """How an answer is written."""

    OBJECT = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"


def wanted(request: web.Request) -> Form:
    """The first form of the Accept header that there is.

    Raises:
        StatusError: 406; there is none.
    """
    for media in ",".join(request.headers.getall("Accept", [""])).split(","):
        name, *parts = (part.strip() for part in media.split(";"))
        parameters = dict(part.partition("=")[::2] for part in parts)
        form = parameters.get("as", "").removesuffix("List")
        if name not in _FORMS or parameters.get("v", "v1") != "v1":
            continue
        if form in {known.value for known in Form}:
            return Form(form)
    raise status.StatusError(
        406, "NotAcceptable", "only the following media types are accepted: application/json"
    )


class Printer(Struct, frozen=True, kw_only=True):
    """Writes records of one kind in the form that a request asks for.

    Attributes:
        objects: what stands beside the cells of a table: ``Metadata``, ``Object`` or ``None``.
    """

    backend: Backend
    target: Target
    form: Form
    objects: str = "Metadata"

    @classmethod
    def of(cls, backend: Backend, target: Target, request: web.Request) -> Printer:
        """What the headers and the query ask for."""
        objects = request.query.get("includeObject", "Metadata") or "Metadata"
        return cls(backend=backend, target=target, form=wanted(request), objects=objects)

    def one(self, record: Record, *, columns: bool = True) -> dict[str, Any]:
        """One object; of a table only the first of a watch has `columns`."""
        if self.form is not Form.TABLE:
            return self._item(record)
        table = self._table([self._row(record)], {"resourceVersion": str(record.revision)})
        return table if columns else {**table, "columnDefinitions": None}

    async def many(self, records: Iterable[Record], metadata: dict[str, Any]) -> dict[str, Any]:
        """A list, its items encoded already; `metadata` is that of the list."""
        if self.form is Form.TABLE:
            return self._table(await turns.encoded(map(self._row, records)), metadata)
        version, kind = self.target.api_version, f"{self.target.kind.kind}List"
        if self.form is Form.METADATA:
            version, kind = META, "PartialObjectMetadataList"
        items = await turns.encoded(map(self._item, records))
        return {"kind": kind, "apiVersion": version, "metadata": metadata, "items": items}

    def bookmark(self, revision: int, *, initial: bool) -> dict[str, Any]:
        """An object that says nothing but how far a watch is."""
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        if self.form is Form.TABLE:
            head = {"kind": "Table", "apiVersion": META, "metadata": metadata}
            return {**head, "columnDefinitions": None, "rows": []}
        kind, version = self.target.kind.kind, self.target.api_version
        if self.form is Form.METADATA:
            kind, version = "PartialObjectMetadata", META
        return {"kind": kind, "apiVersion": version, "metadata": metadata}

    def _item(self, record: Record) -> dict[str, Any]:
        document = self.backend.rendered(record, self.target.api_version)
        return _partial(document) if self.form is Form.METADATA else document

    def _table(self, rows: list[Any], metadata: dict[str, Any]) -> dict[str, Any]:
        return {
            "kind": "Table",
            "apiVersion": META,
            "metadata": metadata,
            "columnDefinitions": tables.definitions(self.target.kind.table),
            "rows": rows,
        }

    def _row(self, record: Record) -> dict[str, Any]:
        document = self.backend.rendered(record, self.target.api_version)
        now = self.backend.store.clock.now()
        cells = tables.cells(self.target.kind.table, document, str(record.origin), now)
        match self.objects:
            case "None":
                return {"cells": cells}
            case "Object":
                return {"cells": cells, "object": document}
            case _:
                return {"cells": cells, "object": _partial(document)}


def _partial(document: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": META,
        "metadata": document["metadata"],
    }
