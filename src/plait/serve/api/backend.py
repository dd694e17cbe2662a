"""What the API's handlers work on: the store, the pages, and objects as clients see them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from plait.base.place import Place
from plait.config.catalog import KINDS, Kind
from plait.config.meta import Key, Origin
from plait.config.ports import Runtime
from plait.config.record import Record
from plait.config.store import Store
from plait.serve.api.pages import Pages
from plait.serve.ca.run import CertificateAuthority

BUILT_IN = ("default", "istio-system")
"""Namespaces that always exist."""

NAMESPACE = KINDS["Namespace"]


class Backend(Struct, frozen=True, kw_only=True):
    """The store and the pages.

    Attributes:
        place: where workloads run; None: not on this machine.
        runtime: what runs Pods; None: nothing does here.
        ca: gives identities; None: nobody does here.
        is_open: whether proxies can connect.
    """

    store: Store
    pages: Pages
    place: Place | None = None
    runtime: Runtime | None = None
    ca: CertificateAuthority | None = None
    is_open: Callable[[], bool] = lambda: True

    def record(self, key: Key) -> Record | None:
        """The record of `key`; a namespace exists as soon as something is in it."""
        found = self.store.record(key)
        if found is None and _is_namespace(key) and key.name in self._implied():
            return _namespace(key.name)
        return found

    def records(self, kind: Kind, namespace: str | None) -> tuple[Record, ...]:
        """The records of a kind in key order."""
        found = self.store.records(kind.table, namespace)
        if kind is not NAMESPACE:
            return found
        named = {record.key.name: record for record in found}
        return tuple(named.get(n) or _namespace(n) for n in sorted(self._implied() | named.keys()))

    def content(self, namespace: str) -> tuple[Record, ...]:
        """All that is in a namespace."""
        return tuple(
            record
            for kind in KINDS.values()
            if kind.namespaced
            for record in self.store.records(kind.table, namespace)
        )

    def rendered(self, record: Record, api_version: str) -> dict[str, Any]:
        """The object in a version of its kind, with the conditions that hold now."""
        rest = {k: v for k, v in record.document.items() if k not in ("apiVersion", "kind")}
        document = {"apiVersion": api_version, "kind": record.key.kind, **rest}
        ours = [msgspec.to_builtins(c) for c in self.pages.conditions(record.key)]
        if ours:
            document["status"] = _with_conditions(document.get("status") or {}, ours)
        return document

    def without_conditions(self, key: Key, status: Mapping[str, Any]) -> dict[str, Any]:
        """A status as it is stored: what `rendered` adds taken out again."""
        ours = {condition.type for condition in self.pages.conditions(key)}
        kept = [c for c in status.get("conditions") or () if c.get("type") not in ours]
        rest = {name: part for name, part in status.items() if name != "conditions"}
        return {**rest, "conditions": kept} if kept else rest

    def _implied(self) -> set[str]:
        kinds = (kind for kind in KINDS.values() if kind.namespaced)
        used = {r.key.namespace for kind in kinds for r in self.store.records(kind.table)}
        return used | set(BUILT_IN)


def is_stored(record: Record) -> bool:
    """Is the record in the store, and not a namespace that only follows from what is in it?"""
    return record.revision > 0


def _is_namespace(key: Key) -> bool:
    return (key.group, key.kind) == ("", "Namespace")


def _with_conditions(status: Mapping[str, Any], ours: list[Any]) -> dict[str, Any]:
    types = {condition["type"] for condition in ours}
    others = [c for c in status.get("conditions") or () if c.get("type") not in types]
    return {**status, "conditions": [*others, *ours]}


def _namespace(name: str) -> Record:
    metadata = {
        "name": name,
        "uid": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.namespace.plait")),
        "labels": {"kubernetes.io/metadata.name": name},
    }
    return Record(
        key=NAMESPACE.key("", name),
        source="plait",
        object=None,
        document={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata},
        revision=0,
        generation=0,
        origin=Origin(source="plait", locator="what is in it"),
    )
