"""What there is to look after, as queries: each Deployment, ReplicaSet, Service and Pod."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from plait.base.query import Query
from plait.config.indexes import ALL
from plait.config.meta import Key, Object
from plait.controllers import slices, templates
from plait.controllers.podfiles import errand
from plait.controllers.replicas import Brood
from plait.controllers.rollout import Family
from plait.controllers.slices import serving

Members = Callable[[Query], tuple[Key, ...]]
World = Callable[[Query, Key], Any]


def families(q: Query) -> tuple[Key, ...]:
    """Deployments, and those that are gone of which ReplicaSets are left."""
    owners = _owners(q, "ReplicaSet", "Deployment")
    return _joined(q.keys("Deployment", "all", ALL), owners)


def family(q: Query, key: Key) -> Family:
    """A Deployment with what it owns."""
    sets: tuple[Object[Any], ...] = q.rows("ReplicaSet", "owner", key)
    own = tuple(one for one in sets if _is_controlled(one, key))
    pods = {one.key: q.rows("Pod", "owner", one.key) for one in own}
    return Family(owner=q.row("Deployment", key), sets=own, pods=pods)


def broods(q: Query) -> tuple[Key, ...]:
    """ReplicaSets, and those that are gone of which Pods are left."""
    owners = _owners(q, "Pod", "ReplicaSet")
    return _joined(q.keys("ReplicaSet", "all", ALL), owners)


def brood(q: Query, key: Key) -> Brood:
    """A ReplicaSet with its Pods."""
    pods: tuple[Object[Any], ...] = q.rows("Pod", "owner", key)
    own = tuple(one for one in pods if _is_controlled(one, key))
    return Brood(owner=q.row("ReplicaSet", key), pods=own)


def services(q: Query) -> tuple[Key, ...]:
    """Services, and those that are gone of which EndpointSlices are left."""
    found = (q(_service_of, key) for key in q.keys("EndpointSlice", "all", ALL))
    return _joined(q.keys("Service", "all", ALL), (key for key in found if key is not None))


def pods(q: Query) -> tuple[Key, ...]:
    """Every Pod."""
    keys: tuple[Key, ...] = q.keys("Pod", "all", ALL)
    return keys


WORLDS: tuple[tuple[Members, World], ...] = (
    (families, family),
    (broods, brood),
    (services, serving),
    (pods, errand),
)
"""What lists the things to look after, and what each of them is."""


def _owners(q: Query, table: str, kind: str) -> Iterable[Key]:
    found = (q(_owner_of, table, key) for key in q.keys(table, "all", ALL))
    return (owner for owner in found if owner is not None and owner.kind == kind)


def _owner_of(q: Query, table: str, key: Key) -> Key | None:
    found: Object[Any] | None = q.row(table, key)
    owner = templates.controller(found) if found else None
    return owner.key if owner else None


def _service_of(q: Query, key: Key) -> Key | None:
    found: Object[Any] | None = q.row("EndpointSlice", key)
    return slices.owner(found) if found else None


def _is_controlled(found: Object[Any], key: Key) -> bool:
    owner = templates.controller(found)
    return owner is not None and owner.key == key


def _joined(keys: Iterable[Key], more: Iterable[Key]) -> tuple[Key, ...]:
    return tuple(sorted({*keys, *more}))
