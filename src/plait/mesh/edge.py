"""The ports of a machine that lead to the gateways on it."""

from __future__ import annotations

from collections import defaultdict

from msgspec import Struct

from plait.base.query import Query
from plait.config.diagnostics import Diagnostic, Severity
from plait.config.kinds import pod
from plait.config.meta import Key, Object
from plait.mesh import ir, listener_plans
from plait.mesh.placement import placement


class Door(Struct, frozen=True, kw_only=True):
    """A port and the gateways behind it: Pods that are equal to each other."""

    port: int
    pods: tuple[Key, ...]


def doors(q: Query) -> tuple[Door, ...]:
    """All ports that the gateways among the Pods serve, in order.

    PLT3001: unlike gateways want one port; the first by name has it.
    """
    groups: defaultdict[ir.View, list[Key]] = defaultdict(list)
    for key in q.keys("Pod", "gateway", True):  # noqa: FBT003 - the one bucket
        if view := q(view_of, key):
            groups[view].append(key)
    found: dict[int, Door] = {}
    for view, pods in sorted(groups.items(), key=lambda item: item[1][0]):
        for port in q(ports, view):
            door = found.setdefault(port, Door(port=port, pods=tuple(pods)))
            if door.pods != tuple(pods):
                q.report(_taken(pods[0], door))
    return tuple(found[port] for port in sorted(found))


def view_of(q: Query, key: Key) -> ir.View | None:
    """What a gateway's Pod sees; None: it is gone, or going."""
    found: Object[pod.Pod] | None = q.row("Pod", key)
    if found is None or found.deleted is not None:
        return None
    labels = tuple(sorted(found.labels.items()))
    identity = ir.Identity(role=ir.Role.GATEWAY, namespace=key.namespace, labels=labels)
    return q(placement, identity).view


def ports(q: Query, view: ir.View) -> tuple[int, ...]:
    """The ports on which a gateway listens."""
    return tuple(sorted({plan.port for plan in q(listener_plans.gateway_plans, view)}))


def _taken(loser: Key, door: Door) -> Diagnostic:
    return Diagnostic(
        code="PLT3001",
        severity=Severity.ERROR,
        subject=loser,
        message=f"port {door.port} of this machine belongs to {door.pods[0]}",
        hint="Give one of the two Gateways another port",
        related=(door.pods[0],),
    )
