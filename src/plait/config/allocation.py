"""What is filled in when an object is written: addresses, numbers of replicas, sidecars' labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network
from typing import Any, Final

from msgspec import structs

from plait.base.digest import digest
from plait.config import injection
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.injection import TLS_MODE, Proxy
from plait.config.kinds import core, pod, workloads
from plait.config.ledger import Base, Held, in_force
from plait.config.meta import Key, Object
from plait.config.ports import Change
from plait.config.record import Record

SERVICES: Final = IPv4Network("10.96.0.0/16")
"""Where addresses of Services are taken from."""
_KEPT_FREE: Final = 256  # the first ones: the resolver's is among them


class Allocation:
    """Fills in what users leave out, as Kubernetes does.

    What it fills in is a part of the stored document: it is the same after a restart, and stays
    when the object is written again without it.
    """

    def __init__(self) -> None:
        # May name Services that no longer have the address: what is asked for is looked up.
        self._claims: defaultdict[str, set[Key]] = defaultdict(set)

    def load(self, records: Iterable[Record]) -> None:
        """Learn of what was stored."""
        for record in records:
            if address := _address(record.object):
                self._claims[address].add(record.key)

    def admitted(self, change: Change, base: Base) -> Change:
        """The change with what it leaves out, given what else there is."""
        match change.object:
            case Object(spec=core.Service()) as found:
                return self._service(change, found, base)
            case Object(spec=workloads.Deployment() | workloads.ReplicaSet()) as found:
                return _with(change, found, "replicas", "replicas", 1)
            case Object(spec=pod.Pod()) as found:
                return _injected(change, found)
            case _:
                return change

    def _service(self, change: Change, found: Object[core.Service], base: Base) -> Change:
        if found.spec.type == "ExternalName" or found.spec.cluster_ip == "None":
            return change
        written = _address(found)
        address = written or _before(change, base) or self._free(change.key, base)
        if not address:
            return change
        rivals = sorted(self._holders(address, change.key, base))
        self._claims[address].add(change.key)
        change = _with(change, found, "cluster_ip", "clusterIP", address)
        if not rivals:
            return change
        return structs.replace(change, problems=(*change.problems, _taken(change, address, rivals)))

    def _free(self, key: Key, base: Base) -> str:
        """The first address that nobody has, from one that follows from the name; empty: none."""
        count = SERVICES.num_addresses - _KEPT_FREE - 1
        start = int(digest(key.path.encode()), 16)
        for step in range(count):
            address = str(SERVICES[_KEPT_FREE + (start + step) % count])
            if not any(self._holders(address, key, base)):
                return address
        return ""

    def _holders(self, address: str, key: Key, base: Base) -> Iterator[Key]:
        """Who else has an address."""
        for other in self._claims.get(address, ()):
            held = base.held(other).values()
            if other != key and any(_address(record.object) == address for record in held):
                yield other


def _address(found: Object[Any] | None) -> str:
    if found is None or not isinstance(found.spec, core.Service):
        return ""
    return "" if found.spec.cluster_ip == "None" else found.spec.cluster_ip


def _before(change: Change, base: Base) -> str:
    """The address that the Service has already."""
    held: Held = base.held(change.key)
    own = held.get(change.origin.source)
    return next(
        (address for one in (own, in_force(held)) if one and (address := _address(one.object))), ""
    )


def _with(change: Change, found: Object[Any], field: str, name: str, value: Any) -> Change:
    """The change with a field of the specification, unless it has one."""
    if getattr(found.spec, field) not in (None, ""):
        return change
    document = change.document or {}
    return structs.replace(
        change,
        object=structs.replace(found, spec=structs.replace(found.spec, **{field: value})),
        document={**document, "spec": {**(document.get("spec") or {}), name: value}},
    )


def _injected(change: Change, found: Object[pod.Pod]) -> Change:
    """A Pod with a sidecar says that it takes mutual TLS, as Istio's injection makes it say."""
    if injection.proxy(found) is not Proxy.SIDECAR or TLS_MODE in found.labels:
        return change
    labels = {**found.labels, TLS_MODE: "istio"}
    document = change.document or {}
    metadata = {**(document.get("metadata") or {}), "labels": labels}
    return structs.replace(
        change,
        object=structs.replace(found, labels=labels),
        document={**document, "metadata": metadata},
    )


def _taken(change: Change, address: str, rivals: list[Key]) -> Diagnostic:
    named = " and ".join(str(key) for key in rivals)
    return Diagnostic(
        code="PLT3006",
        severity=Severity.WARNING,
        subject=change.key,
        path="spec.clusterIP",
        message=f"{address} is the address of {named} too",
        hint="leave clusterIP out, and a free address is chosen",
        related=tuple(rivals),
    )
