"""Where a proxy stands: the little that its configuration depends on."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from plait.base.query import Query
from plait.config import names
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.kinds import gateway, sidecar
from plait.config.meta import Key, Object
from plait.mesh import inbound, ir, rules, security, virtual_services
from plait.mesh.virtual_services import selects

Labels = tuple[tuple[str, str], ...]


class Selector(Struct, frozen=True, kw_only=True):
    """An object and the labels it selects; None: it is the default of its namespace."""

    key: Key
    created: float
    labels: Labels | None


def placement(q: Query, identity: ir.Identity) -> ir.Placement:
    """The view and the inbound side of all proxies with this identity."""
    labels = dict(identity.labels)
    scope = None
    chosen = _ruled(q, identity.namespace, labels)
    accepted = None
    if identity.role is ir.Role.GATEWAY:
        chosen += [ir.Selected(one.key) for one in q(gateways) if selects(one.labels or (), labels)]
    else:
        scope = q(scope_of, identity.namespace, identity.labels)
        chosen += _callers(q, identity, labels)
        accepted = ir.Inbound(
            namespace=identity.namespace,
            interception=identity.interception,
            ports=inbound.accepted(q, identity, scope),
            policies=security.in_force(q, identity.namespace, identity.labels),
            certified=identity.certified,
        )
    view = ir.View(
        role=identity.role,
        namespace=identity.namespace,
        interception=identity.interception,
        scope=scope,
        selected=tuple(sorted(chosen)),
        network=identity.network,
        addressing=identity.addressing,
        certified=identity.certified,
        revocations=identity.revocations,
    )
    edge = identity.edge if identity.role is ir.Role.GATEWAY else ""
    return ir.Placement(view=view, inbound=accepted, locality=identity.locality, edge=edge)


def scope_of(q: Query, namespace: str, labels: Labels) -> Key | None:
    """The Sidecar in force: one that selects the workload, else its namespace's, else the root's.

    Of several the oldest.
    """
    own = q(scopes_in, namespace)
    mine = dict(labels)
    picked = [one for one in own if one.labels is not None and selects(one.labels, mine)]
    defaults = [one for one in own if one.labels is None]
    root = [one for one in q(scopes_in, names.ROOT_NAMESPACE) if one.labels is None]
    return next((group[0].key for group in (picked, defaults, root) if group), None)


def scopes_in(q: Query, namespace: str) -> tuple[Selector, ...]:
    """Sidecars of a namespace, the oldest first; PLT3003: a second default is not in force."""
    found = []
    for key in q.keys("Sidecar", "namespace", namespace):
        row: Object[sidecar.Sidecar] | None = q.row("Sidecar", key)
        if row is not None:
            selector = row.spec.workload_selector
            written = tuple(sorted(selector.labels.items())) if selector else ()
            found.append(Selector(key=key, created=row.created, labels=written or None))
    found.sort(key=lambda one: (one.created, one.key))
    defaults = [one for one in found if one.labels is None]
    for loser in defaults[1:]:
        q.report(_second(loser.key, defaults[0].key))
    return tuple(found)


def _second(loser: Key, winner: Key) -> Diagnostic:
    return Diagnostic(
        code="PLT3003",
        severity=Severity.ERROR,
        subject=loser,
        path="spec.workloadSelector",
        message=f"not in force: the older {winner} is already the default of the namespace",
        hint="Give it a workloadSelector, or merge the two",
        related=(winner,),
    )


def gateways(q: Query) -> tuple[Selector, ...]:
    """Every Gateway and the labels of the proxies it is for, in any namespace (as in Istio)."""
    found = []
    for key in q.keys("Gateway", "all", True):  # noqa: FBT003 - the one bucket
        row: Object[gateway.Gateway] | None = q.row("Gateway", key)
        if row is not None:
            labels = tuple(sorted(row.spec.selector.items()))
            found.append(Selector(key=key, created=row.created, labels=labels))
    return tuple(found)


def _ruled(q: Query, namespace: str, labels: Mapping[str, str]) -> list[ir.Selected]:
    """DestinationRules of a namespace that are for some of its workloads, with these labels too."""
    asked = ((key, q(rules.selector, key)) for key in q.keys(rules.TABLE, "selecting", namespace))
    return [
        ir.Selected(key) for key, wanted in asked if wanted is not None and selects(wanted, labels)
    ]


def _callers(q: Query, identity: ir.Identity, labels: Mapping[str, str]) -> list[ir.Selected]:
    """Matches of VirtualServices that this caller's labels and namespace satisfy."""
    return [
        ir.Selected(key, match.section)
        for key in q.keys("VirtualService", "source", True)  # noqa: FBT003 - the one bucket
        for match in q(virtual_services.source_matches, key)
        if match.namespace in ("", identity.namespace) and selects(match.labels, labels)
    ]
