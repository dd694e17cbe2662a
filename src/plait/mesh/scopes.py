"""What a Sidecar lets its workloads see, and what happens to the rest."""

from __future__ import annotations

from msgspec import Struct

from plait.base.query import Query
from plait.config import names
from plait.config.kinds import sidecar as kinds
from plait.config.kinds.port import Port
from plait.config.mesh_config import MeshConfig
from plait.config.meta import Key, Object
from plait.mesh import ir

Pattern = tuple[str, str]
"""Namespace (``*``: any; ``~ns``: not that one) and host (or wildcard)."""


class Egress(Struct, frozen=True, kw_only=True):
    """One egress listener of a Sidecar.

    Attributes:
        port: None: the hosts' own ports.
        bind: as written; empty: by capture mode.
        captured: reached by hand-over; False: it binds its port.
    """

    port: Port | None
    bind: str
    captured: bool
    hosts: tuple[Pattern, ...]


EVERYTHING = Egress(port=None, bind="", captured=True, hosts=(("*", "*"),))


def mesh_settings(q: Query) -> MeshConfig:
    """The mesh's settings; the defaults where nobody wrote any."""
    return q.row("MeshConfig", "mesh") or MeshConfig()


def exported_by_default(q: Query, table: str) -> tuple[str, ...]:
    """``exportTo`` of the objects of `table` that say nothing."""
    settings = q(mesh_settings)
    if table == "VirtualService":
        return settings.default_virtual_service_export_to
    return settings.default_service_export_to


def egress(q: Query, scope: Key | None, namespace: str) -> tuple[Egress, ...]:
    """The egress listeners of a Sidecar; without one, or none in it: everything exported.

    ``.`` is the `namespace` of the proxies: the default of the mesh stands in another one.
    """
    found: Object[kinds.Sidecar] | None = q.row("Sidecar", scope) if scope else None
    if found is None or not found.spec.egress:
        return (EVERYTHING,)
    return tuple(
        Egress(
            port=written.port,
            bind=names.address(written.bind),
            captured=written.capture_mode is not kinds.CaptureMode.NONE,
            hosts=tuple(_pattern(host, namespace) for host in written.hosts),
        )
        for written in found.spec.egress
    )


def _pattern(written: str, namespace: str) -> Pattern:
    space, _, host = written.rpartition("/")
    return (namespace if space in (".", "") else space, host)


def imports(q: Query, scope: Key, client: str, namespace: str, hosts: tuple[str, ...]) -> bool:
    """Whether a Sidecar imports, for proxies of `client`, an object of `namespace` for `hosts`.

    One of the hosts is enough.
    """
    patterns = [listener.hosts for listener in q(egress, scope, client)]
    return any(admits(one, namespace, host) for one in patterns for host in hosts)


def admits(patterns: tuple[Pattern, ...], namespace: str, host: str) -> bool:
    """Whether `patterns` let `host` of `namespace` through; what is excluded stays out."""
    hit = False
    for space, pattern in patterns:
        overlap = names.matches(pattern, host) or names.matches(host, pattern)
        if not overlap:
            continue
        if space.startswith("~") and space[1:] in (namespace, ""):
            if space[1:]:
                return False
        elif space in ("*", namespace):
            hit = True
    return hit


def allows_unknown(q: Query, scope: Key | None) -> bool:
    """Whether traffic for unknown hosts passes: the Sidecar's word, else the mesh's."""
    found: Object[kinds.Sidecar] | None = q.row("Sidecar", scope) if scope else None
    policy = found.spec.outbound_traffic_policy if found else None
    mode = policy.mode if policy else q(mesh_settings).outbound_traffic_policy.mode
    return mode is kinds.OutboundTrafficPolicyMode.ALLOW_ANY


def bound_address(listener: Egress, interception: ir.Interception) -> tuple[str, bool]:
    """Address of an explicit egress listener, and whether a socket is opened there.

    Without `bind` it is 0.0.0.0 where traffic is handed over and 127.0.0.1 where it is not.
    """
    binds = not listener.captured or interception is ir.Interception.NONE
    return listener.bind or ("127.0.0.1" if binds else "0.0.0.0"), binds  # noqa: S104


def listener_name(listener: Egress, interception: ir.Interception) -> str:
    """``BIND_PORT``: the name of an explicit egress listener and of its route table."""
    number = listener.port.number if listener.port else 0
    return f"{bound_address(listener, interception)[0]}_{number}"
